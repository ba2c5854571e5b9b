"""The command `launch.py --mode=train`.

python dynamic_predictor/launch.py --mode=train --pretrained=MonST3R.pth --output_dir=results/train
python dynamic_predictor/launch.py --mode=train --recipe=streamvggt --data=data/train --output_dir=results/streamvggt
torchrun --nproc_per_node=4 dynamic_predictor/launch.py --mode=train ...
"""

import argparse
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dynamic_predictor.training.sequences.options import add_options
from dynamic_predictor.training.sequences.recipes import RECIPES as SEQUENCE_RECIPES
from dynamic_predictor.training.two_view.settings import FREEZES, RECIPES, TrainingSettings
from scene.errors import InputError
from terminal.option_parser import OptionParser

if TYPE_CHECKING:
    from dynamic_predictor.training.recipe import Recipe, Validation

_DONE, _INTERRUPTED = 0, 130
_DEFAULT = "das3r"


def main(arguments: Sequence[str]) -> int:
    """Trains with the given options and returns the exit status. Raises `InputError` for wrong options and data."""
    first = OptionParser(prog="launch.py --mode=train", add_help=False)
    first.add_argument("--recipe", default=_DEFAULT)
    chosen = first.parse_known_args(list(arguments))[0].recipe
    is_two_view = chosen not in SEQUENCE_RECIPES
    options = (_two_view_parser() if is_two_view else _sequence_parser(chosen)).parse_args(list(arguments))
    output = Path(options.output_dir)
    if (output / "checkpoint-last.pth").exists() and not (options.resume or options.overwrite):
        raise InputError(
            f"{output} already contains a training run; give --resume, --overwrite or another --output_dir."
        )
    return _train(options, _two_view_recipe if is_two_view else _sequence_recipe)


def _train(options: argparse.Namespace, make: Callable[[argparse.Namespace, Callable[[str], None]], "Recipe"]) -> int:
    from dynamic_predictor.training.processes import process_group
    from dynamic_predictor.training.training_run import train
    from scene.files.locking import only_process
    from scene.progress import ignore_progress
    from terminal.progress_bars import ProgressBars

    output = Path(options.output_dir)
    with process_group(options.device) as process, ExitStack() as stack, ProgressBars() as bars:
        if process.is_first:  # the other processes of this training write there, too
            stack.enter_context(only_process(output, recovers=process.world_size == 1))
        recipe = make(options, bars.warn if process.is_first else lambda sentence: None)
        try:
            validation = train(
                recipe,
                output,
                process=process,
                resume=options.resume,
                sharded=options.sharded,
                workers=options.num_workers,
                progress=bars if process.is_first else ignore_progress,
            )
        except KeyboardInterrupt:
            if process.is_first:
                bars.warn(f"Stopped; {output}/checkpoint-last.pth is saved, continue with --resume.")
            return _INTERRUPTED
    if process.is_first:
        score = _score(recipe, validation)
        images = f"{output / 'curves.png'}{' and examples.png' if validation is not None else ''}"
        print(f"{output / 'checkpoint-final.pth'} is trained{score}. Look at {images};")
        print(f"use it with: launch.py --mode={_NEXT_MODE[recipe.unit]} --pretrained={output / 'checkpoint-final.pth'}")
    return _DONE


#: mode that scores what was trained, by what it was trained on
_NEXT_MODE = {"pairs": "eval_mask", "sequences": "eval_depth"}


def _score(recipe: "Recipe", validation: "Validation | None") -> str:
    if validation is None:
        return ""
    if not recipe.best_score:
        return f"; loss of {validation.samples} test {recipe.unit} {validation.loss:.3f}"
    return f"; mask IoU on {validation.samples} test {recipe.unit} {validation.scores[recipe.best_score]:.3f}"


