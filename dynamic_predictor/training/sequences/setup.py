"""Makes the recipe that options describe: network, weights, training sets."""

import argparse
from collections.abc import Callable
from pathlib import Path

from torch import nn

from dynamic_predictor.cut3r.config import Cut3rConfig
from dynamic_predictor.cut3r.network import Cut3rNetwork
from dynamic_predictor.das3r.official_layout import key_aliases
from dynamic_predictor.streamvggt.network import GeometryNetwork
from dynamic_predictor.training.datasets.mixture import Mixture
from dynamic_predictor.training.datasets.training_set import Augmentation
from dynamic_predictor.training.recipe import Recipe
from dynamic_predictor.training.sequences.cut3r_recipe import Cut3rRecipe
from dynamic_predictor.training.sequences.fresh_weights import draw_weights, start_from
from dynamic_predictor.training.sequences.options import chosen_settings, data_folder, start_file
from dynamic_predictor.training.sequences.recipes import RECIPES
from dynamic_predictor.training.sequences.sequence_batches import open_mixture
from dynamic_predictor.training.sequences.settings import Cut3rTrainingSettings, VggtTrainingSettings
from dynamic_predictor.training.sequences.streamvggt_recipe import DistillationRecipe, PointRecipe, check_tracking
from dynamic_predictor.weights.registry import given_weights
from scene.errors import InputError

#: says a sentence to the user
Say = Callable[[str], None]


def make_recipe(options: argparse.Namespace, say: Say) -> Recipe:
    """The recipe `options.recipe`. Raises `InputError` for what is wrong or missing."""
    row, settings = RECIPES[options.recipe], chosen_settings(options)
    root = data_folder(options)
    start = start_file(options, row)
    is_distillation = isinstance(settings, VggtTrainingSettings) and settings.task == "distillation"
    if options.teacher is not None and not is_distillation:
        raise InputError(f"The recipe {options.recipe} has no teacher; leave --teacher out.")
    # before anything is read: official files that are missing
    start_path = given_weights(start) if start is not None and not options.resume else None
    teacher_path = _teacher_path(options, start, row.start) if is_distillation else None
    mixture = open_mixture(settings.mixture, root, seed=settings.seed, augmentation=settings.augmentation)
    test_mixture = _test_mixture(options, settings)
    if isinstance(settings, Cut3rTrainingSettings):
        assert isinstance(row.network, Cut3rConfig)
        cut3r = Cut3rNetwork(row.network)
        draw_weights(cut3r, settings.seed)
        if start_path is not None:
            _start(cut3r, start_path, key_aliases(cut3r.state_dict()), say)
        return Cut3rRecipe(cut3r, mixture, settings, test_mixture)
    assert not isinstance(row.network, Cut3rConfig)
    network = GeometryNetwork(row.network)
    check_tracking(network, settings)
    draw_weights(network, settings.seed)
    if start_path is not None:
        _start(network, start_path, {}, say)
    if teacher_path is None:
        return PointRecipe(network, mixture, settings, test_mixture)
    teacher = GeometryNetwork(row.network)
    _start(teacher, teacher_path, {}, say, complete=True)
    return DistillationRecipe(network, teacher, mixture, settings, test_mixture)


def _teacher_path(options: argparse.Namespace, start: str | None, published: str) -> Path:
    chosen = options.teacher or published or start
    if chosen is None:
        raise InputError(
            f"The recipe {options.recipe} needs a teacher; train one with --recipe vggt-small and give its "
            "checkpoint-final.pth with --teacher."
        )
    return given_weights(chosen)


def _start(network: nn.Module, path: Path, aliases: dict[str, str], say: Say, *, complete: bool = False) -> None:
    new = start_from(network, path, aliases)
    if new and complete:
        raise InputError(f"{path} lacks {len(new)} tensors of the teacher, such as {new[0]}; give a complete file.")
    if new:
        say(f"{path} lacks {len(new)} tensors, such as {new[0]}; they start from random values.")


def _test_mixture(
    options: argparse.Namespace, settings: Cut3rTrainingSettings | VggtTrainingSettings
) -> Mixture | None:
    if options.test_data is None:
        return None
    return open_mixture(
        settings.test_mixture, options.test_data, seed=settings.seed, augmentation=Augmentation()
    )  # fmt: skip
