"""The command `launch.py --mode=train`.

python dynamic_predictor/launch.py --mode=train --pretrained=MonST3R.pth --output_dir=results/train
torchrun --nproc_per_node=4 dynamic_predictor/launch.py --mode=train ...
"""

import argparse
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from dynamic_predictor.training.two_view.settings import FREEZES, RECIPES, TrainingSettings
from scene.errors import InputError
from terminal.option_parser import OptionParser

_DONE, _INTERRUPTED = 0, 130


def main(arguments: Sequence[str]) -> int:
    """Trains with the given options and returns the exit status. Raises `InputError` for wrong options and data."""
    options = _parser().parse_args(list(arguments))
    recipe, config = RECIPES[options.recipe]
    given = {name: value for name, value in vars(options).items() if value is not None}
    names = {field.name for field in fields(TrainingSettings)}
    settings = replace(recipe, **{name: value for name, value in given.items() if name in names})
    if options.amp:
        settings = replace(settings, precision="bfloat16")
    output = Path(options.output_dir)
    if (output / "checkpoint-last.pth").exists() and not (options.resume or options.overwrite):
        raise InputError(
            f"{output} already contains a training run; give --resume, --overwrite or another --output_dir."
        )
    if options.pretrained is None and options.recipe == "das3r" and not options.resume:
        raise InputError(
            "The recipe das3r starts from MonST3R's weights; give --pretrained=FILE (stillsplat weights get monst3r), "
            "or --recipe=small to train a small network from scratch."
        )
    import torch

    from dynamic_predictor.das3r.checkpoint import load_network
    from dynamic_predictor.das3r.network import TwoViewNetwork
    from dynamic_predictor.training.processes import process_group
    from dynamic_predictor.training.tracked_clips import list_tracked_clips
    from dynamic_predictor.training.training_run import train
    from dynamic_predictor.training.two_view.recipe import TwoViewRecipe
    from dynamic_predictor.weights.registry import given_weights
    from scene.progress import ignore_progress
    from terminal.progress_bars import ProgressBars

    clips = list_tracked_clips(options.train_dataset)
    test_clips = list_tracked_clips(options.test_dataset) if options.test_dataset else []
    torch.manual_seed(settings.seed)
    start = output / "checkpoint-last.pth" if options.resume else options.pretrained
    if start is None:
        network = TwoViewNetwork(config)
    else:
        network = load_network(
            start if options.resume else given_weights(start), mask_heads=True, new_mask_heads=not options.resume
        )
    with process_group(options.device) as process, ProgressBars() as bars:
        try:
            validation = train(
                TwoViewRecipe(network, clips, test_clips, settings),
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
        score = (
            f"; mask IoU on {validation.samples} test pairs {validation.scores['mask_iou']:.3f}" if validation else ""
        )
        print(f"{output / 'checkpoint-final.pth'} is trained{score}. Look at {output / 'curves.png'} and examples.png;")
        print(f"use it with: launch.py --mode=eval_mask --pretrained={output / 'checkpoint-final.pth'}")
    return _DONE


def _parser() -> argparse.ArgumentParser:
    parser = OptionParser(
        prog="launch.py --mode=train",
        description="Trains DAS3R's network on clips in PointOdyssey's layout.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        argument_default=None,
    )
    parser.add_argument("--mode", choices=("train",), default="train", help=argparse.SUPPRESS)
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="das3r", help="defaults of all settings below")
    parser.add_argument("--pretrained", metavar="FILE", help="checkpoint to start from, MonST3R's or DAS3R's")
    parser.add_argument("--output_dir", default="results/train", metavar="DIR", help="checkpoints, log, images")
    parser.add_argument("--train_dataset", default="data/point_odyssey/train", metavar="DIR", help="clips to train on")
    parser.add_argument("--test_dataset", default=None, metavar="DIR", help="clips to test on")
    parser.add_argument("--resume", action="store_true", help="continue the run in --output_dir")
    parser.add_argument("--overwrite", action="store_true", help="replace the run in --output_dir")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--num_workers", type=int, default=0, help="processes that prefetch pairs")
    parser.add_argument(
        "--sharded", action="store_true", help="distribute parameters and optimizer over the processes (FSDP)"
    )
    parser.add_argument("--amp", action="store_true", help="bfloat16 in the trunk")
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
