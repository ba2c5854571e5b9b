"""Any part of any frame can be read; a clip that is another one is refused."""

from pathlib import Path

import numpy as np
import pytest

from scene.errors import InputError
from scene.images import write_png
from stillsplat.plate import frame_store
from stillsplat.plate.frame_store import FrameStore


@pytest.fixture
def clip(tmp_path: Path) -> tuple[Path, list[np.ndarray]]:
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (30, 40, 3)).astype(np.uint8) for _ in range(6)]
    (tmp_path / "clip").mkdir()
    for index, image in enumerate(images):
        write_png(tmp_path / "clip" / f"a{index}.png", image)
    return tmp_path / "clip", images


def test_regions(clip: tuple[Path, list[np.ndarray]], tmp_path: Path) -> None:
    store = FrameStore(clip[0], [0, 2, 4], tmp_path)
    seen = [(index, image.codes) for index, image in store.originals()]
    assert [index for index, _ in seen] == [0, 1, 2]
    assert store.stored == [0, 1, 2] and (store.width, store.height) == (40, 30)
    assert np.array_equal(store.region(1, slice(5, 20), slice(3, 9)), clip[1][2][5:20, 3:9])
    assert all(np.array_equal(codes, clip[1][2 * index]) for index, codes in store.frames())
    store.close()


def test_of_a_large_clip_some_frames_are_stored(
    clip: tuple[Path, list[np.ndarray]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_store, "_LIMIT", 3 * 30 * 40 * 3)
    monkeypatch.setattr(frame_store, "_FEWEST", 3)
    store = FrameStore(clip[0], range(6), tmp_path)
    list(store.originals())
    assert store.stored == [0, 2, 5] or len(store.stored) == 3
    assert all(np.array_equal(codes, clip[1][index]) for index, codes in store.frames())
    monkeypatch.setattr(frame_store, "_FEWEST", 4)
    with pytest.raises(InputError, match="no room"):
        list(FrameStore(clip[0], range(6), tmp_path).originals())


def test_another_clip(clip: tuple[Path, list[np.ndarray]], tmp_path: Path) -> None:
    write_png(clip[0] / "a5.png", np.zeros((20, 40, 3), np.uint8))
    with pytest.raises(InputError, match="another size"):
        list(FrameStore(clip[0], range(6), tmp_path).originals())
    with pytest.raises(InputError, match="not in the order"):
        FrameStore(clip[0], [2, 1], tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        list(FrameStore(tmp_path / "gone", [0], tmp_path).originals())
