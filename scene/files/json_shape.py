"""Checks what a JSON value is made of, where it comes from a file that anything may have changed."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scene.errors import InputError

#: far above all that is counted or measured here, and safe in products
_LARGEST = 1e15
_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false", dict: "an object"}


class Either:
    """One of several shapes, for `check_shape`."""

    def __init__(self, *shapes: Any) -> None:
        self.shapes = shapes


#: a number, or null where there is none
NUMBER_OR_NULL = Either(float, None)


def check_shape(value: Any, shape: Any, path: Path, place: str = "") -> None:
    """Raises `InputError` that names `path` and the place in it unless `value` has a `shape`: a type (float: any finite
    number; dict: any object), None, `[shape]` for a list, `{str: shape}` for an object with any names, `{"name": shape,
    "other?": shape}` for one that has these, of which "other" may be missing, and further ones, or `Either`."""
    if isinstance(shape, Either):
        for one in shape.shapes:
            if _is_of(value, one):
                return check_shape(value, one, path, place)
        raise _damaged(path, place, " or ".join(_name(one) for one in shape.shapes))
    if not _is_of(value, shape):
        raise _damaged(path, place, _name(shape))
    if isinstance(shape, list):
        for index, item in enumerate(value):
            check_shape(item, shape[0], path, f"{place}[{index}]")
    elif isinstance(shape, Mapping) and str in shape:
        for name, item in value.items():
            check_shape(item, shape[str], path, _inside(place, name))
    elif isinstance(shape, Mapping):
        for name, of_item in shape.items():
            key = name.removesuffix("?")
            if key in value:
                check_shape(value[key], of_item, path, _inside(place, key))
            elif key == name:
                raise InputError(f"{path} has no {_inside(place, key)}; the file is damaged or of another version.")


def _is_of(value: Any, shape: Any) -> bool:
    if shape is None:
        return value is None
    if isinstance(shape, list):
        return isinstance(value, list)
    if isinstance(shape, Mapping) or shape is dict:
        return isinstance(value, dict)
    if isinstance(value, bool) or shape is bool:
        return isinstance(value, bool) and shape is bool
    if shape in (int, float) and isinstance(value, int | float):
        return (shape is float or isinstance(value, int)) and math.isfinite(value) and abs(value) <= _LARGEST
    return isinstance(value, shape)


def _name(shape: Any) -> str:
    if shape is None:
        return "null"
    if isinstance(shape, list):
        return "a list"
    return "an object" if isinstance(shape, Mapping) else _NAMES[shape]


def _inside(place: str, name: str) -> str:
    return f"{place}.{name[:40]}" if place else name[:40]


def _damaged(path: Path, place: str, wanted: str) -> InputError:
    return InputError(f"{path}: {place or 'the whole'} is not {wanted}; the file is damaged or of another version.")
