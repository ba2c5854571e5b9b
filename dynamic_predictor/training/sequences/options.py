"""The options of the recipes for sequences, and the recipe that they describe."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from dynamic_predictor.training.sequences.recipes import RECIPES, SequenceRecipe
from dynamic_predictor.training.sequences.settings import FREEZES, Cut3rTrainingSettings, VggtTrainingSettings
from dynamic_predictor.training.settings import PRECISIONS
from scene.errors import InputError


@dataclass(frozen=True)
class SettingOption:
    """An option that sets a field of the settings. `convert` makes its value from one word, `many` from several."""

    field: str
    help: str
    convert: Callable[[str], Any] = str
    many: bool = False
    choices: Sequence[str] | None = None


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not width.isdigit() or not height.isdigit():
        raise argparse.ArgumentTypeError(f"{text} is not a size such as 512x384")
    return int(width), int(height)


def _count(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not number.isdigit():
        raise argparse.ArgumentTypeError(f"{text} is not a number of sequences such as co3d=4500")
    return name, int(number)


#: every number of a recipe; without them, those of the recipe hold
SETTING_OPTIONS: dict[str, SettingOption] = {
    "freeze": SettingOption("freeze", "what is not trained", choices=FREEZES),
    "epochs": SettingOption("epochs", "rounds over the sequences of an epoch", int),
    "batch_size": SettingOption("batch_size", "sequences per process and forward pass", int),
    "accum_iter": SettingOption("accumulation", "forward passes per step", int),
    "lr": SettingOption("learning_rate", "largest learning rate", float),
    "min_lr": SettingOption("least_learning_rate", "last learning rate", float),
    "warmup_epochs": SettingOption("warmup_epochs", "epochs until the largest learning rate", float),
    "weight_decay": SettingOption("weight_decay", "of matrices, not of biases and norms", float),
    "gradient_limit": SettingOption("gradient_limit", "largest norm of the gradient of a step", float),
    "precision": SettingOption("precision", "type that the blocks compute in", choices=PRECISIONS),
    "eval_freq": SettingOption("test_every_epochs", "epochs between tests", int),
    "keep_freq": SettingOption("keep_every_epochs", "epochs between kept checkpoints", int),
    "saves_per_epoch": SettingOption("saves_per_epoch", "times that checkpoint-last.pth is written per epoch", int),
    "seed": SettingOption("seed", "of everything random", int),
    "samples": SettingOption("samples", "SET=N: sequences per epoch; others keep theirs", _count, many=True),
    "resolutions": SettingOption("resolutions", "WxH: sizes of images, one per step", _size, many=True),
    "views": SettingOption("views", "most views of a sequence", int),
    "least_views": SettingOption("least_views", "fewest views of a sequence", int),
    "crop_extra": SettingOption("crop_extra", "pixels that are cropped away at random", int),
    "color_jitter": SettingOption("color_jitter", "largest change of brightness, contrast and saturation", float),
    "alpha": SettingOption("alpha", "weight of the logarithm of the confidence", float),
    "chunk_views": SettingOption("chunk_views", "CUT3R: views that gradients flow through, 0: all", int),
    "gradient_chunks": SettingOption("gradient_chunks", "CUT3R: last chunks that have gradients", int),
    "query_points": SettingOption("query_points", "StreamVGGT: tracked points, 0: no tracks", int),
    "test_set": SettingOption("test_set", "training set that --test_data holds a part of"),
    "test_samples": SettingOption("test_samples", "sequences that are tested", int),
    "test_views": SettingOption("test_views", "views of a test sequence", int),
    "test_resolution": SettingOption("test_resolution", "WxH: size of test images", _size),
}
SETTING_SWITCHES: dict[str, SettingOption] = {
    "allow_repeats": SettingOption("allow_repeats", "sequences may repeat few different frames"),
    "gradient_checkpointing": SettingOption("gradient_checkpointing", "less memory for gradients, more time"),
    "by_kind": SettingOption("by_kind", "CUT3R: the loss tells kinds of sequences apart"),
    "strict_official": SettingOption("strict_official", "StreamVGGT: the rounding errors of the official loss"),
}


def add_options(parser: argparse.ArgumentParser, recipe: str) -> None:
    """Adds the options of data and settings to `parser`; its help shows the values of `recipe`."""
    values = vars(RECIPES[recipe].settings)
    group = parser.add_argument_group("data")
    group.add_argument("--data", metavar="DIR", help="folder with the processed training sets")
    group.add_argument("--datasets", nargs="+", metavar="SET", help="only these training sets of the recipe")
    group.add_argument("--test_data", metavar="DIR", help="folder with the test part of --test_set; no test without")
    group.add_argument("--teacher", metavar="FILE", help="weights that StreamVGGT learns from; default: vggt")
    group = parser.add_argument_group("settings of the recipe")
    for name, option in SETTING_OPTIONS.items():
        group.add_argument(
            f"--{name}",
            dest=option.field,
            type=option.convert,
            nargs="+" if option.many else None,
            choices=option.choices,
            metavar=None if option.choices else "VALUE",
            default=argparse.SUPPRESS,
            help=f"{option.help}; {recipe}: {_shown(values.get(option.field))}",
        )
    for name, option in SETTING_SWITCHES.items():
        group.add_argument(
            f"--{name}",
            dest=option.field,
            action=argparse.BooleanOptionalAction,
            default=argparse.SUPPRESS,
            help=f"{option.help}; {recipe}: {_shown(values.get(option.field))}",
        )


def _shown(value: object) -> str:
    """A value of a recipe as the command line takes it."""
    if value is None or isinstance(value, bool):
        return {None: "-", True: "yes", False: "no"}[value]
    if isinstance(value, dict):
        return " ".join(f"{name}={count}" for name, count in value.items())
    if isinstance(value, tuple):
        sizes = [value] if value and isinstance(value[0], int) else value
        return " ".join(f"{width}x{height}" for width, height in sizes)
    return f"{value:g}" if isinstance(value, float) else str(value)


def chosen_settings(options: argparse.Namespace) -> Cut3rTrainingSettings | VggtTrainingSettings:
    """The settings of `options.recipe` with what was given instead. Raises `InputError` for what it does not have."""
    recipe = RECIPES[options.recipe]
    settings = recipe.settings
    known = {item.name for item in fields(settings)}
    changes = {}
    for name, option in {**SETTING_OPTIONS, **SETTING_SWITCHES}.items():
        value = getattr(options, option.field, None)
        if value is None:
            continue
        if option.field not in known:
            raise InputError(f"The recipe {options.recipe} has no --{name}; leave it out.")
        changes[option.field] = value
    samples = {**settings.samples, **dict(changes.pop("samples", ()))}
    if options.datasets:
        unknown = [name for name in options.datasets if name not in samples]
        if unknown:
            raise InputError(
                f"The recipe {options.recipe} has no training set {unknown[0]}; add one with --samples {unknown[0]}=N, "
                f"or choose among: {', '.join(samples)}."
            )
        samples = {name: samples[name] for name in options.datasets}
    if "resolutions" in changes:
        changes["resolutions"] = tuple(changes["resolutions"])
    if options.amp:
        changes["precision"] = "bfloat16"
    if "views" in changes and "least_views" not in changes:
        # recipes with a fixed number of views keep it fixed
        fixed = settings.least_views == settings.views
        changes["least_views"] = changes["views"] if fixed else min(settings.least_views, changes["views"])
    return replace(settings, samples=samples, **changes)


def start_file(options: argparse.Namespace, recipe: SequenceRecipe) -> str | None:
    """What the weights are read from that training starts with, None for random ones."""
    start = options.pretrained or recipe.start or None
    if start is None and recipe.must_start_from and not options.resume:
        raise InputError(
            f"The recipe {options.recipe} starts from {recipe.must_start_from}; give it with --pretrained."
        )
    return start


def data_folder(options: argparse.Namespace) -> Path:
    """The folder with the training sets."""
    if options.data is None:
        raise InputError(
            f"The recipe {options.recipe} needs training sets; give the folder that holds them with --data."
        )
    return Path(options.data)
