"""Arrays of any shape out of .npz files that others wrote."""

from pathlib import Path

import numpy as np
import pytest

from scene.errors import InputError
from scene.files.arrays import read_entries


def test_numbers_and_text(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, scale=np.float32(2.5), names=np.array(["a", "b"]), points=np.arange(6).reshape(1, 2, 3))
    found = read_entries(path, ["scale", "names", "points"])
    assert float(found["scale"]) == 2.5 and found["names"].tolist() == ["a", "b"] and found["points"].shape == (1, 2, 3)


def test_what_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, objects=np.array([None]), large=np.zeros(1000))
    for keys, message in ((["objects"], "holds Python objects"), (["other"], "has no other")):
        with pytest.raises(InputError, match=message):
            read_entries(path, keys)
    with pytest.raises(InputError, match="more than 0 MiB by its headers"):
        read_entries(path, ["large"], limit=100)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="is damaged"):
        read_entries(path, ["large"])
    with pytest.raises(InputError, match="is missing"):
        read_entries(tmp_path / "b.npz", ["large"])
