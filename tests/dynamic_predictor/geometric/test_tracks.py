"""Tracks on a rendered plane whose motion is known."""

import cv2
import numpy as np

from dynamic_predictor.geometric.tracks import track_points
from dynamic_predictor.optical_flow.flow_field import FlowField
from scene.frames import MemoryFrames
from tests.dynamic_predictor.geometric.plane_clip import HEIGHT, WIDTH, plane_clip, transformed


def test_tracks_are_accurate_with_pixel_centers_at_one_half():
    images, maps = plane_clip()
    tracks = track_points(FlowField(MemoryFrames(images)))
    errors = []
    for host in tracks.hosts:
        back = np.linalg.inv(maps[host.host])
        for k, frame in enumerate(host.frames):
            true = transformed(maps[frame] @ back, host.host_pixels - 0.5) + 0.5
            errors.append(np.linalg.norm(host.pixels[k] - true, axis=1)[host.visible[k]])
    errors = np.concatenate(errors)
    assert sum(host.count for host in tracks.hosts) > 300
    assert np.median(errors) < 0.06
    assert np.percentile(errors, 95) < 0.4


def test_masked_pixels_give_no_tracks():
    images, _ = plane_clip(count=5)
    mask = np.zeros((HEIGHT, WIDTH), np.float32)
    mask[:, : WIDTH // 2] = 1
    tracks = track_points(FlowField(MemoryFrames(images)), [mask] * 5)
    assert tracks.hosts
    for host in tracks.hosts:
        assert (host.host_pixels[:, 0] > WIDTH / 2).all()
        assert (host.pixels[host.visible][:, 0] > WIDTH / 2 - 1).all()


def test_patches_of_one_scale_do_not_drift_under_a_zoom():
    images, maps = plane_clip()
    middle = np.array([WIDTH - 1, HEIGHT - 1]) / 2
    zoom = np.linspace(0.0, 0.4, len(images))
    scaled = []
    for ratio in np.exp(zoom):
        scaled.append(np.array([[ratio, 0, middle[0] * (1 - ratio)], [0, ratio, middle[1] * (1 - ratio)], [0, 0, 1]]))
    pairs = zip(images, scaled, strict=True)
    zoomed = np.stack([cv2.warpPerspective(image, m, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC) for image, m in pairs])

    def error(given):
        errors = []
        for host in track_points(FlowField(MemoryFrames(zoomed)), zoom=given).hosts:
            back = np.linalg.inv(scaled[host.host] @ maps[host.host])
            for k, frame in enumerate(host.frames):
                true = transformed(scaled[frame] @ maps[frame] @ back, host.host_pixels - 0.5) + 0.5
                errors.append(np.linalg.norm(host.pixels[k] - true, axis=1)[host.visible[k]])
        return float(np.median(np.concatenate(errors)))

    assert error(zoom) < 0.06 < 0.6 * error(None)
