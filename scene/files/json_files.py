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

#: an escape of half a character beyond 16 bits without the other half: no file system and no terminal takes it
_HALF_CHARACTER = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)


def read_json(path: Path, limit: int = MAX_TEXT_BYTES) -> dict[str, Any]:
    """A JSON object; NaN and infinities are refused."""
    value = _read(path, limit)
    if not isinstance(value, dict):
        raise InputError(f"{path} holds a JSON {type(value).__name__} where an object was expected; restore the file.")
    return value


def read_json_list(path: Path, limit: int = MAX_TEXT_BYTES) -> list[Any]:
    """A JSON list; NaN and infinities are refused."""
    value = _read(path, limit)
    if not isinstance(value, list):
        raise InputError(f"{path} holds a JSON {type(value).__name__} where a list was expected; restore the file.")
    return value


def _read(path: Path, limit: int) -> Any:
    def refuse(constant: str) -> float:
        raise ValueError(f"{constant} is not a number")

    text = read_text(path, limit)
    if _HALF_CHARACTER.search(text):
        raise InputError(f"{path} is broken JSON: it has half of a Unicode character (\\ud800 to \\udfff).")
    try:
        return json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is broken JSON at line {error.lineno}: {error.msg}.") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is broken JSON: {error}.") from None


def write_json(path: str | Path, value: Any, *, indent: int = 1) -> None:
    """Writes `value` as JSON (see `plain`), whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_text(json_text(value, indent=indent) + "\n", "utf-8")


def json_text(value: Any, *, indent: int | None = 1) -> str:
    """`value` as strict JSON (see `plain`)."""
    return json.dumps(plain(value), indent=indent, ensure_ascii=False, allow_nan=False)


def plain(value: Any) -> Any:
    """`value` for JSON: arrays become lists, dataclasses objects, paths text, numbers that are not finite null."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    return str(value)
