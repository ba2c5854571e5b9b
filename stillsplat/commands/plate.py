"""`stillsplat plate`: the clip of a finished run at full size, without what moves."""

import argparse
from pathlib import Path

from stillsplat.plate.settings import PlateSettings
from terminal.options import add_options, settings_from

EPILOG = """\
output files in OUT:
  plate/           the frames at the size of the clip, named as there
  plate.mp4        the same as a video, with the sound of the clip
  mattes/          what was replaced in each frame (white): objects and their shadows
  shadows/         the part of it that is shadow
  invented/        what no frame has ever seen (white)
  plate.chan       the cameras for Nuke, Blender, Houdini, Maya

examples:
  stillsplat plate walk
  stillsplat plate walk --input /archive/walk.mov --plate-format exr
  stillsplat plate walk --fill none
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("output", metavar="OUT", help="output folder of stillsplat run")
    parser.add_argument("--input", metavar="CLIP", help="the clip of the run (default: where the run found it)")
    add_options(parser, PlateSettings)


def run(options: argparse.Namespace) -> int:
    from stillsplat.plate.of_run import plate
    from terminal.progress_bars import ProgressBars

    settings = settings_from(options, PlateSettings)
    with ProgressBars() as bars:
        found = plate(options.output, settings, source=options.input, progress=bars, warn=bars.warn)
    width, height = found["size"]
    print(
        f"The plate is in {Path(options.output) / 'plate'}: {width}x{height}, {100 * found['replaced_share']:.1f} % of "
        f"the pixels replaced, {100 * found['invented_share']:.2f} % invented."
    )
    return 0
