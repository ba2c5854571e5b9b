"""`stillsplat depth`: depth maps of pictures, folders and videos."""

import argparse

_EPILOG = """\
what lies in OUT afterwards:
  depth/00000.npz      z_depth (and confidence): float32, 0 = unknown
  previews/ preview.mp4   pictures with their depth in colour
  png16/00000.png      16-bit depth, with --png16 (millimetres where the unit is the metre)
  depth.json           model, unit, settings

examples:
  stillsplat depth clip.mp4 -o depth
  stillsplat depth photo.jpg -o depth --predictor da3-mono
  stillsplat depth photos/ -o depth --predictor da3-metric --metric --fov 65
"""


def add_depth_command(commands: argparse._SubParsersAction) -> None:
    """Adds the command to the command line's own."""
    parser = commands.add_parser(
        "depth",
        help="depth maps of pictures, a folder or a video",
        description="Depth maps of pictures, a folder or a video.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(function=_depth)
    parser.add_argument("input", metavar="INPUT", help="picture, folder of images, glob pattern or video")
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="folder for the results; must not exist")
    parser.add_argument("--predictor", default="geometric", metavar="NAME", help="default: geometric (no weights)")
    parser.add_argument("--weights", metavar="PATH", help="file or folder with weights other than the official ones")
    parser.add_argument("--metric", action="store_true", help="depth in metres (da3-nested; da3-metric with --fov)")
    parser.add_argument("--each", action="store_true", help="every picture for itself, whatever the model")
    parser.add_argument("--fov", type=float, metavar="DEGREES", help="horizontal angle of view, where it is known")
    parser.add_argument("--fps", type=float, metavar="RATE", help="pictures per second of a video (default: all)")
    parser.add_argument("--max-frames", type=int, metavar="N", help="stop after N frames")
    parser.add_argument("--max-size", type=int, metavar="PIXELS", help="long side (default: 504 for da3, else 512)")
    parser.add_argument(
        "--chunk-size", type=int, default=60, metavar="N", help="frames predicted together (default: 60)"
    )
    parser.add_argument(
        "--overlap", type=int, default=30, metavar="N", help="frames shared with the next (default: 30)"
    )
    parser.add_argument("--png16", action="store_true", help="16-bit PNG files too")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="same seed, same CPU: same result (default: 0)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace earlier results")


def _depth(options: argparse.Namespace) -> int:
    from scene.progress_bars import ProgressBars
    from stillsplat.depth import DepthSettings, estimate_depth_maps

    settings = DepthSettings(
        input=options.input,
        predictor=options.predictor,
        weights=options.weights,
        metric=options.metric,
        each=options.each,
        fov=options.fov,
        rate=options.fps,
        max_frames=options.max_frames,
        max_size=options.max_size,
        chunk_size=options.chunk_size,
        overlap=options.overlap,
        png16=options.png16,
        seed=options.seed,
    )
    with ProgressBars() as bars:
        count = estimate_depth_maps(
            settings, options.output, overwrite=options.overwrite, progress=bars, warn=bars.warn
        )
    print(f"{options.output}: {count} depth maps; look at the previews in {options.output}/previews")
    return 0
