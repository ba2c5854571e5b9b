"""Cameras from ray maps against the official code and against exact truth."""

import numpy as np
import pytest
import torch

from dynamic_predictor.depth_anything3.official import OFFICIAL, OURS, Conventions
from dynamic_predictor.depth_anything3.ray_pose import (
    apply_homography,
    cameras_from_rays,
    decompose_rays,
    draw_samples,
    fit_homography,
    plane_points,
)
from tests.dynamic_predictor.depth_anything3.da3_goldens import GOLDENS, assert_close, read_arrays, tensors


def _degrees(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angles between rotations (..., 3, 3)."""
    trace = np.einsum("...ij,...ij->...", first, second)
    return np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


def _decomposed(arrays: dict[str, np.ndarray], case: str, conventions: Conventions) -> tuple[np.ndarray, ...]:
    rays, confidence, samples = tensors(arrays, f"{case}/camray", f"{case}/conf", f"{case}/ransac_idx")
    views = [
        decompose_rays(rays[0, view], confidence[0, view], samples.long(), conventions=conventions)
        for view in range(rays.shape[1])
    ]
    return tuple(torch.stack(part).numpy() for part in zip(*views, strict=True))


@pytest.mark.parametrize("case", ["centred_exact", "centred_noisy", "offcentre_exact", "offcentre_noisy", "zmask"])
def test_official_cameras_from_rays(shared, case):
    arrays = read_arrays(shared, "maths_raypose")
    rotation, translation, focal, principal = _decomposed(arrays, case, conventions=OFFICIAL)
    assert_close(rotation, arrays[f"{case}/R_c2w"][0])
    assert_close(translation, arrays[f"{case}/T"][0])
    assert_close(focal, arrays[f"{case}/focal"][0], 1e-3)
    assert_close(principal, arrays[f"{case}/pp"][0], 1e-3)


@pytest.mark.parametrize("case", ["centred_exact", "offcentre_exact"])
def test_our_cameras_from_exact_rays_are_the_true_ones(case):
    with np.load(GOLDENS / "maths_raypose.npz") as file:
        arrays = dict(file)
    rotation, translation, focal, principal = _decomposed(arrays, case, conventions=OURS)
    truth = arrays[f"{case}/true_c2w"]
    assert _degrees(rotation, truth[:, :3, :3]).max() < 0.02
    np.testing.assert_allclose(translation, truth[:, :3, 3], atol=1e-4)
    np.testing.assert_allclose(focal, arrays[f"{case}/true_f"], rtol=1e-3)
    np.testing.assert_allclose(principal, arrays[f"{case}/true_pp"], atol=1e-3)


def test_official_cameras_from_off_center_rays_are_wrong_by_degrees():
    with np.load(GOLDENS / "maths_raypose.npz") as file:
        arrays = dict(file)
    rotation = _decomposed(arrays, "offcentre_exact", conventions=OFFICIAL)[0]
    assert _degrees(rotation, arrays["offcentre_exact/true_c2w"][:, :3, :3]).max() > 1.0


def test_rays_parallel_to_the_plane_count_for_the_camera_center(shared):
    arrays = read_arrays(shared, "maths_raypose")
    ours = _decomposed(arrays, "zmask", conventions=OURS)[1]
    weights = arrays["zmask/conf"][0][..., None]
    expected = (arrays["zmask/camray"][0, ..., 3:] * weights).sum(axis=(1, 2)) / weights.sum(axis=(1, 2))
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


def test_pixels_and_world_of_ray_cameras(shared):
    arrays = read_arrays(shared, "maths_raypose")
    rays, confidence, samples = tensors(
        arrays, "centred_exact/camray", "centred_exact/conf", "centred_exact/ransac_idx"
    )
    extrinsics, intrinsics = cameras_from_rays(rays, confidence, (56, 70), samples=samples.long(), conventions=OFFICIAL)
    assert_close(extrinsics, arrays["net_step/extrinsics"])
    assert_close(intrinsics, arrays["net_step/intrinsics"], 1e-3)


def test_homography(shared):
    arrays = read_arrays(shared, "maths_raypose")
    source, target, weight = tensors(arrays, "homography/src", "homography/dst", "homography/w")
    ours, official = fit_homography(source, target, weight).numpy(), arrays["homography/H"]
    assert_close(ours / ours[2, 2], official / official[2, 2], 1e-4)
    moved = apply_homography(torch.from_numpy(ours), source.double())
    assert (moved - target).norm(dim=-1).median() < 0.2
    assert_close(plane_points(4, 5), arrays["plane/grid_4x5"][0, 0, ..., :2], 1e-6)


def test_samples_are_those_that_the_official_code_draws_from_the_same_seed(shared, golden):
    arrays = read_arrays(shared, "maths_raypose")
    cases = [key.split("/")[0] for key in arrays if key.endswith("/ransac_idx")]
    assert len(cases) == 5
    for case in cases:
        samples = draw_samples(arrays[f"{case}/conf"][0, 0].size, seed=0)
        np.testing.assert_array_equal(samples.numpy(), arrays[f"{case}/ransac_idx"])
    for name, cases in (("tiny_anyview_raypose", ("n1", "n2", "n4")), ("tiny_nested", ("n2_raypose",))):
        for case in cases:
            goldens = golden(name)
            height, width = goldens[f"{case}/x"].shape[-2:]
            samples = draw_samples((height // 14 * 8) * (width // 14 * 8), seed=0)
            np.testing.assert_array_equal(samples.numpy(), goldens[f"{case}/ransac_idx"])
