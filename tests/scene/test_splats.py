"""Gaussians that are moved look the same from cameras that are moved alike; what is left out is what should be."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from scene.errors import InputError
from scene.similarity import Similarity
from scene.splats import Splats, joined, log_of_scale, logit_of
from tests.scene.formats.splat_samples import pictures, psnr, sample_cameras, sample_splats


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_moved_gaussians_look_the_same_from_moved_cameras(degree: int) -> None:
    splats = sample_splats(degree)
    move = Similarity(1.7, Rotation.from_euler("xyz", [70, -40, 110], degrees=True).as_matrix(), np.array([1, -2, 3.0]))
    cameras = sample_cameras()
    moved = [replace(camera, world_from_camera=move.apply_to_poses(camera.world_from_camera)) for camera in cameras]
    before, after = pictures(splats, cameras), pictures(splats.transformed(move), moved)
    assert before.std() > 0.1
    assert psnr(before, after) > 55
    if degree > 0:
        unturned = replace(splats.transformed(move), sh_coefficients=splats.sh_coefficients)
        assert psnr(before, pictures(unturned, moved)) < 45


def test_tensors_and_back() -> None:
    splats = replace(sample_splats(2, 20), antialiased=True)
    again = Splats.of(splats.gaussians(), antialiased=True)
    for name in ("means", "log_scales", "rotations", "logit_opacities", "sh_coefficients"):
        assert np.array_equal(getattr(again, name), getattr(splats, name))
    assert again.antialiased and again.sh_degree == 2


def test_values_that_are_not_finite_are_found() -> None:
    splats = sample_splats(1, 6)
    means, opacities, scales = splats.means.copy(), splats.logit_opacities.copy(), splats.log_scales.copy()
    means[0, 1], opacities[1], scales[2, 0] = np.nan, np.nan, np.inf
    # these have a meaning: opaque, flat
    opacities[3], scales[4, 2] = np.inf, -np.inf
    rotations = splats.rotations.copy()
    rotations[5] = 0
    splats = replace(splats, means=means, logit_opacities=opacities, log_scales=scales, rotations=rotations)
    assert splats.valid().tolist() == [False, False, False, True, True, True]
    with pytest.raises(
        InputError, match=r"a\.ply has 3 of 6 Gaussians with values that are not finite; .*drop-invalid"
    ):
        splats.check_valid("a.ply")
    finished = splats.select(splats.valid()).finished()
    assert finished.opacities[0] > 0.9999 and finished.scales[1, 2] < 1e-12
    assert finished.rotations[2].tolist() == [1, 0, 0, 0]


def test_zero_bands_are_left_out() -> None:
    assert sample_splats(1, 5).with_sh_degree(3).without_zero_bands().sh_degree == 1
    assert sample_splats(0, 5).with_sh_degree(3).without_zero_bands().sh_degree == 0
    assert sample_splats(3, 5).select(np.zeros(5, bool)).without_zero_bands().sh_degree == 0


def test_the_most_important_are_large_and_opaque() -> None:
    splats = sample_splats(0, 4)
    scales = np.log(np.array([[1, 1, 1], [1, 1, 1], [5, 5, 0.01], [9, 0.01, 0.01]], np.float32))
    splats = replace(splats, log_scales=scales, logit_opacities=np.array([5.0, -5.0, 0.0, 5.0], np.float32))
    assert splats.most_important(2).tolist() == [0, 2]
    assert splats.most_important(9).tolist() == [0, 1, 2, 3]


def test_inside_a_box() -> None:
    splats = replace(sample_splats(0, 3), means=np.array([[0, 0, 0], [1, 2, 3], [1, 2, 3.1]], np.float32))
    assert splats.inside_box(np.array([0.5, 0, 0]), np.array([1, 2, 3])).tolist() == [False, True, False]


def test_joined_has_the_largest_degree() -> None:
    both = joined([sample_splats(0, 3), replace(sample_splats(2, 4), antialiased=True)])
    assert len(both) == 7 and both.sh_degree == 2 and both.antialiased
    assert not both.sh_coefficients[:3, 1:].any()


def test_activations_have_inverses_at_their_ends() -> None:
    assert np.isfinite(logit_of(np.array([0.0, 0.5, 1.0]))).all() and logit_of(np.array(0.5)) == 0
    assert np.isnan(logit_of(np.array(np.nan))) and np.isnan(log_of_scale(np.array(-1.0)))
    assert log_of_scale(np.array([0.0, 1.0])).tolist() == [-30.0, 0.0]
