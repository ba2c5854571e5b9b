"""`stillsplat predict`: the predictor alone."""

import argparse

from stillsplat.commands.scene_options import add_scene_options, scene_settings
from stillsplat.settings import SceneSettings
from terminal.option_parser import OptionParser

EPILOG = """\
examples:
  stillsplat predict walk.mp4 -o scene --predictor da3-large
  stillsplat run scene -o walk
"""


def add_arguments(parser: OptionParser) -> None:
    parser.add_argument("-o", "--output", metavar="SCENE", required=True, help="the scene folder; must not exist")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier scene")
    add_scene_options(parser, SceneSettings)


def run(options: argparse.Namespace) -> int:
    from stillsplat.predict import predict
    from stillsplat.shot_folders import holds_shots, shots_in
    from terminal.progress_bars import ProgressBars

    settings = scene_settings(options, SceneSettings)
    with ProgressBars() as bars:
        predict(settings, options.output, overwrite=options.overwrite, progress=bars, warn=bars.warn)
    if holds_shots(options.output):
        for folder in shots_in(options.output):
            print(f"The scene of a shot is in {folder}; continue with: stillsplat run {folder} -o OUT")
        return 0
    print(f"The scene is in {options.output}; continue with: stillsplat run {options.output} -o OUT")
    return 0
