"""`stillsplat run`: a video in; splats, renders, scores and a report out."""

import argparse

from stillsplat.commands.scene_options import add_scene_options, scene_settings
from stillsplat.settings import RunSettings

EPILOG = """\
output files in OUT:
  report.html      look here first: images, plots, figures, settings in one file
  clean.mp4        the static scene along the camera's path
  compare.mp4      input, what moves, static scene side by side
  splats.ply       the Gaussians, for any 3DGS viewer
  renders/         the static scene at every input camera
  seen/            small images: in how many frames a static point is seen
  scene/           cameras, motion masks, depth, COLMAP model
  export/          what --export names
  metrics.json     every figure with its protocol
  model/           settings, checkpoint and cameras of the optimization
  run.json         settings and times; what --resume needs

examples:
  stillsplat run walk.mp4 -o walk
  stillsplat run frames/ -o out --frames 0:200:2 --masks my_masks/
  stillsplat run walk.mp4 -o walk --export glb,nerfstudio
  stillsplat run dog/images -o dog --protocol das3r --annotations dog/annotations
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="folder for all results; must not exist")
    add_scene_options(parser, RunSettings)
    group = parser.add_argument_group("an output folder that exists")
    group.add_argument("--resume", action="store_true", help="continue a run that was stopped")
    group.add_argument("--overwrite", action="store_true", help="replace the results of an earlier run")


def run(options: argparse.Namespace) -> int:
    from stillsplat.reconstruct import reconstruct
    from stillsplat.summary import print_run_summary
    from terminal.progress_bars import ProgressBars

    settings = scene_settings(options, RunSettings)
    with ProgressBars() as bars:
        result = reconstruct(
            settings,
            options.output,
            resume=options.resume,
            overwrite=options.overwrite,
            progress=bars,
            warn=bars.warn,
        )
    print_run_summary(result)
    return 0
