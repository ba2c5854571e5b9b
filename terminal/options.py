"""Command-line options out of a settings dataclass whose fields were declared by `scene.option.option`."""

import argparse
import types
from collections.abc import Callable, Collection, Sequence
from dataclasses import MISSING, Field, fields
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from scene.errors import InputError
from scene.option import KEY, Option, option_flag
from terminal.option_parser import OptionParser

Settings = TypeVar("Settings")


def add_options(
    parser: argparse.ArgumentParser,
    settings_type: type,
    *,
    leave_out: Collection[str] = (),
    spelled: Callable[[Field], Sequence[str]] | None = None,
    **defaults: Any,
) -> None:
    """Adds an option for each declared field of `settings_type` not in `leave_out`; `defaults` by field name. `spelled`
    gives other spellings than `flags_of`."""
    for item in fields(settings_type):
        declared: Option | None = item.metadata.get(KEY)
        if declared is None or item.name in leave_out:
            continue
        target: Any = parser if declared.group is None else _group(parser, declared.group)
        words = _words(item, declared, defaults.get(item.name, _default(item)))
        if declared.presets is not None and isinstance(parser, OptionParser):
            parser.presets[item.name] = declared.presets
        if declared.positional:
            target.add_argument(item.name, **words)
        else:
            target.add_argument(*(spelled or flags_of)(item), dest=item.name, **words)


def add_optional(parser: argparse.ArgumentParser, item: Field, *, title: str, dest: str, flags: Sequence[str]) -> None:
    """Adds an option for one declared field under the heading `title`, which is None in the result unless given."""
    declared: Option = item.metadata[KEY]
    words = {**_words(item, declared, _default(item)), "default": None, "required": False}
    if words.get("action") == "store_true":
        del words["required"]
    elif words.get("action") is argparse.BooleanOptionalAction:
        words["help"] = f"{words['help']} (default: yes)"
    _group(parser, title).add_argument(*flags, dest=dest, **words)


def flags_of(item: Field) -> tuple[str, ...]:
    """The spellings of the option of a declared field."""
    return item.metadata[KEY].flags or ("--" + item.name.replace("_", "-"),)


def settings_from(options: argparse.Namespace, settings_type: type[Settings], **extra: Any) -> Settings:
    """The settings that a parser with `add_options` has read, and `extra` fields; the checks of the dataclass apply."""
    given = {
        item.name: getattr(options, item.name)
        for item in fields(settings_type)  # type: ignore[arg-type]
        if KEY in item.metadata and hasattr(options, item.name)
    }
    return settings_type(**{**given, **extra})


def option_name(settings_type: type, name: str) -> str:
    """How the field `name` is spelled on the command line."""
    declared = {item.name: item.metadata.get(KEY) for item in fields(settings_type)}.get(name)
    return option_flag(name, declared if declared is not None else Option(""))


def _group(parser: argparse.ArgumentParser, title: str) -> Any:
    existing = next((group for group in parser._action_groups if group.title == title), None)
    return existing or parser.add_argument_group(title)


def _default(item: Field) -> Any:
    if item.default is not MISSING:
        return item.default
    return item.default_factory() if item.default_factory is not MISSING else MISSING


def _words(item: Field, declared: Option, default: Any) -> dict[str, Any]:
    """The keywords of `add_argument`, except `dest`."""
    hint = item.type
    kind: Any = _plain_type(hint) if declared.parse is None else _reader(declared.parse)
    words: dict[str, Any] = {"help": declared.help.replace("%", "%%")}
    if declared.positional:
        words["metavar"] = declared.metavar or item.name.upper()
        if default is not MISSING:
            words |= {"nargs": "?", "default": default}
        return words
    if default is MISSING:
        words["required"] = True
    else:
        words["default"] = default
    if kind is bool:
        words["action"] = argparse.BooleanOptionalAction if default is True else "store_true"
    else:
        choices = declared.choices if declared.choices is not None else _literal_values(hint)
        words |= {"type": kind, "metavar": declared.metavar, "choices": None if choices is None else list(choices)}
        if kind is not str and default not in (MISSING, None, 0, ()) or isinstance(default, str):
            words["help"] += f" (default: {default})"
    return words


def _reader(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return parse(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def _literal_values(hint: Any) -> tuple[Any, ...] | None:
    """The values of a `Literal`, also of an optional one; None for other types."""
    return next((get_args(kind) for kind in (hint, *get_args(hint)) if get_origin(kind) is Literal), None)


def _plain_type(hint: Any) -> type:
    """The type that the text of an option is converted to: that of the annotation without None."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        kinds = [kind for kind in get_args(hint) if kind is not type(None)]
        return _plain_type(kinds[0])
    if origin is not None:  # Literal and the like
        values = get_args(hint)
        return type(values[0]) if values else str
    if hint not in (bool, int, float, str):
        raise InputError(f"No command-line option can be made of the type {hint!r}.")
    return hint
