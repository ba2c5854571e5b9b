"""`stillsplat convert`: Gaussians from one file format to another."""

import argparse
from pathlib import Path

from stillsplat.convert_settings import ConvertSettings
from terminal.option_parser import OptionParser
from terminal.options import add_options, settings_from

EPILOG = """\
formats, by the suffix of OUT (IN is recognized by its content):
  .ply                 the PLY file of 3DGS, read by everything
  .compressed.ply      packed by PlayCanvas's rules, about a quarter of the size
  .splat               packed, one color per Gaussian
  .spz                 packed by Niantic's rules, about a tenth of the size
  .glb                 glTF with KHR_gaussian_splatting

examples:
  stillsplat convert out/splats.ply scene.spz
  stillsplat convert out scene.glb --prune-opacity 0.02
  stillsplat convert scene.ply small.splat --max-gaussians 100000 --crop -2,-2,0,2,2,5
  stillsplat convert scene.ply blender.ply --up z --scale 2 --offset 0,0,1.5
"""


def add_arguments(parser: OptionParser) -> None:
    parser.add_argument("input", metavar="IN", help="file of Gaussians, or output folder of stillsplat run")
    parser.add_argument("output", metavar="OUT", help="file to write; its suffix names the format")
    add_options(parser, ConvertSettings)


def run(options: argparse.Namespace) -> int:
    from scene.files.locking import only_process
    from stillsplat.convert import convert

    settings = settings_from(options, ConvertSettings)
    with only_process(Path(options.output)):
        done = convert(options.input, options.output, settings)
    print(f"{options.output}: {done.written} of {done.read} Gaussians, format {done.format}")
    for loss in done.losses:
        print(f"note: {loss}")
    return 0
