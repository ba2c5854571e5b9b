"""`stillsplat poses`: the path of a camera through a clip of any length, or live."""

import argparse

from stillsplat.commands.scene_options import add_scene_options, scene_settings
from stillsplat.settings import PosesSettings
from terminal.option_parser import OptionParser
from terminal.options import add_options, settings_from
from viewer.settings import ViewerSettings

EPILOG = """\
output files in OUT:
  scene.glb            points and cameras, for any 3-D viewer
  camera_poses.glb     the cameras alone
  points.ply           the points alone
  trajectory.txt       TUM: timestamp tx ty tz qx qy qz qw
  transforms.json      nerfstudio
  sparse/0/            COLMAP
  poses.npz            world_from_camera, camera_from_world, intrinsics, times
  images/ depth/ motion_masks/   frames, depth and confidence, what moves
  path.png             the path from above, before and after loops were closed
OUT is a scene as well: stillsplat run OUT -o SPLATS makes splats of it.
During the run, all files are in OUT.part; --resume continues an interrupted run.

examples:
  stillsplat poses walk.mp4 -o walk
  stillsplat poses frames/ -o out --predictor da3-base --chunk-size 30 --overlap 15
  stillsplat poses rtsp://camera/stream -o live --fps 4
  stillsplat poses 0 -o desk --max-frames 200
  stillsplat poses 0 -o desk --viewer
"""


def add_arguments(parser: OptionParser) -> None:
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="folder for the results; must not exist")
    add_scene_options(parser, PosesSettings, leave_out=("depths_from",), input=None)
    parser.add_argument("--video", metavar="SOURCE", help="the input under another name, as in other tools")
    add_options(parser, ViewerSettings)
    group = parser.add_argument_group("an output folder that exists")
    group.add_argument("--resume", action="store_true", help="continue a run that was stopped")
    group.add_argument("--overwrite", action="store_true", help="replace earlier results")


def run(options: argparse.Namespace) -> int:
    from contextlib import ExitStack

    from dynamic_predictor.driver.source_names import source_title
    from scene.errors import InputError
    from stillsplat.poses import extract_poses, live_sentence
    from stillsplat.shot_folders import holds_shots, shots_in
    from terminal.progress_bars import ProgressBars

    if (options.input is None) == (options.video is None):
        raise InputError("Give either an INPUT or --video SOURCE.")
    options.input = options.input if options.input is not None else options.video
    settings = scene_settings(options, PosesSettings)
    viewer = settings_from(options, ViewerSettings)
    with ExitStack() as stack:
        view = None
        if viewer.viewer:
            from stillsplat.live_view import LiveView

            view = stack.enter_context(LiveView(viewer, source_title(settings.input)))
            print(f"The viewer is at {view.viewer.url}", flush=True)
        with ProgressBars() as bars:
            output = extract_poses(
                settings,
                options.output,
                resume=options.resume,
                overwrite=options.overwrite,
                view=view,
                progress=bars,
                warn=bars.warn,
            )
        if holds_shots(output):
            for folder in shots_in(output):
                print(f"{folder}: open {folder / 'scene.glb'} in a 3-D viewer")
            return 0
        sentence = live_sentence(output)
        if sentence is not None:
            print(f"{source_title(settings.input)}: {sentence}")
        print(
            f"{output}: open {output / 'scene.glb'} in a 3-D viewer; continue with: stillsplat run {output} -o SPLATS"
        )
        if view is not None:
            print(f"All of it is on disk; the viewer stays open at {view.viewer.url} until Ctrl-C.", flush=True)
            view.viewer.end_of_stream()
            view.viewer.wait()
    return 0
