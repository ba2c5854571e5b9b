"""`stillsplat run`: a video in; splats, renders, scores and a report out."""

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path

from scene.errors import InputError
from stillsplat.commands.scene_options import add_scene_options, scene_settings
from stillsplat.settings import RunSettings
from terminal.option_parser import OptionParser
from terminal.options import add_options, settings_from
from viewer.settings import ViewerSettings

EPILOG = """\
output files in OUT:
  report.html      look here first: images, plots, figures, settings in one file
  clean.mp4        the static scene along the camera's path
  compare.mp4      input, what moves, static scene side by side
  splats.ply       the Gaussians, for any 3DGS viewer
  plate/           the clip at full size without what moves; plate.mp4, mattes/, shadows/, invented/,
                   plate.chan
  renders/         the static scene at every input camera
  seen/            small images: in how many frames a static point is seen
  scene/           cameras, motion masks, depth, COLMAP model
  export/          what --export names
  metrics.json     every figure with its protocol
  model/           settings, checkpoint and cameras of the optimization
  run.json         settings and times; what --resume needs
of a clip with cuts: all of this in OUT/shot-01, OUT/shot-02 ...; OUT/report.html shows all shots (--shot)

examples:
  stillsplat run walk.mp4 -o walk
  stillsplat run frames/ -o out --frames 0:200:2 --masks my_masks/
  stillsplat run walk.mp4 -o walk --export glb,nerfstudio
  stillsplat run walk.mp4 -o walk --viewer
  stillsplat run dog/images -o dog --protocol das3r --annotations dog/annotations
  stillsplat run walk.mp4 -o walk --predictor geometric,da3-large    # one run each, and walk/compare.html
"""


def add_arguments(parser: OptionParser) -> None:
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="folder for all results; must not exist")
    add_scene_options(parser, RunSettings)
    add_options(parser, ViewerSettings)
    group = parser.add_argument_group("an output folder that exists")
    group.add_argument("--resume", action="store_true", help="continue a run that was stopped")
    group.add_argument("--overwrite", action="store_true", help="replace the results of an earlier run")


def run(options: argparse.Namespace) -> int:
    from stillsplat.shots import reconstruct_clip
    from stillsplat.summary import print_run_summary
    from terminal.progress_bars import ProgressBars

    settings = scene_settings(options, RunSettings)
    if settings.predictor is not None and "," in settings.predictor:
        if options.viewer:
            raise InputError("The viewer shows one optimization at a time; leave out --viewer with several predictors.")
        return _run_several(options, settings)
    viewer = settings_from(options, ViewerSettings)
    with ExitStack() as stack:
        view = None
        if viewer.viewer:
            from stillsplat.training_view import TrainingView

            view = stack.enter_context(TrainingView(viewer, Path(options.output).name))
        with ProgressBars() as bars:
            result = reconstruct_clip(
                settings,
                options.output,
                resume=options.resume,
                overwrite=options.overwrite,
                progress=bars,
                warn=bars.warn,
                watch=view.watch if view is not None else None,
            )
        print_run_summary(result)
        if view is not None:
            view.wait()
    return 0


def _run_several(options: argparse.Namespace, settings: RunSettings) -> int:
    """One run per predictor. The status is 0; 1 where some failed, 2 where all did."""
    from stillsplat.batch.status_table import StatusTable
    from stillsplat.comparison.predictors import PAGE, predictor_names, run_predictors
    from stillsplat.comparison.printed import print_comparison

    names = predictor_names(settings.predictor)
    with StatusTable() as table:
        result, comparison = run_predictors(
            settings, names, options.output, resume=options.resume, overwrite=options.overwrite, watcher=table
        )
    if comparison is not None:
        print_comparison(comparison)
        print(f"\nlook here first  {Path(options.output) / PAGE}")
    for name, reason in result.failures.items():
        print(f"stillsplat: {name} failed: {reason}", file=sys.stderr)
    return 0 if not result.failures else 1 if len(result.failures) < len(names) else 2
