"""Options declared once: a field of a settings dataclass that is a Python argument and a command-line option alike.

`terminal.options` makes a parser out of the fields and settings out of what was parsed.
"""

from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

#: key of a field's metadata under which its `Option` lies
KEY = "option"


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


def option(default: Any = MISSING, help: str = "", *, positional: bool = False, **looks: Any) -> Any:
    """A dataclass field, keyword-only unless `positional`, with a default and its `Option`, whose other fields are
    `looks`. A `bool` becomes a switch: --name, and --no-name where the default is true."""
    metadata = {KEY: Option(help, positional=positional, **looks)}
    return field(default=default, metadata=metadata, kw_only=not positional)


def values_of(settings: Any, kind: type) -> dict[str, Any]:
    """The values of the fields that `settings` shares with the dataclass `kind`, by their names."""
    return {item.name: getattr(settings, item.name) for item in fields(kind)}
