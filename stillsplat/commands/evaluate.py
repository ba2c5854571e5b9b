"""`stillsplat evaluate`: a run against truth or annotations."""

import argparse
from pathlib import Path

from scene.errors import InputError
from terminal.option_parser import OptionParser

EPILOG = None


def add_arguments(parser: OptionParser) -> None:
    parser.add_argument("output", metavar="OUT", help="output folder of stillsplat run")
    parser.add_argument("--truth", metavar="SCENE", help="a scene with complete truth (docs/scores.md)")
    parser.add_argument("--annotations", metavar="DIR", help="annotated motion masks, one per frame, white = moving")


def run(options: argparse.Namespace) -> int:
    if options.truth is None and options.annotations is None:
        raise InputError("Give --truth SCENE or --annotations DIR to evaluate against.")
    from stillsplat.scores.evaluation import evaluate
    from stillsplat.summary import print_evaluation_summary
    from terminal.progress_bars import ProgressBars

    with ProgressBars() as bars:
        evaluation = evaluate(options.output, truth=options.truth, annotations=options.annotations, progress=bars)
    print_evaluation_summary(Path(options.output), evaluation)
    return 0
