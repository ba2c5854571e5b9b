"""`stillsplat depth`: depth maps of images, folders and videos."""

import argparse

from stillsplat.commands.scene_options import add_scene_options, scene_settings
from stillsplat.depth_settings import DepthSettings
from terminal.option_parser import OptionParser

EPILOG = """\
output files in OUT:
  depth/00000.npz      z_depth and confidence: float32, 0 = unknown
  previews/ preview.mp4   images with their depth in color
  png16/00000.png      16-bit depth, with --png16 (millimeters where the unit is the meter)
  depth.json           predictor, unit, settings
and with --export, for which all images are seen together, what docs/exports.md lists, for example
  mini_npz npz         exports/mini_npz/results.npz: depth, conf, extrinsics, intrinsics; npz has the images too
  glb ply colmap       scene.glb; points.ply; cameras, images and points3D as .bin and .txt
  depth_vis feat_vis   images with depth in color; with features in color (--export-features)
  gs_ply gs_video      Gaussians for 3DGS viewers; a video through them (da3-giant, da3-nested)

examples:
  stillsplat depth clip.mp4 -o depth
  stillsplat depth photo.jpg -o depth --predictor da3-mono
  stillsplat depth photos/ -o depth --predictor da3-metric --metric --fov 65
  stillsplat depth photos/ -o out --predictor da3-large --export mini_npz,glb,colmap
"""


def add_arguments(parser: OptionParser) -> None:
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="folder for the results; must not exist")
    parser.add_argument("--overwrite", action="store_true", help="replace earlier results")
    add_scene_options(parser, DepthSettings, leave_out=("depths_from",))


def run(options: argparse.Namespace) -> int:
    from stillsplat.depth import estimate_depth_maps
    from stillsplat.shot_folders import holds_shots, shots_in
    from terminal.progress_bars import ProgressBars

    settings = scene_settings(options, DepthSettings, depth_vis_beside=True)
    with ProgressBars() as bars:
        count = estimate_depth_maps(
            settings, options.output, overwrite=options.overwrite, progress=bars, warn=bars.warn
        )
    if holds_shots(options.output):
        places = ", ".join(f"{folder}/previews" for folder in shots_in(options.output))
        print(f"{options.output}: {count} depth maps; look at the previews in {places}")
        return 0
    print(f"{options.output}: {count} depth maps; look at the previews in {options.output}/previews")
    return 0
