"""`stillsplat view`: runs, scenes and splats in a browser."""

import argparse

from stillsplat.view_settings import ViewSettings
from terminal.options import add_options, settings_from

EPILOG = """\
Over ssh, forward the port and open the address on your own machine:
  ssh -L 8080:127.0.0.1:8080 HOST stillsplat view OUT

examples:
  stillsplat view walk
  stillsplat view walk walk2 --port 8081
  stillsplat view walk/scene splats.ply
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "results",
        metavar="RESULT",
        nargs="+",
        help="output folder of stillsplat run, a scene, a model folder or splats (.ply)",
    )
    add_options(parser, ViewSettings)


def run(options: argparse.Namespace) -> int:
    from stillsplat.results import flow_between, open_result
    from viewer.result_viewer import ResultViewer

    settings = settings_from(options, ViewSettings)
    results = [open_result(path) for path in options.results]
    with ResultViewer(results, host=settings.host, port=settings.port, flow=flow_between) as viewer:
        print(f"The viewer is at {viewer.url} until Ctrl-C.", flush=True)
        viewer.wait()
    return 0
