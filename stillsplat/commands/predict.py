"""`stillsplat predict`: the predictor alone."""

import argparse

from scene.formats.options import ExportOptions
from stillsplat.settings import SceneSettings
from terminal.options import add_options, settings_from

EPILOG = """\
examples:
  stillsplat predict walk.mp4 -o scene --predictor da3-large
  stillsplat run scene -o walk
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", metavar="SCENE", required=True, help="the scene folder; must not exist")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier scene")
    add_options(parser, SceneSettings)
    add_options(parser, ExportOptions)


def run(options: argparse.Namespace) -> int:
    from stillsplat.predict import predict
    from terminal.progress_bars import ProgressBars

    exports = settings_from(options, ExportOptions, seed=options.seed)
    settings = settings_from(options, SceneSettings, export_options=exports)
    with ProgressBars() as bars:
        predict(settings, options.output, overwrite=options.overwrite, progress=bars, warn=bars.warn)
    print(f"The scene is in {options.output}; continue with: stillsplat run {options.output} -o OUT")
    return 0
