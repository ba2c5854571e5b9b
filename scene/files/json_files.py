"""JSON files: written whole or not at all, read with one clear sentence for what is wrong with them."""

import json
import math
import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from scene.errors import InputError
from scene.files.atomic import atomic_file
from scene.files.text import MAX_TEXT_BYTES, read_text

#: what is written here has at most a dozen levels
DEEPEST = 64
#: products of two such numbers are finite
LARGEST_NUMBER = 1e30
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(path: Path, limit: int = MAX_TEXT_BYTES) -> dict[str, Any]:
    """A JSON object. Raises `InputError` for what `parse_json` refuses and for anything but an object."""
    value = parse_json(read_text(path, limit), str(path))
    if not isinstance(value, dict):
        raise InputError(f"{path} holds a JSON {type(value).__name__} where an object was expected; restore the file.")
    return value


def read_json_list(path: Path, limit: int = MAX_TEXT_BYTES) -> list[Any]:
    """A JSON list. Raises `InputError` for what `parse_json` refuses and for anything but a list."""
    value = parse_json(read_text(path, limit), str(path))
    if not isinstance(value, list):
        raise InputError(f"{path} holds a JSON {type(value).__name__} where a list was expected; restore the file.")
    return value


def parse_json(text: str | bytes, source: str, *, constants: bool = False) -> Any:
    """The value of a JSON text that somebody else may have written; `source` names its file in messages.

    Raises `InputError` for anything that is not JSON and for values that no program here writes and that later steps
    could not use: NaN and infinities (unless `constants`), numbers beyond `LARGEST_NUMBER`, whole numbers of more than
    64 bits, text that is not Unicode (lone surrogates), and objects and lists nested more than `DEEPEST` deep.
    """

    def constant(name: str) -> float:
        if constants:
            return float(name)
        raise ValueError(f"{name} is not a number")

    def whole_number(digits: str) -> int:
        if len(digits) > 20 or not -(1 << 63) <= int(digits) < 1 << 63:
            raise ValueError(f"the number {_shortened(digits)} is larger than any that is sensible")
        return int(digits)

    def number(digits: str) -> float:
        value = float(digits)
        if not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
            raise ValueError(f"the number {_shortened(digits)} is larger than any that is sensible")
        return value

    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        value = json.loads(text, parse_constant=constant, parse_int=whole_number, parse_float=number)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        _check_depth(value)
    except json.JSONDecodeError as error:
        raise InputError(f"{source} is broken JSON at line {error.lineno}: {error.msg}.") from None
    except UnicodeError:
        raise InputError(f"{source} holds text that is not Unicode; it is damaged or of another kind.") from None
    except RecursionError:
        raise InputError(f"{source} is nested too deeply; it is damaged or of another kind.") from None
    except ValueError as error:
        raise InputError(f"{source} is broken JSON: {error}.") from None
    return value


def _check_depth(value: Any) -> None:
    """Raises RecursionError for objects and lists that are nested more than `DEEPEST` deep."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            if type(outer) in (dict, list)
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) in (dict, list)
        ]
        if not level:
            return
    raise RecursionError


def _shortened(digits: str) -> str:
    return digits if len(digits) <= 24 else f"{digits[:20]}... of {len(digits)} characters"


def write_json(path: str | Path, value: Any, *, indent: int = 1) -> None:
    """Writes `value` as JSON (see `plain`), whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_text(json_text(value, indent=indent) + "\n", "utf-8")


def json_text(value: Any, *, indent: int | None = 1) -> str:
    """`value` as strict JSON (see `plain`)."""
    return json.dumps(plain(value), indent=indent, ensure_ascii=False, allow_nan=False)


def plain(value: Any) -> Any:
    """`value` for JSON: arrays become lists, dataclasses objects, paths text, numbers that are not finite null."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return value if value.isascii() else unicode_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {plain(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    return unicode_text(str(value))


def unicode_text(text: str) -> str:
    """`text` for files in UTF-8: bytes of the name of a file that are no characters become `\\udcff`."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
