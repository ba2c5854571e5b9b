"""Loops: a camera that goes out and comes back over a textured plane whose motion is known."""

import numpy as np

from dynamic_predictor.geometric.revisits import with_revisits
from dynamic_predictor.geometric.tracks import track_points
from dynamic_predictor.optical_flow.flow_field import FlowField
from tests.dynamic_predictor.geometric.test_camera_tracks import ImageFrames, plane_clip, transformed


def test_a_place_seen_again_is_tied_to_where_it_was_seen_first():
    out, maps = plane_clip(count=20, speed=0.06, turn=0.0)
    # the way back shows the same places with other noise
    rng = np.random.default_rng(0)
    back = [np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8) for image in out[::-1]]
    flow = FlowField(ImageFrames(out + back))
    maps = maps + maps[::-1]
    before = track_points(flow, reach=8)
    after = with_revisits(before, flow)
    found = 0
    for host, tied in zip(before.hosts, after.hosts, strict=True):
        assert (np.diff(tied.frames) > 0).all()
        for frame in np.setdiff1d(tied.frames, host.frames):
            seen = tied.visible[np.searchsorted(tied.frames, frame)]
            there = tied.pixels[np.searchsorted(tied.frames, frame)][seen]
            true = transformed(maps[frame] @ np.linalg.inv(maps[host.host]), host.host_pixels[seen] - 0.5) + 0.5
            assert np.median(np.linalg.norm(there - true, axis=1)) < 0.1
            found += 1
    assert found >= 5
    first = next(host for host in after.hosts if host.host == 0)
    assert first.frames.max() >= 36


def test_a_camera_that_never_returns_revisits_nothing():
    images, _ = plane_clip(count=30, speed=0.12, turn=0.0)
    flow = FlowField(ImageFrames(images))
    before = track_points(flow, reach=6)
    after = with_revisits(before, flow)
    gone = 20  # frames after which nothing of a image is left in view
    for host, tied in zip(before.hosts, after.hosts, strict=True):
        far = np.abs(tied.frames - host.host) > gone
        assert not tied.visible[far].any()
