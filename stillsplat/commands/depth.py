"""`stillsplat depth`: depth maps of images, folders and videos."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stillsplat.exported_depth import ExportChoices

_EPILOG = """\
what lies in OUT afterwards:
  depth/00000.npz      z_depth (and confidence): float32, 0 = unknown
  previews/ preview.mp4   images with their depth in colour
  png16/00000.png      16-bit depth, with --png16 (millimetres where the unit is the metre)
  depth.json           model, unit, settings
and with --export, which has a da3 model see all images together (FORMATS joined by "-"):
  mini_npz npz         exports/mini_npz/results.npz: depth, conf, extrinsics, intrinsics; npz has the images too
  glb ply              scene.glb, scene.jpg and depth_vis; points.ply
  colmap               cameras, images and points3D as .bin and .txt
  depth_vis feat_vis   images with depth in colour; with features in colour (--export-features)
  gs_ply gs_video      Gaussians for 3DGS viewers; a video through them (da3-giant, da3-nested)

examples:
  stillsplat depth clip.mp4 -o depth
  stillsplat depth photo.jpg -o depth --predictor da3-mono
  stillsplat depth photos/ -o depth --predictor da3-metric --metric --fov 65
  stillsplat depth photos/ -o out --predictor da3-large --export mini_npz-glb-colmap
"""


def add_depth_command(commands: argparse._SubParsersAction) -> None:
    """Adds the command to the command line's own."""
    parser = commands.add_parser(
        "depth",
        help="depth maps of images, a folder or a video",
        description="Depth maps of images, a folder or a video.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(function=_depth)
    parser.add_argument("input", metavar="INPUT", help="image, folder of images, glob pattern or video")
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="folder for the results; must not exist")
    parser.add_argument("--predictor", default="geometric", metavar="NAME", help="default: geometric (no weights)")
    parser.add_argument("--weights", metavar="PATH", help="file or folder with weights other than the official ones")
    parser.add_argument("--metric", action="store_true", help="depth in metres (da3-nested; da3-metric with --fov)")
    parser.add_argument("--each", action="store_true", help="every image for itself, whatever the model")
    parser.add_argument("--fov", type=float, metavar="DEGREES", help="horizontal angle of view, where it is known")
    parser.add_argument("--fps", type=float, metavar="RATE", help="images per second of a video (default: all)")
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
    _add_export_options(parser)


def _add_export_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("exports", "as in Depth Anything 3's own interface")
    group.add_argument("--export", metavar="FORMATS", help='for example "mini_npz-glb"')
    group.add_argument("--export-features", metavar="BLOCKS", help="blocks of the network for feat_vis: 5,11")
    group.add_argument("--conf-percentile", type=float, default=40.0, metavar="P", help="leave out the P %% least sure")
    group.add_argument("--max-points", type=int, default=1_000_000, metavar="N", help="default: 1000000")
    group.add_argument(
        "--show-cameras", action=argparse.BooleanOptionalAction, default=True, help="wire pyramids in the .glb"
    )
    group.add_argument("--feature-fps", type=float, default=15.0, metavar="RATE", help="of feat_vis (default: 15)")
    group.add_argument("--trajectory", default="extend", metavar="PATH", help="of gs_video (default: extend)")
    group.add_argument("--video-quality", choices=("low", "medium", "high"), default="high", help="of gs_video")
    group.add_argument("--use-ray-pose", action="store_true", help="cameras from the rays, not from the camera decoder")
    group.add_argument(
        "--ref-view-strategy",
        choices=("first", "middle", "saddle_balanced", "saddle_sim_range"),
        default="saddle_balanced",
        help="the image that the others are told about (default: saddle_balanced)",
    )
    group.add_argument(
        "--resize-method",
        choices=("upper_bound_resize", "lower_bound_resize", "upper_bound_crop", "lower_bound_crop"),
        default="upper_bound_resize",
        help="how images are brought to --max-size (default: upper_bound_resize)",
    )


def _export_choices(options: argparse.Namespace) -> "ExportChoices | None":
    if options.export is None:
        return None
    from scene.errors import InputError
    from stillsplat.exported_depth import ExportChoices

    try:
        blocks = tuple(int(part) for part in (options.export_features or "").split(",") if part.strip())
    except ValueError:
        raise InputError(
            f"--export-features are numbers of blocks with commas between them, such as 5,11, not "
            f'"{options.export_features}".'
        ) from None
    return ExportChoices(
        formats=options.export,
        feature_blocks=blocks,
        confidence_percentile=options.conf_percentile,
        max_points=options.max_points,
        show_cameras=options.show_cameras,
        feature_rate=options.feature_fps,
        trajectory=options.trajectory,
        quality=options.video_quality,
        cameras_from_rays=options.use_ray_pose,
        reference_view=options.ref_view_strategy,
        resize_method=options.resize_method,
    )


def _depth(options: argparse.Namespace) -> int:
    from stillsplat.depth import DepthSettings, estimate_depth_maps
    from terminal.progress_bars import ProgressBars

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
        export=_export_choices(options),
        seed=options.seed,
    )
    with ProgressBars() as bars:
        count = estimate_depth_maps(
            settings, options.output, overwrite=options.overwrite, progress=bars, warn=bars.warn
        )
    print(f"{options.output}: {count} depth maps; look at the previews in {options.output}/previews")
    return 0
