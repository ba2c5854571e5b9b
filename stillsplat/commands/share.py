"""`stillsplat share`: one page to send, with the splats and the clip before and after."""

import argparse
from pathlib import Path

from stillsplat.share.settings import ShareSettings
from terminal.option_parser import OptionParser
from terminal.options import add_options, settings_from

EPILOG = """\
The page opens in any browser with WebGL 2, on a phone as well, from a file and without a network.

examples:
  stillsplat share walk -o walk.html
  stillsplat share splats.ply -o splats.html --max-megabytes 8
"""


def add_arguments(parser: OptionParser) -> None:
    parser.add_argument(
        "result", metavar="OUT", help="output folder of stillsplat run, a model folder, or splats (.ply)"
    )
    parser.add_argument("-o", "--output", metavar="PAGE", required=True, help="the page, such as scene.html; replaced")
    add_options(parser, ShareSettings)


def run(options: argparse.Namespace) -> int:
    from scene.files.locking import only_process
    from stillsplat.results import open_result
    from stillsplat.share.build import write_share
    from terminal.progress_bars import ProgressBars

    settings = settings_from(options, ShareSettings)
    result = open_result(Path(options.result))
    with only_process(Path(options.output)), ProgressBars() as bars:
        page = write_share(result, options.output, settings, progress=bars)
    left_out = "" if page.sent == page.gaussians else f" of {page.gaussians:,}"
    print(f"{page.path}: {page.bytes / 1e6:.1f} MB, {page.sent:,}{left_out} Gaussians; opens in any browser.")
    return 0
