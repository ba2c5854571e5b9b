"""`DepthAnything3.inference`: the official results, few known cameras, metric depth, unusable input."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from dynamic_predictor.depth_anything3 import DepthAnything3
from dynamic_predictor.depth_anything3.network import build_network
from dynamic_predictor.depth_anything3.prediction import DepthAnything3Prediction
from dynamic_predictor.depth_anything3.settings import (
    NestedSettings,
)
from scene.errors import InputError
from tests.dynamic_predictor.depth_anything3.da3_goldens import Golden, assert_close, filled, settings_of
from tests.dynamic_predictor.depth_anything3.tiny_models import (
    ANY_VIEW,
    FIELD_OF_VIEW,
    cameras_on_a_line,
    noise_images,
)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_known_cameras_in_any_number_and_in_a_row(model, count):
    extrinsics, intrinsics = cameras_on_a_line(count)
    prediction = model.inference(noise_images(count), extrinsics, intrinsics, process_res=56)
    np.testing.assert_allclose(prediction.extrinsics, extrinsics[:, :3], atol=1e-6)
    np.testing.assert_allclose(prediction.intrinsics[0, 0, 0], 50 * 56 / 60, rtol=1e-5)
    moved = model.inference(
        noise_images(count), extrinsics[:, :3], intrinsics, process_res=56, align_to_input_ext_scale=False
    )
    assert moved.extrinsics.shape == (count, 3, 4)
    baseline = np.linalg.norm(np.diff([camera.center for camera in moved.cameras()], axis=0), axis=1)
    np.testing.assert_allclose(moved.depth, prediction.depth * (baseline[0] / 0.5 if count > 1 else 1.0), rtol=1e-4)


def test_depth_follows_the_unit_of_the_known_cameras(model):
    extrinsics, intrinsics = cameras_on_a_line(4)
    extrinsics[3, 1, 3] = 0.7
    once = model.inference(noise_images(4), extrinsics, intrinsics, process_res=56)
    extrinsics[:, :3, 3] *= 100.0
    large = model.inference(noise_images(4), extrinsics, intrinsics, process_res=56)
    np.testing.assert_allclose(large.depth, 100.0 * once.depth, rtol=1e-4)


def test_metric_model_predicts_meters_with_known_focal_length(metric_model):
    images = noise_images(2)
    plain = metric_model.inference(images, process_res=56)
    assert not plain.is_metric and plain.sky is not None and plain.extrinsics is None
    meters = metric_model.inference(images, intrinsics=cameras_on_a_line(2)[1], process_res=56)
    assert meters.is_metric
    focal_x, focal_y = 50.0 * 56 / 60, 50.0 * plain.depth.shape[1] / 40
    np.testing.assert_allclose(meters.depth, plain.depth * (focal_x + focal_y) / 600, rtol=1e-5)
    with pytest.raises(InputError, match="no cameras"):
        plain.scene()


def test_unsupported_requests_raise(model, metric_model):
    with pytest.raises(InputError, match="at least one"):
        model.inference([])
    with pytest.raises(InputError, match="no Gaussian head"):
        model.inference(noise_images(1), infer_gs=True)
    with pytest.raises(InputError, match="no use for poses"):
        metric_model.inference(noise_images(2), *cameras_on_a_line(2))
    with pytest.raises(InputError, match="blocks 0 to 5"):
        model.inference(noise_images(1), process_res=56, export_feat_layers=[6])
    with pytest.raises(InputError, match="reference view strategy"):
        model.inference(noise_images(3), process_res=56, ref_view_strategy="best")
    with pytest.raises(InputError, match="no device"):
        DepthAnything3(model.network, device="toaster")
    with pytest.raises(InputError, match="no precision"):
        DepthAnything3(model.network, precision="float16")  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:The images have different shapes")
def test_one_portrait_and_images_of_different_shapes(model):
    assert model.inference(noise_images(1, 60, 40), process_res=56).depth.shape == (1, 56, 42)
    prediction = model.inference([*noise_images(1, 60, 40), *noise_images(1, 40, 60)], process_res=56)
    assert prediction.depth.shape == (2, 42, 42)
    assert "different shapes" in prediction.warnings[0]
    assert model.inference(noise_images(1, 20, 1000), process_res=70).depth.shape == (1, 14, 70)


def test_images_of_different_shapes_are_warned_about_once(model):
    images = [*noise_images(2, 40, 60), *noise_images(1, 60, 40)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(2):
            prediction = model.inference(images, process_res=56)
    told = [warning for warning in caught if "different shapes (60x40, 40x60)" in str(warning.message)]
    assert len(told) == 1 and told[0].filename == __file__
    assert len(prediction.warnings) == 1


@pytest.mark.parametrize("size", ["x", None, 50.5, True])
def test_process_res_must_be_an_integer(model, size):
    with pytest.raises(InputError, match="must be a whole number of pixels, not "):
        model.inference(noise_images(1), process_res=size)


def test_four_images_at_8k_from_files(model, tmp_path):
    image = Image.fromarray(np.zeros((4320, 7680, 3), np.uint8))
    path = tmp_path / "8k.jpg"
    image.save(path)
    assert model.inference([path] * 4, process_res=56).depth.shape == (4, 28, 56)


def test_rays_and_seeds(model):
    one, same = (model.inference(noise_images(2), process_res=56, use_ray_pose=True) for _ in range(2))
    np.testing.assert_array_equal(one.extrinsics, same.extrinsics)
    assert "ray" in one.aux and one.aux["ray"].shape == (2, 24, 32, 6)
    assert "ray" not in model.inference(noise_images(2), process_res=56).aux


def test_reduced_precision_is_close(model):
    exact = model.inference(noise_images(2), process_res=56)
    rough = DepthAnything3(model.network, device="cpu", precision="bfloat16").inference(noise_images(2), process_res=56)
    DepthAnything3(model.network, device="cpu", precision="float32")
    assert rough.depth.dtype == np.float32
    assert 0 < np.abs(rough.depth / exact.depth - 1).max() < 0.1


def test_depth_that_is_not_finite_raises(model):
    network = filled(build_network(ANY_VIEW), FIELD_OF_VIEW)
    with torch.no_grad():
        network.get_parameter("head.scratch.output_conv2.2.bias").fill_(float("nan"))
    with pytest.raises(InputError, match="not finite"):
        DepthAnything3(network, device="cpu").inference(noise_images(1), process_res=56)


_FLOATS = ("depth", "conf", "extrinsics", "intrinsics")


@pytest.fixture(scope="module")
def api(golden) -> Golden:
    return golden("tiny_api")


def _model(api: Golden, kind: str) -> DepthAnything3:
    config = api.description["config"]
    if kind == "nested":
        settings = NestedSettings(settings_of(config["da3"]), settings_of(config["mono"]))
    else:
        settings = settings_of(config[kind])
    network = filled(build_network(settings), api.description["overrides"][kind])
    return DepthAnything3(network, device="cpu", strict_official=True)


def _compare(prediction: DepthAnything3Prediction, api: Golden, case: str) -> None:
    compared = 0
    for name in _FLOATS:
        if f"{case}/{name}" in api:
            assert_close(getattr(prediction, name), api[f"{case}/{name}"])
            compared += 1
        else:
            assert getattr(prediction, name) is None
    assert compared >= 1
    np.testing.assert_array_equal(prediction.processed_images, api[f"{case}/processed_images"])
    assert int(prediction.is_metric) == int(api[f"{case}/is_metric"])


def _golden_images(api: Golden, count: int) -> list[np.ndarray]:
    return [api[f"img{index}"] for index in range(count)]


def test_one_image(api):
    _compare(_model(api, "any").inference(_golden_images(api, 1), process_res=70), api, "plain1")


def test_three_images_with_features(api):
    prediction = _model(api, "any").inference(_golden_images(api, 3), process_res=70, export_feat_layers=[4])
    _compare(prediction, api, "plain3")
    # blocks behind the choice of the reference view
    assert_close(prediction.aux["feat_layer_4"], api["plain3/aux.feat_layer_4"])


def test_another_size_and_another_reference(api):
    model = _model(api, "any")
    small = model.inference(_golden_images(api, 2), process_res=56, process_res_method="lower_bound_resize")
    _compare(small, api, "lower2")
    _compare(model.inference(_golden_images(api, 3), process_res=70, ref_view_strategy="middle"), api, "middle3")


@pytest.mark.parametrize("case", ["cond3_scale1", "cond3_scale0", "cond12"])
def test_known_cameras(api, case):
    images = list(api["img12"]) if case == "cond12" else _golden_images(api, 3)
    prediction = _model(api, "any").inference(
        images,
        api[f"{case}/in.extrinsics"],
        api[f"{case}/in.intrinsics"],
        process_res=42 if case == "cond12" else 70,
        align_to_input_ext_scale=not case.endswith("scale0"),
    )
    _compare(prediction, api, case)


@pytest.mark.filterwarnings("ignore:The images have different shapes")
def test_cropping_images_of_different_shapes_leaves_known_cameras_where_they_are(api, shared):
    mixed = np.load(shared / "parity" / "da3" / "maths_preprocess.npz")
    images = [mixed[f"{name}/img_u8"] for name in ("a", "b", "c")]
    prediction = _model(api, "any").inference(images, mixed["mixed/extr"], mixed["mixed/K_in"], process_res=126)
    assert prediction.processed_images.shape == (3, 84, 84, 3)
    np.testing.assert_allclose(prediction.extrinsics, mixed["mixed/extr"][:, :3], atol=1e-6)
    np.testing.assert_allclose(prediction.intrinsics, mixed["mixed/intr"], rtol=1e-6)


def test_nested(api):
    prediction = _model(api, "nested").inference(_golden_images(api, 3), process_res=70)
    _compare(prediction, api, "nested3")
    assert prediction.scale_factor == pytest.approx(float(api["nested3/scale_factor"]), rel=1e-4)


def test_monocular(api):
    prediction = _model(api, "mono").inference(_golden_images(api, 2), process_res=70)
    _compare(prediction, api, "mono2")
    np.testing.assert_array_equal(prediction.sky, api["mono2/sky"])
