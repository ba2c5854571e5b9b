"""`stillsplat batch`: many clips through all stages."""

import argparse
import sys

from stillsplat.batch.settings import BatchSettings
from stillsplat.commands.scene_options import add_scene_options, scene_settings
from stillsplat.settings import RunSettings
from terminal.option_parser import OptionParser
from terminal.options import add_options, settings_from

EPILOG = """\
output files in OUT:
  index.html       look here first: every clip with thumbnails, scores and its report
  batch.json       the same for programs
  CLIP/            what stillsplat run writes
  psnr.txt         held-out PSNR beside published figures (with --protocol das3r)

Repeat the command after a stop or a failure: what is finished is not done again.

examples:
  stillsplat batch videos/ -o out --jobs 2
  stillsplat batch davis -o out --data data --protocol das3r
  stillsplat batch clips.json -o out --engine ray --ray-address 10.0.0.1:6379
"""
_DONE, _SOME_FAILED, _ALL_FAILED = 0, 1, 2


def add_arguments(parser: OptionParser) -> None:
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="folder for all results")
    add_options(parser, BatchSettings)
    add_scene_options(parser, RunSettings, leave_out=("input",))
    group = parser.add_argument_group("an output folder that exists")
    group.add_argument("--overwrite", action="store_true", help="start over with every clip")


def run(options: argparse.Namespace) -> int:
    from stillsplat.batch.batch import run_batch, settings_of_clip
    from stillsplat.batch.clips import find_clips
    from stillsplat.batch.status_table import StatusTable

    batch = settings_from(options, BatchSettings)
    shared = scene_settings(options, RunSettings, given={"input": batch.source})
    found = find_clips(batch.source, data=batch.data, names=batch.clip_names, scenes=batch.scenes)
    with StatusTable() as table:
        for note in found.notes:
            table.console.print(note, soft_wrap=True, markup=False)
        result = run_batch(
            found,
            lambda clip: settings_of_clip(clip, shared),
            options.output,
            lambda folder: batch.create_engine(folder.logs, shared.device),
            overwrite=options.overwrite,
            watcher=table,
        )
    if result.tables:
        print(result.tables)
    done = len(result.outcomes) - len(result.failures)
    print(f"{done} of {len(found.clips)} clips are done; look at {result.folder.index}")
    if not result.failures:
        return _DONE
    print(f"\n{len(result.failures)} failed:", file=sys.stderr)
    for name, reason in result.failures.items():
        print(f"  {name}: {reason}", file=sys.stderr)
    return _SOME_FAILED if done else _ALL_FAILED
