"""Loop closure on a textured plane whose motion is known."""

import numpy as np

from dynamic_predictor.geometric.revisits import with_revisits
from dynamic_predictor.geometric.tracks import track_points
from dynamic_predictor.optical_flow.flow_field import FlowField
from scene.frames import MemoryFrames
from tests.dynamic_predictor.geometric.plane_clip import plane_clip, transformed


def test_host_points_are_observed_again_when_the_camera_returns():
    out, maps = plane_clip(count=20, speed=0.06, turn=0.0)
    # on its return the camera sees the same places with different noise
    rng = np.random.default_rng(0)
    back = [np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8) for image in out[::-1]]
    flow = FlowField(MemoryFrames(np.concatenate([out, np.stack(back)])))
    maps = maps + maps[::-1]
    before = track_points(flow, reach=8)
    after = with_revisits(before, flow)
    found = 0
    for host, tied in zip(before.hosts, after.hosts, strict=True):
        assert (np.diff(tied.frames) > 0).all()
        for frame in np.setdiff1d(tied.frames, host.frames):
            seen = tied.visible[np.searchsorted(tied.frames, frame)]
            positions = tied.pixels[np.searchsorted(tied.frames, frame)][seen]
            true = transformed(maps[frame] @ np.linalg.inv(maps[host.host]), host.host_pixels[seen] - 0.5) + 0.5
            assert np.median(np.linalg.norm(positions - true, axis=1)) < 0.1
            found += 1
    assert found >= 5
    first = next(host for host in after.hosts if host.host == 0)
    assert first.frames.max() >= 36


def test_a_camera_that_does_not_return_has_no_revisits():
    images, _ = plane_clip(count=30, speed=0.12, turn=0.0)
    flow = FlowField(MemoryFrames(images))
    before = track_points(flow, reach=6)
    after = with_revisits(before, flow)
    gone = 20  # after this many frames the camera sees nothing of the first one any more
    for host, tied in zip(before.hosts, after.hosts, strict=True):
        far = np.abs(tied.frames - host.host) > gone
        assert not tied.visible[far].any()
