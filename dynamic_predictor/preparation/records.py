"""TFRecord files and the wire format of Protocol Buffers, read without the libraries, which are far larger than this.

A TFRecord is a row of records: length (8 bytes), its checksum (4), content, checksum (4). A message is a row of fields:
a number with the wire type in its last three bits, then a varint, 8 bytes, a length with content, or 4 bytes.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from scene.errors import InputError
from scene.files.text import check_file

_MAX_RECORD_BYTES = 1 << 30
_VARINT, _EIGHT_BYTES, _CONTENT, _FOUR_BYTES = 0, 1, 2, 5

#: the values of a message by the number of their field: integers of varints, else content
Fields = dict[int, list[int | memoryview]]


def read_records(path: Path) -> Iterator[memoryview]:
    """The contents of the records of a TFRecord file, one by one. Raises `InputError` if it ends in the middle."""
    check_file(path, limit=1 << 40)
    with path.open("rb") as file:
        while head := file.read(12):
            length = struct.unpack("<Q", head[:8])[0] if len(head) == 12 else _MAX_RECORD_BYTES + 1
            if length > _MAX_RECORD_BYTES:
                raise InputError(f"{path} is damaged: a record has an impossible length; download it again.")
            content = file.read(length + 4)
            if len(content) != length + 4:
                raise InputError(f"{path} ends in the middle of a record; download it again.")
            yield memoryview(content)[:length]


def fields_of(message: memoryview) -> Fields:
    """The fields of a message. Raises `ValueError` if it is damaged."""
    found: Fields = {}
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
        else:
            if kind == _CONTENT:
                size, at = _varint(message, at)
            elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
                size = 8 if kind == _EIGHT_BYTES else 4
            else:
                raise ValueError(f"wire type {kind}")
            if at + size > len(message):
                raise ValueError("a field ends after its message")
            value, at = message[at : at + size], at + size
        found.setdefault(key >> 3, []).append(value)
    return found


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number without an end")


def messages(fields: Fields, number: int) -> list[Fields]:
    """The messages in field `number`."""
    return [fields_of(value) for value in fields.get(number, []) if isinstance(value, memoryview)]


def contents(fields: Fields, number: int) -> list[memoryview]:
    """The contents (text, bytes) in field `number`."""
    return [value for value in fields.get(number, []) if isinstance(value, memoryview)]


def integer(fields: Fields, number: int) -> int:
    """The integer in field `number`, 0 if there is none."""
    values = [value for value in fields.get(number, []) if isinstance(value, int)]
    return values[-1] if values else 0


def floats(fields: Fields, number: int, kind: str) -> np.ndarray:
    """The numbers of type `kind` ("<f8", "<f4") in field `number`, packed or not."""
    return np.frombuffer(b"".join(contents(fields, number)), kind)


def integers(fields: Fields, number: int) -> np.ndarray:
    """The 32-bit integers in field `number`, packed or not."""
    values = [value for value in fields.get(number, []) if isinstance(value, int)]
    packed = b"".join(contents(fields, number))
    return np.concatenate([np.array(values, np.int64), unpacked_varints(packed)]).astype(np.int32)


def unpacked_varints(content: bytes) -> np.ndarray:
    """All varints of `content`, int64; of negative numbers, which have ten bytes, the lower 63 bits."""
    data = np.frombuffer(content, np.uint8)
    ends = np.flatnonzero(data < 0x80)
    if len(data) and (not len(ends) or ends[-1] != len(data) - 1):
        raise ValueError("a number without an end")
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64)
    lengths = ends - starts + 1
    values = np.zeros(len(ends), np.int64)
    for byte in range(min(int(lengths.max(initial=0)), 9)):
        has = lengths > byte
        values[has] |= (data[starts[has] + byte].astype(np.int64) & 0x7F) << (7 * byte)
    return values