def _two_view_recipe(options: argparse.Namespace, say: Callable[[str], None]) -> "Recipe":
    recipe, config = RECIPES[options.recipe]
    given = {name: value for name, value in vars(options).items() if value is not None}
    names = {field.name for field in fields(TrainingSettings)}
    settings = replace(recipe, **{name: value for name, value in given.items() if name in names})
    if options.amp:
        settings = replace(settings, precision="bfloat16")
    if options.pretrained is None and options.recipe == "das3r" and not options.resume:
        raise InputError(
            "The recipe das3r starts from MonST3R's weights; give --pretrained=FILE (stillsplat weights get monst3r), "
            "or --recipe=small to train a small network from scratch."
        )
    import torch

    from dynamic_predictor.das3r.checkpoint import load_network
    from dynamic_predictor.das3r.network import TwoViewNetwork
    from dynamic_predictor.training.tracked_clips import list_tracked_clips
    from dynamic_predictor.training.two_view.recipe import TwoViewRecipe
    from dynamic_predictor.weights.registry import given_weights

    clips = list_tracked_clips(options.train_dataset)
    test_clips = list_tracked_clips(options.test_dataset) if options.test_dataset else []
    torch.manual_seed(settings.seed)
    start = Path(options.output_dir) / "checkpoint-last.pth" if options.resume else options.pretrained
    if start is None:
        network = TwoViewNetwork(config)
    else:
        network = load_network(
            start if options.resume else given_weights(start), mask_heads=True, new_mask_heads=not options.resume
        )
    return TwoViewRecipe(network, clips, test_clips, settings)


def _sequence_recipe(options: argparse.Namespace, say: Callable[[str], None]) -> "Recipe":
    from dynamic_predictor.training.sequences.setup import make_recipe

    return make_recipe(options, say)


def _shared_parser(description: str) -> argparse.ArgumentParser:
    parser = OptionParser(
        prog="launch.py --mode=train",
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        argument_default=None,
    )
    recipes = [*sorted(RECIPES), *sorted(SEQUENCE_RECIPES)]
    parser.add_argument("--mode", choices=("train",), default="train", help=argparse.SUPPRESS)
    parser.add_argument("--recipe", choices=recipes, default=_DEFAULT, help="defaults of all settings below")
    parser.add_argument("--pretrained", metavar="FILE", help="weights to start from, a file or an official name")
    parser.add_argument("--output_dir", default="results/train", metavar="DIR", help="checkpoints, log, images")
    parser.add_argument("--resume", action="store_true", help="continue the run in --output_dir")
    parser.add_argument("--overwrite", action="store_true", help="replace the run in --output_dir")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--num_workers", type=int, default=0, help="processes that prefetch samples")
    parser.add_argument(
        "--sharded", action="store_true", help="distribute parameters and optimizer over the processes (FSDP)"
    )
    parser.add_argument("--amp", action="store_true", help="bfloat16 in the trunk")
    return parser


def _two_view_parser() -> argparse.ArgumentParser:
    parser = _shared_parser(
        "Trains DAS3R's network on clips in PointOdyssey's layout. CUT3R and StreamVGGT have options of their own: "
        "launch.py --mode=train --recipe=cut3r-stage1 --help"
    )
    parser.add_argument("--train_dataset", default="data/point_odyssey/train", metavar="DIR", help="clips to train on")
    parser.add_argument("--test_dataset", default=None, metavar="DIR", help="clips to test on")
    group = parser.add_argument_group("settings of the recipe")
    group.add_argument("--freeze", choices=FREEZES, help="parts of the network that are not trained")
    group.add_argument("--epochs", type=int)
    group.add_argument("--pairs_per_epoch", type=int)
    group.add_argument("--test_pairs", type=int)
    group.add_argument("--batch_size", type=int, help="pairs per process and forward pass")
    group.add_argument("--accum_iter", dest="accumulation", type=int, help="forward passes per step")
    group.add_argument("--lr", dest="learning_rate", type=float)
    group.add_argument("--min_lr", dest="least_learning_rate", type=float)
    group.add_argument("--warmup_epochs", type=float)
    group.add_argument("--weight_decay", type=float)
    group.add_argument("--eval_freq", dest="test_every_epochs", type=int, help="epochs between tests")
    group.add_argument("--keep_freq", dest="keep_every_epochs", type=int, help="epochs between kept checkpoints")
    group.add_argument("--seed", type=int)
    return parser


def _sequence_parser(recipe: str) -> argparse.ArgumentParser:
    parser = _shared_parser("Trains CUT3R, StreamVGGT or VGGT on sequences of processed training sets.")
    add_options(parser, recipe)
    return parser
