"""Plain values out of pickle files, without executing them."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from dynamic_predictor.training.datasets.inert_pickle import read_pickled_file, read_text_array
from scene.errors import InputError

VALUE = {
    (0, 1): [((1, 2), np.float64(0.25)), ((1, 3), 0.5)],
    "text": [True, None, -7, 2**70, b"bytes", "ä", np.int32(-3)],
    "nested": {"list": [[], (), {}], "again": ["x", "x"]},
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_values(protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "value.pkl"
    path.write_bytes(pickle.dumps(VALUE, protocol=protocol))
    assert read_pickled_file(path) == VALUE


@pytest.mark.parametrize("dtype", [object, str])
def test_arrays_of_text(dtype: type, tmp_path: Path) -> None:
    names = ["0001 0", "a/b.jpg", "a/b.jpg", "ö"]
    np.savez(tmp_path / "a.npz", names=np.array(names, dtype=dtype), numbers=np.arange(3))
    assert read_text_array(tmp_path / "a.npz", "names") == names
    with pytest.raises(InputError, match="not text"):
        read_text_array(tmp_path / "a.npz", "numbers")
    with pytest.raises(InputError, match="no readable array other"):
        read_text_array(tmp_path / "a.npz", "other")


class _Call:
    def __reduce__(self):
        return os.mkdir, ("made-by-pickle",)


def test_calls_are_refused_and_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "call.pkl"
    for value in (_Call(), [_Call()], {"a": (1, _Call())}):
        path.write_bytes(pickle.dumps(value))
        with pytest.raises(InputError, match="mkdir, which is not plain data; it is not read"):
            read_pickled_file(path)
    np.savez(tmp_path / "call.npz", names=np.array([_Call()], dtype=object))
    with pytest.raises(InputError, match="not plain data"):
        read_text_array(tmp_path / "call.npz", "names")
    assert not (tmp_path / "made-by-pickle").exists()


def test_damage_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "damaged.pkl"
    whole = pickle.dumps(VALUE)
    for content in (b"", b"no pickle", whole[:-1], whole[:40], b"\x80\x04)e.", b"\x80\x04h\x07."):
        path.write_bytes(content)
        with pytest.raises(InputError, match="damaged.pkl"):
            read_pickled_file(path)


def test_deep_and_shared_lists(tmp_path: Path) -> None:
    path = tmp_path / "deep.pkl"
    path.write_bytes(b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b".")
    with pytest.raises(InputError, match="nested too deeply"):
        read_pickled_file(path)
    shared = ["x"]
    for _ in range(60):  # 2**60 items, if every occurrence was converted by itself
        shared = [shared, shared]
    path.write_bytes(pickle.dumps(shared))
    value = read_pickled_file(path)
    assert value[0] is value[1]
