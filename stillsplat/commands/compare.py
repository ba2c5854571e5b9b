"""`stillsplat compare`: several runs beside each other."""

import argparse
from contextlib import nullcontext
from pathlib import Path

from terminal.option_parser import OptionParser

EPILOG = """\
examples:
  stillsplat compare walk_seed0 walk_seed1
  stillsplat compare out/geometric out/da3-large -o compare.html
"""


def add_arguments(parser: OptionParser) -> None:
    parser.add_argument("runs", metavar="RUN", nargs="+", help="output folders of stillsplat run, two or more")
    parser.add_argument(
        "-o", "--output", metavar="PAGE", help="also write a page with pictures and camera paths (.html)"
    )


def run(options: argparse.Namespace) -> int:
    from scene.files.locking import only_process
    from stillsplat.comparison.page import compare, write_page
    from stillsplat.comparison.printed import print_comparison
    from terminal.progress_bars import ProgressBars

    place = nullcontext() if options.output is None else only_process(Path(options.output))
    with place, ProgressBars() as bars:
        comparison = compare(options.runs, progress=bars)
        page = None if options.output is None else write_page(comparison, options.output, progress=bars)
    print_comparison(comparison)
    print(f"\n{page}" if page is not None else "\nAdd -o compare.html for pictures and camera paths.")
    return 0
