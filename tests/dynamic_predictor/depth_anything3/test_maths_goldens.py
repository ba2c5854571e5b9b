"""The parameter-free parts against the official code and against exact truth."""

import numpy as np
import pytest
import torch

from dynamic_predictor.depth_anything3.cameras import (
    decode_cameras,
    encode_cameras,
    inverse_rigid,
    rotation_from_xyzw,
    xyzw_from_rotation,
)
from dynamic_predictor.depth_anything3.gaussians import gaussians_from_pixels, rotate_sh
from dynamic_predictor.depth_anything3.metric_alignment import align_to_metric, fill_sky, metric_depth, quantile
from dynamic_predictor.depth_anything3.official import OFFICIAL, OURS, decompose_ql, decompose_qr
from dynamic_predictor.depth_anything3.pose_alignment import (
    DegenerateCamerasError,
    align_camera_centers,
    align_cameras,
    camera_centers,
    normalize_cameras,
    transform_cameras,
)
from dynamic_predictor.depth_anything3.ray_pose import (
    apply_homography,
    cameras_from_rays,
    decompose_rays,
    draw_samples,
    fit_homography,
    plane_points,
)
from dynamic_predictor.depth_anything3.reference_view import choose_reference_view, reference_first, take_views
from scene.errors import InputError
from tests.dynamic_predictor.depth_anything3.da3_goldens import GOLDENS, assert_close


def _arrays(shared, name: str) -> dict[str, np.ndarray]:
    with np.load(shared / "parity" / "da3" / f"{name}.npz") as arrays:
        return dict(arrays)


def _tensors(arrays: dict[str, np.ndarray], *names: str) -> list[torch.Tensor]:
    return [torch.from_numpy(arrays[name]) for name in names]


