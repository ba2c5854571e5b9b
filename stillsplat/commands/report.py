"""`stillsplat report`: the report of a run again."""

import argparse
from pathlib import Path

EPILOG = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("output", metavar="OUT", help="output folder of stillsplat run")


def run(options: argparse.Namespace) -> int:
    from scene.files.locking import only_process
    from stillsplat.report import write_report
    from stillsplat.run_folder import open_run

    with only_process(Path(options.output)):
        folder = open_run(Path(options.output))
        write_report(folder)
    print(folder.report)
    return 0
