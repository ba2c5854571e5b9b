"""`stillsplat view`: runs, scenes and splats in a browser."""

import argparse
from pathlib import Path

from stillsplat.view_settings import ViewSettings
from terminal.option_parser import OptionParser
from terminal.options import add_options, settings_from

EPILOG = """\
Over ssh, forward the port and open the address on your own machine:
  ssh -L 8080:127.0.0.1:8080 HOST stillsplat view OUT

examples:
  stillsplat view walk
  stillsplat view walk walk2 --port 8081
  stillsplat view walk/scene splats.ply
  stillsplat view --drop results       # a page for a video; the result is shown there
"""


def add_arguments(parser: OptionParser) -> None:
    parser.add_argument(
        "results",
        metavar="RESULT",
        nargs="*",
        help="output folder of stillsplat run, a scene, a model folder or splats (.ply)",
    )
    add_options(parser, ViewSettings)


def run(options: argparse.Namespace) -> int:
    from scene.errors import InputError
    from stillsplat.results import flow_between, open_result
    from viewer.result_viewer import ResultViewer

    settings = settings_from(options, ViewSettings)
    if bool(options.results) == (settings.drop is not None):
        raise InputError("Give either a RESULT to look at or --drop FOLDER, where results of dropped videos go.")
    port = settings.port
    if settings.drop is not None:
        from stillsplat.drop import run_from_page

        folder, port = run_from_page(Path(settings.drop), host=settings.host, port=port)
        options.results = [folder]
    results = [open_result(path) for path in options.results]
    with ResultViewer(results, host=settings.host, port=port, flow=flow_between) as viewer:
        print(f"The viewer is at {viewer.url} until Ctrl-C.", flush=True)
        viewer.wait()
    return 0
