"""Reads plain values out of Python's pickle format without executing any of it.

Some lists that belong to published sets are pickled. `pickletools` only names the opcodes of such a file; this reader
keeps text, numbers, lists, tuples and dictionaries, and of all objects only arrays and scalars of NumPy. Calls that the
file asks for are never made.
"""

import pickletools
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from scene.errors import InputError
from scene.files.arrays import read_header
from scene.files.text import check_file

_MAX_BYTES = 1 << 30
_VALUES = {
    "BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "BINFLOAT", "FLOAT", "BINUNICODE", "UNICODE",
    "SHORT_BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "SHORT_BINSTRING", "BINSTRING",
    "STRING",
}  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_MARK = object()


@dataclass
class _Call:
    """A call that the file asks for; it is only looked at."""

    name: str
    arguments: tuple = ()
    state: Any = None


def read_pickled_file(path: Path) -> Any:
    """The value of a pickle file. Raises `InputError` if it holds anything but plain values."""
    check_file(path, _MAX_BYTES)
    return _plain_value(path.read_bytes(), path)


def read_text_array(path: Path, key: str) -> list[str]:
    """An array of text in an .npz file, stored as text or as Python objects."""
    check_file(path, _MAX_BYTES)
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as file:
            shape, _, dtype = read_header(file)
            content = file.read(_MAX_BYTES)
    except (KeyError, ValueError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise InputError(f"{path} has no readable array {key}; get the file again.") from error
    if dtype.hasobject:
        values = _plain_value(content, path)
    elif dtype.kind == "U" and len(content) == np.prod(shape) * dtype.itemsize:
        values = np.frombuffer(content, dtype).tolist()
    else:
        raise InputError(f"{path}: {key} is of type {dtype}, not text; get the file again.")
    return [str(value) for value in values]


def _plain_value(content: bytes, path: Path) -> Any:
    try:
        return _plain(_read(content, path), path, {})
    except RecursionError:
        raise InputError(f"{path} holds lists that are nested too deeply; it is not read.") from None


def _read(content: bytes, path: Path) -> Any:
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        items = []
        while (item := stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    try:
        for opcode, value, _ in pickletools.genops(content):
            name, argument = opcode.name, cast(Any, value)
            if name in _VALUES:
                stack.append(argument)
            elif name in _CONSTANTS:
                stack.append(_CONSTANTS[name])
            elif name == "MARK":
                stack.append(_MARK)
            elif name in ("EMPTY_LIST", "EMPTY_DICT", "EMPTY_TUPLE"):
                stack.append({"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}[name]())
            elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
                items = stack[-int(name[-1]) :]
                del stack[-int(name[-1]) :]
                stack.append(tuple(items))
            elif name in ("TUPLE", "LIST"):
                stack.append(tuple(since_mark()) if name == "TUPLE" else since_mark())
            elif name in ("APPEND", "APPENDS"):
                items = [stack.pop()] if name == "APPEND" else since_mark()
                stack[-1].extend(items)
            elif name in ("SETITEM", "SETITEMS"):
                items = [stack.pop(-2), stack.pop()] if name == "SETITEM" else since_mark()
                stack[-1].update({_plain(k, path, {}): v for k, v in zip(items[::2], items[1::2], strict=True)})
            elif name in ("BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE"):
                memo[len(memo) if name == "MEMOIZE" else int(argument)] = stack[-1]
            elif name in ("BINGET", "LONG_BINGET", "GET"):
                stack.append(memo[int(argument)])
            elif name == "GLOBAL":
                stack.append(_Call(str(argument).replace(" ", ".")))
            elif name == "STACK_GLOBAL":
                attribute, module = stack.pop(), stack.pop()
                stack.append(_Call(f"{module}.{attribute}"))
            elif name == "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                stack.append(_Call(function.name, tuple(arguments)))
            elif name == "BUILD":
                state = stack.pop()
                stack[-1].state = state
            elif name == "STOP":
                return stack.pop()
            elif name not in ("PROTO", "FRAME"):
                raise ValueError(name)
    except (ValueError, IndexError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{path} holds something other than plain lists and numbers; it is not read.") from error
    raise InputError(f"{path} ends in the middle; get it again.")


def _plain(value: Any, path: Path, done: dict[int, Any]) -> Any:
    """Lists, tuples and dictionaries of plain values; arrays and scalars of NumPy out of their calls. What occurs
    several times is converted once (`done`, by identity)."""
    if not isinstance(value, list | tuple | dict | _Call):
        return value
    if id(value) not in done:
        if isinstance(value, dict):
            done[id(value)] = {key: _plain(item, path, done) for key, item in value.items()}
        elif isinstance(value, _Call):
            done[id(value)] = _array(value, path, done)
        else:
            done[id(value)] = type(value)(_plain(item, path, done) for item in value)
    return done[id(value)]


def _array(call: _Call, path: Path, done: dict[int, Any]) -> Any:
    try:
        if call.name == "_codecs.encode":
            return call.arguments[0].encode("latin1")
        if call.name.endswith("multiarray.scalar"):
            data = _plain(call.arguments[1], path, done)
            return data if isinstance(data, str) else np.frombuffer(data, _dtype(call.arguments[0]))[0].item()
        if call.name.endswith("multiarray._reconstruct"):
            _, shape, dtype, _, data = call.state
            data = _plain(data, path, done)
            return data if isinstance(data, list) else np.frombuffer(data, _dtype(dtype)).reshape(shape)
    except InputError:
        raise
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged; get it again.") from error
    raise InputError(f"{path} asks for {call.name}, which is not plain data; it is not read.")


def _dtype(call: _Call) -> np.dtype:
    name = str(call.arguments[0])
    if np.dtype(name).kind not in "fiubU":
        raise ValueError(name)
    order = call.state[1] if call.state else "="
    return np.dtype(name).newbyteorder(order if order in "<>" else "=")