def _degrees(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angles between rotations (..., 3, 3)."""
    trace = np.einsum("...ij,...ij->...", first, second)
    return np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


# rays


def _decomposed(arrays: dict[str, np.ndarray], case: str, strict: bool) -> tuple[np.ndarray, ...]:
    rays, confidence, samples = _tensors(arrays, f"{case}/camray", f"{case}/conf", f"{case}/ransac_idx")
    views = [
        decompose_rays(rays[0, view], confidence[0, view], samples.long(), conventions=OFFICIAL if strict else OURS)
        for view in range(rays.shape[1])
    ]
    return tuple(torch.stack(part).numpy() for part in zip(*views, strict=True))


@pytest.mark.parametrize("case", ["centred_exact", "centred_noisy", "offcentre_exact", "offcentre_noisy", "zmask"])
def test_official_cameras_from_rays(shared, case):
    arrays = _arrays(shared, "maths_raypose")
    rotation, translation, focal, principal = _decomposed(arrays, case, strict=True)
    assert_close(rotation, arrays[f"{case}/R_c2w"][0])
    assert_close(translation, arrays[f"{case}/T"][0])
    assert_close(focal, arrays[f"{case}/focal"][0], 1e-3)
    assert_close(principal, arrays[f"{case}/pp"][0], 1e-3)


@pytest.mark.parametrize("case", ["centred_exact", "offcentre_exact"])
def test_our_cameras_from_exact_rays_are_the_true_ones(case):
    with np.load(GOLDENS / "maths_raypose.npz") as file:
        arrays = dict(file)
    rotation, translation, focal, principal = _decomposed(arrays, case, strict=False)
    truth = arrays[f"{case}/true_c2w"]
    assert _degrees(rotation, truth[:, :3, :3]).max() < 0.02
    np.testing.assert_allclose(translation, truth[:, :3, 3], atol=1e-4)
    np.testing.assert_allclose(focal, arrays[f"{case}/true_f"], rtol=1e-3)
    np.testing.assert_allclose(principal, arrays[f"{case}/true_pp"], atol=1e-3)


def test_official_cameras_from_off_centre_rays_are_wrong_by_degrees():
    with np.load(GOLDENS / "maths_raypose.npz") as file:
        arrays = dict(file)
    rotation = _decomposed(arrays, "offcentre_exact", strict=True)[0]
    assert _degrees(rotation, arrays["offcentre_exact/true_c2w"][:, :3, :3]).max() > 1.0


def test_rays_without_a_place_on_the_plane_still_tell_where_the_camera_is(shared):
    arrays = _arrays(shared, "maths_raypose")
    truth = arrays["zmask/true_T"]
    ours = _decomposed(arrays, "zmask", strict=False)[1]
    weights = arrays["zmask/conf"][0][..., None]
    expected = (arrays["zmask/camray"][0, ..., 3:] * weights).sum(axis=(1, 2)) / weights.sum(axis=(1, 2))
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)
    assert truth.shape == ours.shape


def test_pixels_and_world_of_ray_cameras(shared):
    arrays = _arrays(shared, "maths_raypose")
    rays, confidence, samples = _tensors(
        arrays, "centred_exact/camray", "centred_exact/conf", "centred_exact/ransac_idx"
    )
    extrinsics, intrinsics = cameras_from_rays(rays, confidence, (56, 70), samples=samples.long(), conventions=OFFICIAL)
    assert_close(extrinsics, arrays["net_step/extrinsics"])
    assert_close(intrinsics, arrays["net_step/intrinsics"], 1e-3)


def test_homography_and_factorizations(shared):
    arrays = _arrays(shared, "maths_raypose")
    source, target, weight = _tensors(arrays, "homography/src", "homography/dst", "homography/w")
    ours, official = fit_homography(source, target, weight).numpy(), arrays["homography/H"]
    assert_close(ours / ours[2, 2], official / official[2, 2], 1e-4)
    moved = apply_homography(torch.from_numpy(ours), source.double())
    assert (moved - target).norm(dim=-1).median() < 0.2
    matrices = torch.from_numpy(arrays["ql/A"])
    q, lower = decompose_ql(matrices)
    assert_close(q, arrays["ql/Q"])
    assert_close(lower, arrays["ql/L"])
    q, upper = decompose_qr(matrices)
    assert_close(q @ upper, arrays["ql/A"], 1e-5)
    assert float(torch.tril(upper, -1).abs().max()) < 1e-6 and float(upper.diagonal(dim1=-2, dim2=-1).min()) > 0
    assert_close(plane_points(4, 5), arrays["plane/grid_4x5"][0, 0, ..., :2], 1e-6)


def test_samples_are_those_that_the_official_code_draws_from_the_same_seed(shared, golden):
    arrays = _arrays(shared, "maths_raypose")
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


# cameras


def test_quaternions_and_pose_encodings(shared):
    arrays = _arrays(shared, "maths_geometry")
    rotations, raw = _tensors(arrays, "rotmat", "quat_raw_xyzw")
    assert_close(xyzw_from_rotation(rotations), arrays["mat_to_quat_xyzw"], 1e-5)
    assert_close(rotation_from_xyzw(raw), arrays["quat_to_mat"], 1e-5)
    matrices, intrinsics = _tensors(arrays, "pe/extr", "pe/intr")
    # the golden encodes the matrices as they are; ours encodes the inverse of what it is given
    encoding = encode_cameras(inverse_rigid(matrices), intrinsics, (56, 70))
    assert_close(encoding, arrays["pe/encoding"], 1e-5)
    assert_close(inverse_rigid(matrices), arrays["pe/affine_inverse"], 1e-5)
    decoded, pixels = decode_cameras(encoding, (56, 70))
    assert_close(inverse_rigid(decoded), arrays["pe/back_extr"], 1e-5)
    assert_close(pixels, arrays["pe/back_intr"], 1e-5)
    decoded, pixels = decode_cameras(torch.from_numpy(arrays["pe/raw"]), (56, 70))
    assert_close(decoded, arrays["pe/raw_w2c"], 1e-4)
    assert_close(pixels, arrays["pe/raw_intr"], 1e-4)


def test_reference_views(shared):
    arrays = _arrays(shared, "maths_refview")
    for index in range(4):
        tokens = torch.from_numpy(arrays[f"{index}/x"])
        for strategy in ("first", "middle", "saddle_balanced", "saddle_sim_range"):
            chosen = choose_reference_view(tokens[:, :, 0], strategy)
            np.testing.assert_array_equal(chosen.numpy(), arrays[f"{index}/{strategy}"])
        order = reference_first(choose_reference_view(tokens[:, :, 0]), tokens.shape[1])
        np.testing.assert_array_equal(take_views(tokens, order).numpy(), arrays[f"{index}/reordered"])
        assert torch.equal(take_views(take_views(tokens, order), order.argsort(dim=1)), tokens)
    with pytest.raises(InputError, match="saddle_balanced"):
        choose_reference_view(torch.zeros(1, 4, 8), "best")  # type: ignore[arg-type]


def test_cameras_are_normalized_as_officially(shared):
    arrays = _arrays(shared, "maths_api_pose")
    for count in ("n1", "n2", "n4", "n12"):
        ours = normalize_cameras(arrays[f"normalize/{count}_in"], conventions=OFFICIAL)
        assert_close(ours, arrays[f"normalize/{count}_out"], 1e-5)


def test_two_cameras_are_normalized_to_unit_distance():
    cameras = np.tile(np.eye(4), (2, 1, 1))
    cameras[1, 0, 3] = 7.0
    assert np.linalg.norm(normalize_cameras(cameras)[1, :3, 3]) == pytest.approx(1.0)
    assert np.linalg.norm(normalize_cameras(cameras, conventions=OFFICIAL)[1, :3, 3]) == pytest.approx(70.0)


@pytest.mark.parametrize("count", [3, 4, 12])
@pytest.mark.parametrize("robust", [False, True])
def test_umeyama(shared, count, robust):
    arrays = _arrays(shared, "maths_api_pose")
    case = f"umeyama/n{count}_ransac{int(robust)}"
    reference, estimate = arrays[f"umeyama/n{count}_ref"], arrays[f"umeyama/n{count}_est"]
    similarity = align_camera_centers(reference, estimate, robust=robust)
    assert_close(similarity.rotation, arrays[f"{case}_R"])
    assert_close(similarity.translation, arrays[f"{case}_t"])
    assert similarity.scale == pytest.approx(float(arrays[f"{case}_s"]), rel=1e-4)
    assert_close(transform_cameras(similarity, estimate), arrays[f"{case}_aligned"])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_or_aligned_cameras_are_brought_together_by_their_orientations(count):
    generator = np.random.default_rng(1)
    known = np.tile(np.eye(4), (count, 1, 1))
    for index in range(count):
        known[index, :3, :3] = np.linalg.qr(generator.normal(size=(3, 3)))[0]
        known[index, :3, :3] *= np.linalg.det(known[index, :3, :3])
        known[index, :3, 3] = -known[index, :3, :3] @ np.array([1.0 + index, 2.0, 3.0])
    turn = np.linalg.qr(generator.normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)
    predicted = known.copy()
    predicted[:, :3, :3] = known[:, :3, :3] @ turn.T
    centers = 2.5 * camera_centers(known) @ turn.T + np.array([0.3, -1.0, 2.0])
    predicted[:, :3, 3] = -np.einsum("nij,nj->ni", predicted[:, :3, :3], centers)
    similarity = align_cameras(predicted, known)
    np.testing.assert_allclose(transform_cameras(similarity, known), predicted, atol=1e-9) if count > 1 else None
    assert similarity.scale == pytest.approx(2.5 if count > 1 else 1.0)
    np.testing.assert_allclose(similarity.rotation, turn, atol=1e-9)
    with pytest.raises(DegenerateCamerasError):
        align_cameras(predicted, known, conventions=OFFICIAL)


# gaussians


def test_harmonics_turn_as_officially_and_as_the_function_that_they_are(shared):
    arrays = _arrays(shared, "maths_geometry")
    coefficients, rotations = _tensors(arrays, "sh/coef", "sh/R")
    assert_close(rotate_sh(coefficients, rotations[:, None]), arrays["sh/rotated"])


@pytest.mark.parametrize("case", ["pred", "gt"])
def test_gaussians_of_pixels(shared, case):
    arrays = _arrays(shared, "maths_geometry")
    raw, opacity, depth, extrinsics, intrinsics, known = (
        tensor.float()
        for tensor in _tensors(
            arrays,
            *(
                f"gs_adapter/{name}"
                for name in ("raw", "opacity", "depth", "extrinsics", "intrinsics", "gt_extrinsics")
            ),
        )
    )
    known_cameras = known if case == "gt" else None
    ours = gaussians_from_pixels(raw, opacity, depth, extrinsics, intrinsics, known_cameras=known_cameras)
    for name in ("means", "scales", "rotations", "opacities"):
        assert_close(getattr(ours, name), arrays[f"gs_adapter/{case}.{name}"])
    assert_close(ours.sh_coefficients, arrays[f"gs_adapter/{case}.harmonics"])


# metres and sky


def test_metric_alignment_and_sky(shared):
    arrays = _arrays(shared, "maths_metric_nested")
    depth, confidence, extrinsics, intrinsics, net, sky = (
        torch.from_numpy(arrays[f"nested/{name}"])[0]
        for name in ("depth", "conf", "extrinsics", "intrinsics", "metric_net_depth", "sky")
    )
    metric = metric_depth(net, intrinsics)
    assert_close(metric, arrays["nested/metric_depth"][0], 1e-6)
    aligned = align_to_metric(depth, confidence, extrinsics, metric, sky)
    assert aligned.scale == pytest.approx(float(arrays["nested/scale_factor"]), rel=1e-5)
    assert_close(aligned.camera_from_world, arrays["nested/aligned_extrinsics"][0], 1e-5)
    assert_close(aligned.depth, arrays["nested/final_depth"][0], 1e-5)
    assert_close(aligned.confidence, arrays["nested/final_conf"][0], 1e-6)
    # sky is at most 200 m away
    far = torch.from_numpy(arrays["nested/far_in"])[0]
    scaled = align_to_metric(far, confidence, extrinsics, far, sky)
    assert scaled.scale == pytest.approx(1.0)
    assert_close(scaled.depth, arrays["nested/far_out"][0], 1e-5)
    assert_close(fill_sky(depth, sky), arrays["mono/depth_out"][0], 1e-6)


def test_metres_of_the_metric_model(golden):
    goldens = golden("tiny_mono_metric")
    depth, intrinsics = goldens.tensor("metric/net_depth"), goldens.tensor("metric/intrinsics")
    assert_close(metric_depth(depth, intrinsics), goldens["metric/metric_depth"], 1e-6)


def test_images_that_are_all_sky():
    depth, confidence = torch.full((2, 4, 5), 2.0), torch.full((2, 4, 5), 1.5)
    cameras = torch.eye(4)[:3].expand(2, 3, 4)
    sky = torch.ones_like(depth)
    aligned = align_to_metric(depth, confidence, cameras, 3 * depth, sky)
    assert aligned.scale == pytest.approx(3.0) and torch.equal(aligned.depth, 3 * depth)
    with pytest.raises(InputError, match="nothing but sky"):
        align_to_metric(depth, confidence, cameras, 3 * depth, sky, conventions=OFFICIAL)
    assert torch.equal(fill_sky(depth, sky), depth)


@pytest.mark.parametrize("fraction", [0.0, 0.5, 0.99, 1.0])
def test_quantile_is_that_of_numpy(fraction):
    values = torch.from_numpy(np.random.default_rng(0).normal(size=1001))
    assert float(quantile(values, fraction)) == pytest.approx(float(np.quantile(values.numpy(), fraction)))
