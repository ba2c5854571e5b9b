"""The options of the commands that run a predictor: settings, exports, and what each predictor has of its own."""

import argparse
from collections.abc import Collection
from typing import Any, TypeVar

from scene.formats.options import ExportOptions
from stillsplat.settings import SceneSettings
from terminal.option_parser import OptionParser
from terminal.options import add_optional, add_options, flags_of, settings_from

Settings = TypeVar("Settings", bound=SceneSettings)
_PREFIX = "predictor_option_"


def add_scene_options(
    parser: OptionParser,
    settings_type: type[SceneSettings],
    *,
    leave_out: Collection[str] = (),
    **defaults: Any,
) -> None:
    """Adds the options of `settings_type` (except those of the fields `leave_out`), of all exports and predictors."""
    from dynamic_predictor.predictor_options import predictor_options, title_of

    add_options(parser, settings_type, leave_out=leave_out, **defaults)
    add_options(parser, ExportOptions)
    for name, option in predictor_options().items():
        add_optional(parser, option.field, title=title_of(option), dest=_PREFIX + name, flags=flags_of(option.field))


def scene_settings(
    options: argparse.Namespace, settings_type: type[Settings], *, given: dict[str, Any] | None = None, **exports: Any
) -> Settings:
    """The settings that were read, with the values `given` in their place, and `exports` as further fields of
    `ExportOptions`."""
    own = {name.removeprefix(_PREFIX): value for name, value in vars(options).items() if name.startswith(_PREFIX)}
    return settings_from(
        options,
        settings_type,
        export_options=settings_from(options, ExportOptions, seed=options.seed, **exports),
        predictor_options={name: value for name, value in own.items() if value is not None},
        **(given or {}),
    )
