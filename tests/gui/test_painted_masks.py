"""Painting on masks, and taking it back."""

import numpy as np

from gui.painted_masks import PaintedMasks
from scene.maps import StoredMaps

SHAPE = 6, 8


def region(rows: slice, columns: slice) -> np.ndarray:
    result = np.zeros(SHAPE, bool)
    result[rows, columns] = True
    return result


def test_paint_erase_and_undo() -> None:
    masks = StoredMaps(3, *SHAPE, np.float32)
    masks[1] = np.full(SHAPE, 0.25, np.float32)
    edits = PaintedMasks(masks, *SHAPE)
    left, top = region(slice(None), slice(0, 4)), region(slice(0, 3), slice(None))
    edits.apply({0: left, 1: left}, True)
    edits.apply({1: top}, False)
    assert edits.edited_frames == [0, 1]
    motion = edits.motion(1)
    assert (motion[top] == 0).all() and (motion[left & ~top] == 1).all() and (motion[~left & ~top] == 0.25).all()
    changes = edits.undo()
    # what was painted before moves again, the rest is as the mask says
    assert {moves: changed.sum() for _, changed, moves in changes} == {True: 12, None: 12}
    assert (edits.motion(1)[left] == 1).all() and (edits.motion(1)[~left] == 0.25).all()
    assert sorted((frame, moves) for frame, _, moves in edits.undo()) == [(0, None), (1, None)]
    assert not edits.can_undo and edits.undo() == [] and edits.edited_frames == []
    np.testing.assert_array_equal(edits.motion(1), masks[1])


def test_a_scene_without_masks_can_be_painted() -> None:
    edits = PaintedMasks(None, *SHAPE)
    edits.apply({2: region(slice(0, 1), slice(0, 1))}, True)
    assert edits.motion(2).sum() == 1 and edits.motion(0).sum() == 0
