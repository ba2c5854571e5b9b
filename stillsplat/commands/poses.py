"""`stillsplat poses`: the path of a camera through a clip of any length, or live."""

import argparse

_EPILOG = """\
what lies in OUT afterwards:
  scene.glb            points and cameras, for any 3-D viewer
  camera_poses.glb     the cameras alone
  points.ply           the points alone
  trajectory.txt       TUM: timestamp tx ty tz qx qy qz qw
  transforms.json      nerfstudio
  sparse/0/            COLMAP
  poses.npz            world_from_camera, camera_from_world, intrinsics, times
  images/ depth/       frames, depth and confidence of each
  path.png             the path from above, before and after loops were closed
OUT is a scene as well: stillsplat run OUT -o SPLATS goes on from it.
While the work lasts, everything is in OUT.part; --resume goes on with it.

examples:
  stillsplat poses walk.mp4 -o walk
  stillsplat poses frames/ -o out --predictor da3-base --chunk-size 30 --overlap 15
  stillsplat poses --video rtsp://camera/stream -o live --fps 4
  stillsplat poses --video 0 -o desk --max-frames 200
"""


def add_poses_command(commands: argparse._SubParsersAction) -> None:
    """Adds the command to the command line's own."""
    parser = commands.add_parser(
        "poses",
        help="poses, depth and points of a clip of any length or of a live camera",
        description="Poses, depth and points of a clip of any length or of a live camera, chunk by chunk.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(function=_poses)
    parser.add_argument("input", metavar="INPUT", nargs="?", help="folder of images, glob pattern or video")
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="folder for the results; must not exist")
    parser.add_argument(
        "--video", metavar="SOURCE", help="instead of INPUT: video file, number of a camera, or rtsp:// address"
    )
    group = parser.add_argument_group("input")
    group.add_argument("--fps", type=float, metavar="RATE", help="images per second (default: all; 5 when live)")
    group.add_argument("--max-frames", type=int, metavar="N", help="stop after N frames")
    group.add_argument("--max-size", type=int, metavar="PIXELS", help="long side (default: 504 for da3, else 512)")
    group.add_argument("--fov", type=float, metavar="DEGREES", help="horizontal angle of view, where it is known")
    group = parser.add_argument_group("prediction")
    group.add_argument("--predictor", default="geometric", metavar="NAME", help="default: geometric (no weights)")
    group.add_argument("--weights", metavar="PATH", help="file or folder with weights other than the official ones")
    group.add_argument(
        "--chunk-size", type=int, default=60, metavar="N", help="frames predicted together (default: 60)"
    )
    group.add_argument("--overlap", type=int, default=30, metavar="N", help="frames shared with the next (default: 30)")
    group.add_argument(
        "--align", choices=("sim3", "se3", "scale+se3"), default="sim3", help="how chunks are joined (default: sim3)"
    )
    group.add_argument(
        "--loop", action=argparse.BooleanOptionalAction, default=True, help="look for loops and close them"
    )
    group.add_argument("--seed", type=int, default=0, metavar="N", help="same seed, same CPU: same result (default: 0)")
    group = parser.add_argument_group("points")
    group.add_argument("--conf-percentile", type=float, default=40.0, metavar="P", help="leave out the P %% least sure")
    group.add_argument("--max-points", type=int, default=1_000_000, metavar="N", help="default: 1000000")
    group = parser.add_argument_group("an output that exists")
    group.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    group.add_argument("--overwrite", action="store_true", help="replace earlier results")


def _poses(options: argparse.Namespace) -> int:
    from scene.errors import InputError
    from stillsplat.poses import PosesSettings, extract_poses
    from terminal.progress_bars import ProgressBars

    if (options.input is None) == (options.video is None):
        raise InputError("Give either an INPUT or --video SOURCE.")
    settings = PosesSettings(
        input=options.input if options.input is not None else options.video,
        predictor=options.predictor,
        weights=options.weights,
        chunk_size=options.chunk_size,
        overlap=options.overlap,
        align=options.align,
        loop=options.loop,
        rate=options.fps,
        max_frames=options.max_frames,
        max_size=options.max_size,
        fov=options.fov,
        confidence_percentile=options.conf_percentile,
        max_points=options.max_points,
        seed=options.seed,
    )
    with ProgressBars() as bars:
        output = extract_poses(
            settings, options.output, resume=options.resume, overwrite=options.overwrite, progress=bars, warn=bars.warn
        )
    print(f"{output}: open {output / 'scene.glb'} in a 3-D viewer; go on with: stillsplat run {output} -o SPLATS")
    return 0
