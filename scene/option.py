"""Options declared once: a field of a settings dataclass that is a Python argument and a command-line option alike.

`terminal.options` makes a parser out of the fields and settings out of what was parsed.
"""

import math
import os
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, Union, get_args, get_origin

from scene.errors import InputError

#: key of a field's metadata under which its `Option` lies
KEY = "option"
#: largest size of whole numbers, which OpenCV and other libraries keep in 32 bits, and of others
LARGEST_INTEGER, _LARGEST_NUMBER = 2**31 - 1, 1e12
_KINDS = {bool: "yes or no", int: "a whole number", float: "a number", str: "text"}


@dataclass(frozen=True)
class Option:
    """The command-line option of a field. `flags` are all spellings, the first one is the name; empty for
    "--field-name". `group`: heading in the help under which the option stands."""

    help: str
    metavar: str | None = None
    choices: Sequence[Any] | None = None
    flags: tuple[str, ...] = ()
    group: str | None = None
    positional: bool = False
    #: makes the value out of its text, where the type of the field does not say how
    parse: Callable[[str], Any] | None = None
    #: for each value of this option, values of other fields that hold on the command line where those are not given
    #: themselves
    presets: Mapping[Any, Mapping[str, Any]] | None = None


def option(default: Any = MISSING, help: str = "", *, positional: bool = False, **looks: Any) -> Any:
    """A dataclass field, keyword-only unless `positional`, with a default and its `Option`, whose other fields are
    `looks`. A `bool` becomes a switch: --name, and --no-name where the default is true."""
    metadata = {KEY: Option(help, positional=positional, **looks)}
    return field(default=default, metadata=metadata, kw_only=not positional)


def values_of(settings: Any, kind: type) -> dict[str, Any]:
    """The values of the fields that `settings` shares with the dataclass `kind`, by their names."""
    return {item.name: getattr(settings, item.name) for item in fields(kind)}


def option_flag(name: str, declared: Option) -> str:
    """How the option of the field `name` is spelled."""
    return (
        declared.flags[0] if declared.flags else name.upper() if declared.positional else "--" + name.replace("_", "-")
    )


def check_values(settings: Any) -> None:
    """Raises `InputError` for the first declared field of a dataclass whose value is not of its type, not finite, or
    larger than any that could be meant. Settings that are read from files and arguments from Python go through it,
    too."""
    for item in fields(settings):
        declared: Option | None = item.metadata.get(KEY)
        if declared is None:
            continue
        value, kinds = getattr(settings, item.name), _kinds(item.type)
        if not kinds or (value is None and type(None) in kinds):
            continue
        name = option_flag(item.name, declared)
        if not any(_is(value, kind) for kind in kinds):
            wanted = " or ".join(_KINDS[kind] for kind in kinds if kind in _KINDS)
            raise InputError(f"{name} must be {wanted}, not {shortened(value)}.")
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"{name} must be a finite number, not {value}.")
        if isinstance(value, int | float) and abs(value) > (LARGEST_INTEGER if int in kinds else _LARGEST_NUMBER):
            largest = LARGEST_INTEGER if int in kinds else f"{_LARGEST_NUMBER:g}"
            raise InputError(f"{name} must be at most {largest}, not {shortened(value)}.")


def shortened(value: Any) -> str:
    """`value` for a message, also where it is thousands of characters long."""
    if isinstance(value, int) and abs(value) >= 10**40:
        return "a number of more than 40 digits"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _kinds(hint: Any) -> tuple[type, ...]:
    """The plain types that an annotation allows; empty where it is something else."""
    if get_origin(hint) in (Union, types.UnionType):
        parts = [_kinds(kind) for kind in get_args(hint)]
        return tuple(kind for part in parts for kind in part) if all(parts) else ()
    if get_origin(hint) is Literal:
        return tuple({type(value) for value in get_args(hint)})
    return (hint,) if hint in (bool, int, float, str, type(None)) else ()


def _is(value: Any, kind: type) -> bool:
    if kind is str:
        return isinstance(value, str | os.PathLike)
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    if kind in (int, float) and hasattr(value, "dtype"):  # a number of numpy
        return value.dtype.kind in ("iu" if kind is int else "iuf")
    return isinstance(value, (int, float) if kind is float else kind)
