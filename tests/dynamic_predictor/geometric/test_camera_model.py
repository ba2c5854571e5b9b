"""The choice of the camera model on synthetic tracks with noise, whose cameras are known."""

from dataclasses import replace

import numpy as np
import pytest

from dynamic_predictor.geometric.camera_hypotheses import geometry_from_poses, rotation_geometry
from dynamic_predictor.geometric.camera_model import ChosenCameras, choose_camera_model
from dynamic_predictor.geometric.intrinsics import RadialTerm
from dynamic_predictor.geometric.reprojection import Poses, identity_poses, project_host
from tests.dynamic_predictor.geometric.synthetic_tracks import (
    CENTER,
    HEIGHT,
    WIDTH,
    center_error,
    curved_path,
    synthetic_tracks,
)

pytestmark = pytest.mark.usefixtures("calm_linear_algebra")
_PRIOR = (400.0, 0.4)


def _tracks(truth: Poses, noise: float = 0.05, per_host: int = 30):
    """Tracks as `truth` with its zoom and lens sees them."""
    rng = np.random.default_rng(3)
    plain = replace(truth, zoom=None, radial=None)
    hosts, depths, _ = synthetic_tracks(plain, rng, per_host=per_host)
    seen = []
    for host, depth in zip(hosts, depths, strict=True):
        pixels, _ = project_host(host, depth, truth, CENTER)
        pixels = pixels + noise * rng.standard_normal(pixels.shape)
        visible = ((pixels > 0) & (pixels < [WIDTH, HEIGHT])).all(-1)
        seen.append(replace(host, pixels=pixels, visible=visible))
    return seen


def _chosen(truth: Poses, hosts, start: Poses | None = None) -> ChosenCameras:
    """The choice from cameras of one focal length."""
    start = start or replace(truth, zoom=None, radial=None, focal=truth.focal * 1.1)
    every = np.ones(len(truth.rotations), bool)
    geometry = geometry_from_poses(start, every, hosts, CENTER)
    rotating = rotation_geometry(hosts, len(truth.rotations), CENTER, None, _PRIOR)
    return choose_camera_model(geometry, rotating, hosts, _PRIOR)


def test_a_pinhole_camera_stays_one():
    truth = curved_path(9)
    found = _chosen(truth, _tracks(truth))
    assert found.model == "pinhole"
    assert found.warnings(None) == []


@pytest.mark.parametrize(("begin", "end"), [(0.0, 0.4), (0.35, 0.0)])
def test_a_zoom_of_a_moving_camera(begin, end):
    truth = replace(curved_path(9), zoom=np.linspace(begin, end, 9))
    found = _chosen(truth, _tracks(truth))
    assert found.model == "zoom" and not found.zooms_in_place and found.geometry is not None
    poses = found.geometry.poses
    focals = [poses.focal_of(frame) / truth.focal_of(frame) for frame in range(9)]
    np.testing.assert_allclose(focals, 1, atol=0.02)
    assert center_error(poses, truth) < 0.01
    assert "zooms" in found.warnings(None)[0] and "was given" in found.warnings(300.0)[0]


@pytest.mark.parametrize("pan", [0.0, 0.1])
def test_a_zoom_on_a_tripod_is_no_motion(pan):
    turning = curved_path(9, size=0.0, turn=pan)
    truth = replace(turning, zoom=np.linspace(0.0, 0.45, 9))
    hosts = _tracks(truth)
    # cameras of one focal length take it for a motion along the view axis
    start = replace(identity_poses(9, 350.0), rotations=turning.rotations)
    start.translations[:, 2] = -np.linspace(0.0, 1.5, 9)
    found = _chosen(truth, hosts, start)
    assert found.model == "zoom" and found.zooms_in_place
    zoom = found.rotating.poses.zoom
    assert zoom is not None
    np.testing.assert_allclose(zoom - zoom[0], truth.zoom, atol=0.02)
    assert not found.rotating.poses.translations.any()
    assert "does not move" in found.warnings(None)[0]


@pytest.mark.parametrize("lens", [RadialTerm("perspective", -0.2), RadialTerm("equidistant", 0.0)])
def test_a_lens_that_distorts(lens):
    truth = replace(curved_path(9, focal=260.0), radial=lens)
    found = _chosen(truth, _tracks(truth))
    assert found.model in ("perspective", "equidistant") and found.geometry is not None
    poses = found.geometry.poses
    assert poses.radial is not None
    assert poses.focal == pytest.approx(260.0, rel=0.03)
    assert "distorts" in found.warnings(None)[0]
    # both families describe such a lens in the image
    radius = np.linspace(0, 0.7, 20)
    found_distance = poses.focal * radius * poses.radial.factor(radius**2)
    np.testing.assert_allclose(found_distance, 260.0 * radius * lens.factor(radius**2), atol=2.5)
