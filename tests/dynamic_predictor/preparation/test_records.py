"""TFRecords and Protocol Buffers against examples of their documentation and Google's own library, if it is there."""

import struct
from pathlib import Path

import numpy as np
import pytest

from dynamic_predictor.preparation.records import (
    contents,
    fields_of,
    floats,
    integer,
    integers,
    messages,
    read_records,
    unpacked_varints,
)
from scene.errors import InputError


def test_examples_of_the_documentation() -> None:
    """The messages of protobuf.dev/programming-guides/encoding."""
    assert integer(fields_of(memoryview(b"\x08\x96\x01")), 1) == 150
    fields = fields_of(memoryview(b"\x12\x07testing\x1a\x03\x08\x96\x01"))
    assert contents(fields, 2) == [b"testing"] and integer(messages(fields, 3)[0], 1) == 150
    assert integers(fields_of(memoryview(b"\x32\x06\x03\x8e\x02\x9e\xa7\x05")), 6).tolist() == [3, 270, 86942]


def test_against_the_library() -> None:
    wrappers = pytest.importorskip(
        "google.protobuf.struct_pb2", reason="NOT CHECKED: protobuf, the library to compare with, is not installed"
    )
    value = wrappers.ListValue()
    value.extend([1.5, "text", [2.5, -3.0]])
    found = messages(fields_of(memoryview(value.SerializeToString())), 1)
    assert floats(found[0], 2, "<f8").tolist() == [1.5] and contents(found[1], 3) == [b"text"]
    inner = messages(messages(found[2], 6)[0], 1)
    assert [float(floats(item, 2, "<f8")[0]) for item in inner] == [2.5, -3.0]


def test_numbers_packed_or_not() -> None:
    packed = b"\x0a\x10" + struct.pack("<2d", 1.25, -7.0)
    single = b"".join(b"\x09" + struct.pack("<d", value) for value in (1.25, -7.0))
    for message in (packed, single):
        assert floats(fields_of(memoryview(message)), 1, "<f8").tolist() == [1.25, -7.0]
    minus_one = b"\xff" * 9 + b"\x01"
    message = b"\x0a\x0c\x05" + minus_one + b"\x07" + b"\x08\x09"
    assert integers(fields_of(memoryview(message)), 1).tolist() == [9, 5, -1, 7]
    numbers = np.random.default_rng(0).integers(0, 1 << 20, 1000)
    encoded = b"".join(_varint(int(number)) for number in numbers)
    assert np.array_equal(unpacked_varints(encoded), numbers) and len(unpacked_varints(b"")) == 0


def _varint(value: int) -> bytes:
    return bytes([value]) if value < 0x80 else bytes([value & 0x7F | 0x80]) + _varint(value >> 7)


@pytest.mark.parametrize("message", [b"\x0a\x05abc", b"\x08", b"\x0b", b"\xff" * 12, b"\x09abc"])
def test_damaged_messages(message: bytes) -> None:
    with pytest.raises(ValueError):
        fields_of(memoryview(message))


def test_records(tmp_path: Path) -> None:
    path = tmp_path / "a.tfrecord"
    content = b"".join(struct.pack("<QI", len(text), 0) + text + bytes(4) for text in (b"first", b"", b"third"))
    path.write_bytes(content)
    assert [bytes(record) for record in read_records(path)] == [b"first", b"", b"third"]
    for damaged in (content[:-1], content[:-10], struct.pack("<QI", 1 << 60, 0)):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="download it again"):
            list(read_records(path))
