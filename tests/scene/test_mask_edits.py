"""Edits of masks: painting, growing, undoing and saving into a scene folder."""

from pathlib import Path

import numpy as np
import pytest

from scene.errors import InputError
from scene.folder import load_scene, save_scene
from scene.mask_brush import rectangle_region
from scene.mask_edits import MaskEdits
from scene.scene import Scene


def _still(first: int, second: int) -> np.ndarray:
    return np.zeros((30, 41, 2), np.float32)


def _region() -> np.ndarray:
    return rectangle_region((30, 41), np.array([5.0, 6.0]), np.array([15.0, 12.0]))


def test_painting_growing_and_undoing(small_scene: Scene) -> None:
    edits, masks = MaskEdits(small_scene), small_scene.motion_masks
    assert masks is not None
    with pytest.raises(InputError, match="no stroke"):
        edits.grow(_still, 2)
    assert edits.apply({1: _region()}, moves=True)[0][2] is True
    assert edits.frames == [1] and (edits.mask(1)[_region()] == 1).all()
    assert [frame for frame, _, _ in edits.grow(_still, 2)] == [0, 2, 3]
    assert edits.frames == [0, 1, 2, 3] and (edits.mask(3)[_region()] == 1).all()
    np.testing.assert_array_equal(edits.mask(3)[~_region()], masks[3][~_region()])
    edits.apply({3: _region()}, moves=False)
    assert edits.mask(3)[_region()].max() == 0
    # what was painted before moves again
    frame, region, moves = edits.undo()[0]
    assert frame == 3 and moves is True and (region == _region()).all() and edits.mask(3)[_region()].min() == 1
    assert sorted((frame, moves) for frame, _, moves in edits.undo()) == [(0, None), (2, None), (3, None)]
    assert edits.frames == [1]
    assert edits.undo() and edits.frames == [] and not edits.undo()
    np.testing.assert_array_equal(edits.mask(1), masks[1])


def test_one_step_of_two_frames_and_strokes_over_each_other(small_scene: Scene) -> None:
    small_scene.motion_masks = np.full((5, 30, 41), 0.25, np.float32)
    edits, left, top = MaskEdits(small_scene), np.zeros((30, 41), bool), np.zeros((30, 41), bool)
    left[:, :20], top[:10] = True, True
    edits.apply({0: left, 1: left}, moves=True)
    edits.apply({1: top}, moves=False)
    mask = edits.mask(1)
    assert (mask[top] == 0).all() and (mask[left & ~top] == 1).all() and (mask[~left & ~top] == 0.25).all()
    assert {moves: int(region.sum()) for _, region, moves in edits.undo()} == {True: 200, None: 210}
    assert sorted((frame, moves) for frame, _, moves in edits.undo()) == [(0, None), (1, None)]
    assert edits.frames == [] and (edits.mask(1) == 0.25).all()


def test_saving_writes_what_was_changed_and_nothing_else(small_scene: Scene, tmp_path: Path) -> None:
    save_scene(small_scene, tmp_path / "scene")
    scene = load_scene(tmp_path / "scene")
    before = {path.name: path.read_bytes() for path in (tmp_path / "scene" / "motion_masks").iterdir()}
    edits = MaskEdits(scene)
    assert edits.save(tmp_path / "scene") == []
    edits.apply({2: _region()}, moves=True)
    assert edits.save(tmp_path / "scene") == [2] and edits.frames == []
    after = {path.name: path.read_bytes() for path in (tmp_path / "scene" / "motion_masks").iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"00002.png"} and set(before) == set(after)
    assert (edits.mask(2)[_region()] == 1).all()  # read from the disk again


def test_a_scene_without_masks_gets_them(small_scene: Scene, tmp_path: Path) -> None:
    small_scene.motion_masks = None
    save_scene(small_scene, tmp_path / "scene")
    edits = MaskEdits(load_scene(tmp_path / "scene"))
    assert edits.mask(0).max() == 0
    edits.apply({0: _region()}, moves=True)
    edits.save(tmp_path / "scene")
    np.testing.assert_array_equal(edits.mask(0), _region().astype(np.float32))
    assert edits.mask(4).max() == 0
