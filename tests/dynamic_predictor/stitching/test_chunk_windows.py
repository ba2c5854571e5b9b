"""Chunk windows against the official streaming code."""

import pytest

from dynamic_predictor.stitching.chunk_windows import chunk_of_frame, chunk_windows, frames_around
from scene.errors import InputError


def test_windows_are_the_official_ones(listed):
    for key, expected in listed["chunks (n_images_chunk_overlap)"].items():
        count, size, overlap = (int(part) for part in key.split("_"))
        assert [list(window) for window in chunk_windows(count, size, overlap)] == expected
    windows = chunk_windows(300, 120, 60)
    for frame, chunk in listed["find_chunk_index(300_120_60)"].items():
        assert chunk_of_frame(windows, int(frame)) == chunk
    for case in listed["get_frame_range"]:
        assert list(frames_around(tuple(case["chunk"]), case["idx"], case["half"])) == case["out"]


@pytest.mark.parametrize(("size", "overlap"), [(1, 1), (10, 10), (10, 0), (10, -1)])
def test_impossible_windows_are_refused(size, overlap):
    with pytest.raises(InputError):
        chunk_windows(100, size, overlap)


def test_every_frame_is_in_a_window_and_neighbors_overlap():
    for count in range(1, 80):
        windows = chunk_windows(count, 12, 5)
        assert windows[0][0] == 0 and windows[-1][1] == count
        assert all(first[1] - second[0] == 5 for first, second in zip(windows, windows[1:], strict=False))
        assert all(
            window[0] <= frame < window[1]
            for frame in range(count)
            for window in [windows[chunk_of_frame(windows, frame)]]
        )
