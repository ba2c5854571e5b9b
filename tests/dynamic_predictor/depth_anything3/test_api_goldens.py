"""`DepthAnything3.inference` against the official call, end to end from uint8 images."""

import numpy as np
import pytest

from dynamic_predictor.depth_anything3.model import DepthAnything3
from dynamic_predictor.depth_anything3.network import build_network
from dynamic_predictor.depth_anything3.prediction import DepthAnything3Prediction
from dynamic_predictor.depth_anything3.settings import NestedSettings
from tests.dynamic_predictor.depth_anything3.da3_goldens import Golden, assert_close, filled, settings_of

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


def _images(api: Golden, count: int) -> list[np.ndarray]:
    return [api[f"img{index}"] for index in range(count)]


def test_one_image(api):
    _compare(_model(api, "any").inference(_images(api, 1), process_res=70), api, "plain1")


def test_three_images_with_features(api):
    prediction = _model(api, "any").inference(_images(api, 3), process_res=70, export_feat_layers=[4])
    _compare(prediction, api, "plain3")
    # blocks behind the choice of the reference view
    assert_close(prediction.aux["feat_layer_4"], api["plain3/aux.feat_layer_4"])


def test_another_size_and_another_reference(api):
    model = _model(api, "any")
    small = model.inference(_images(api, 2), process_res=56, process_res_method="lower_bound_resize")
    _compare(small, api, "lower2")
    _compare(model.inference(_images(api, 3), process_res=70, ref_view_strategy="middle"), api, "middle3")


@pytest.mark.parametrize("case", ["cond3_scale1", "cond3_scale0", "cond12"])
def test_known_cameras(api, case):
    images = list(api["img12"]) if case == "cond12" else _images(api, 3)
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
    prediction = _model(api, "nested").inference(_images(api, 3), process_res=70)
    _compare(prediction, api, "nested3")
    assert prediction.scale_factor == pytest.approx(float(api["nested3/scale_factor"]), rel=1e-4)


def test_monocular(api):
    prediction = _model(api, "mono").inference(_images(api, 2), process_res=70)
    _compare(prediction, api, "mono2")
    np.testing.assert_array_equal(prediction.sky, api["mono2/sky"])
