"""Tracks determine which pixels move."""

import numpy as np
import pytest

from dynamic_predictor.training.tracked_clips import TrackedClip, list_tracked_clips
from scene.errors import InputError
from tests.dynamic_predictor.training.moving_square import HEIGHT, WIDTH, square_at


def test_motion_masks_follow_from_the_tracks(tracked_folder):
    clip = TrackedClip(tracked_folder / "train", "one")
    assert len(clip) == 12
    for number, view in zip((3, 7), clip.pair(3, 7), strict=True):
        left, top, side = square_at(number)
        truth = np.zeros((HEIGHT, WIDTH), bool)
        truth[top : top + side, left : left + side] = True
        found = view.motion() > 0.5
        assert (found & truth).sum() / (found | truth).sum() > 0.95


def test_tracks_with_equal_coordinates_do_not_move(tracked_folder):
    view, same = TrackedClip(tracked_folder / "train", "one").pair(5, 5)
    assert not view.moves.any() and not (view.motion() > 0).any() and not (same.motion() > 0).any()


def test_missing_files_are_named(tracked_folder, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        list_tracked_clips(tmp_path / "nowhere")
    with pytest.raises(InputError, match="rearrange"):
        list_tracked_clips(tmp_path)
    import shutil

    shutil.copytree(tracked_folder / "test", tmp_path / "test")
    next((tmp_path / "test" / "three" / "depths").iterdir()).unlink()
    with pytest.raises(InputError, match="depth"):
        TrackedClip(tmp_path / "test", "three")
