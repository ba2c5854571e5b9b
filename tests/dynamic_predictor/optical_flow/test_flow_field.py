"""Flows between the frames of a clip: a rendered plane whose motion is known, the cache, and the choice of the flow."""

import cv2
import numpy as np
import pytest

from dynamic_predictor.optical_flow.dis import DISFlow
from dynamic_predictor.optical_flow.flow_field import FlowField
from dynamic_predictor.optical_flow.network_flow import NetworkFlow
from dynamic_predictor.optical_flow.raft import RAFT
from scene.frames import MemoryFrames
from tests.dynamic_predictor.geometric.plane_clip import HEIGHT, WIDTH, plane_clip, transformed


def test_flow_follows_the_plane_and_is_consistent():
    images, maps = plane_clip()
    flow = FlowField(MemoryFrames(images))(0, 2)
    x, y = np.meshgrid(np.arange(20, WIDTH - 20), np.arange(20, HEIGHT - 20))
    points = np.column_stack([x.ravel(), y.ravel()]).astype(float)
    error = flow.displacement[y, x].reshape(-1, 2) - (transformed(maps[2], points) - points)
    assert np.median(np.linalg.norm(error, axis=1)) < 0.15
    assert np.median(flow.consistency_error[20:-20, 20:-20]) < 0.2


def test_a_full_cache_does_not_change_the_flow():
    images, _ = plane_clip(count=6)
    large = FlowField(MemoryFrames(images))
    small = FlowField(MemoryFrames(images), cache_bytes=1)
    for _ in range(2):
        for source in range(6):
            for target in range(6):
                if source != target:
                    np.testing.assert_array_equal(
                        large.displacement(source, target), small.displacement(source, target)
                    )
    assert len(small._displacements) <= 8


def test_the_default_is_dis_in_steps_of_a_64th_of_a_pixel():
    images, _ = plane_clip(count=2)
    field = FlowField(MemoryFrames(images))
    seen = [field.images.rgb8(index) for index in range(2)]
    expected = DISFlow().estimate(*seen).displacement
    np.testing.assert_array_equal(field.displacement(0, 1), np.rint(expected * 64).astype(np.float32) / 64)
    np.testing.assert_array_equal(field.gray(1), cv2.cvtColor(seen[1], cv2.COLOR_RGB2GRAY))


def test_a_network_encodes_each_frame_once(raft: RAFT, monkeypatch: pytest.MonkeyPatch):
    images, _ = plane_clip(count=3)
    images = images[:, :64, :80].copy()
    flow = NetworkFlow("raft", raft, iterations=1)
    seen = FlowField(MemoryFrames(images), flow).images
    expected = flow.estimate(seen.rgb8(0), seen.rgb8(2)).displacement
    encoded = []
    encode = RAFT.encode
    monkeypatch.setattr(RAFT, "encode", lambda self, batch: encoded.append(1) or encode(self, batch))
    field = FlowField(MemoryFrames(images), flow)
    for source, target in ((0, 1), (0, 2), (1, 2)):
        field(source, target)
    assert len(encoded) == 3
    np.testing.assert_allclose(field.displacement(0, 2), expected, atol=0.02)


def test_flow_of_tiny_images():
    images = np.stack([np.full((7, 9, 3), value, np.uint8) for value in (10, 20)])
    assert FlowField(MemoryFrames(images))(0, 1).displacement.shape == (7, 9, 2)


def test_no_flow_from_or_to_what_was_not_observed(panning) -> None:
    images = np.stack(panning(2, 96, 64))
    observed = [np.ones((64, 96), np.float32) for _ in range(2)]
    observed[0][:, :20] = 0
    observed[1][40:, :] = 0
    images[0][:, :20] = 0
    images[1][40:, :] = 0
    field = FlowField(MemoryFrames(images), observed=observed)
    error = field(0, 1).consistency_error
    assert np.isinf(error[:, :20]).all() and np.isinf(error[43:]).all()
    assert np.isfinite(error[8:30, 40:80]).all()
    # the black areas are no edges that flow could follow
    plain = FlowField(MemoryFrames(np.stack(panning(2, 96, 64))))(0, 1).displacement
    assert np.abs(field(0, 1).displacement[8:30, 30:80] - plain[8:30, 30:80]).max() < 1.0
    assert FlowField(MemoryFrames(images)).unobserved(0) is None
