"""What the model does apart from the official call: few cameras, metres, bad input, memory, single images."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from dynamic_predictor.depth_anything3 import AutoModel, DepthAnything3, memory
from dynamic_predictor.depth_anything3.checkpoint import load_model, published_model, recognized_model
from dynamic_predictor.depth_anything3.network import build_network
from dynamic_predictor.depth_anything3.settings import (
    PUBLISHED_MODELS,
    SMALL,
    BackboneSettings,
    HeadSettings,
    NetworkSettings,
)
from dynamic_predictor.driver.predictors import load_depth_anything3
from dynamic_predictor.weights.reading import Checkpoint
from scene.errors import InputError
from tests.dynamic_predictor.depth_anything3.da3_goldens import filled

_HEAD = HeadSettings(16, (12, 16, 24, 32))
_ANY_VIEW = NetworkSettings(BackboneSettings(32, 6, 2, (2, 3, 4, 5), 2), _HEAD)
_MONOCULAR = NetworkSettings(BackboneSettings(32, 4, 2, (0, 1, 2, 3)), _HEAD)
_FIELD_OF_VIEW = {"cam_dec.fc_fov.0.weight": ("mul", 0.2), "cam_dec.fc_fov.0.bias": ("add", 1.0)}


@pytest.fixture(scope="module")
def model() -> DepthAnything3:
    return DepthAnything3(filled(build_network(_ANY_VIEW), _FIELD_OF_VIEW), name="tiny", device="cpu")


@pytest.fixture(scope="module")
def metric_model() -> DepthAnything3:
    return DepthAnything3(filled(build_network(_MONOCULAR), {}), name="tiny metric", metric=True, device="cpu")


def _images(count: int, height: int = 40, width: int = 60) -> list[np.ndarray]:
    generator = np.random.default_rng(5)
    return [generator.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(count)]


def _cameras(count: int) -> tuple[np.ndarray, np.ndarray]:
    extrinsics = np.tile(np.eye(4), (count, 1, 1))
    extrinsics[:, 0, 3] = -0.5 * np.arange(count)
    return extrinsics, np.tile([[50.0, 0, 30], [0, 50, 20], [0, 0, 1]], (count, 1, 1))


def test_prediction_becomes_a_scene(model):
    prediction = model.inference(_images(3), process_res=56)
    scene = prediction.scene()
    assert len(scene.frames) == 3 and scene.frames[0].shape == (prediction.depth.shape[1], 56, 3)
    assert scene.z_depths is not None and scene.confidences is not None
    np.testing.assert_array_equal(scene.z_depths[2], prediction.depth[2])
    assert 0.0 <= scene.confidences[0].min() <= scene.confidences[0].max() < 1.0
    for camera, extrinsics, intrinsics in zip(scene.cameras, prediction.extrinsics, prediction.intrinsics, strict=True):
        np.testing.assert_allclose(camera.camera_from_world[:3], extrinsics, atol=1e-5)
        np.testing.assert_allclose(camera.intrinsics, intrinsics, rtol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_known_cameras_in_any_number_and_in_a_row(model, count):
    extrinsics, intrinsics = _cameras(count)
    prediction = model.inference(_images(count), extrinsics, intrinsics, process_res=56)
    np.testing.assert_allclose(prediction.extrinsics, extrinsics[:, :3], atol=1e-6)
    np.testing.assert_allclose(prediction.intrinsics[0, 0, 0], 50 * 56 / 60, rtol=1e-5)
    moved = model.inference(
        _images(count), extrinsics[:, :3], intrinsics, process_res=56, align_to_input_ext_scale=False
    )
    assert moved.extrinsics.shape == (count, 3, 4)
    baseline = np.linalg.norm(np.diff([camera.center for camera in moved.cameras()], axis=0), axis=1)
    np.testing.assert_allclose(moved.depth, prediction.depth * (baseline[0] / 0.5 if count > 1 else 1.0), rtol=1e-4)


def test_depth_follows_the_unit_of_the_known_cameras(model):
    extrinsics, intrinsics = _cameras(4)
    extrinsics[3, 1, 3] = 0.7
    once = model.inference(_images(4), extrinsics, intrinsics, process_res=56)
    extrinsics[:, :3, 3] *= 100.0
    large = model.inference(_images(4), extrinsics, intrinsics, process_res=56)
    np.testing.assert_allclose(large.depth, 100.0 * once.depth, rtol=1e-4)


def test_metric_model_gives_metres_when_it_knows_the_focal_length(metric_model):
    images = _images(2)
    plain = metric_model.inference(images, process_res=56)
    assert not plain.is_metric and plain.sky is not None and plain.extrinsics is None
    metres = metric_model.inference(images, intrinsics=_cameras(2)[1], process_res=56)
    assert metres.is_metric
    focal_x, focal_y = 50.0 * 56 / 60, 50.0 * plain.depth.shape[1] / 40
    np.testing.assert_allclose(metres.depth, plain.depth * (focal_x + focal_y) / 600, rtol=1e-5)
    with pytest.raises(InputError, match="no cameras"):
        plain.scene()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e, i: (e, None), "without intrinsics"),
        (lambda e, i: (e[:2], i), "2 extrinsics for 3 images"),
        (lambda e, i: (e, i[:1]), "1 intrinsics for 3 images"),
        (lambda e, i: (e[0], i), "shape"),
        (lambda e, i: (e * np.nan, i), "not finite"),
        (lambda e, i: (2 * e, i), "no rotation"),
        (lambda e, i: (e, -i), "above zero"),
    ],
)
def test_cameras_that_cannot_be_used_are_refused_in_one_sentence(model, change, message):
    extrinsics, intrinsics = change(*_cameras(3))
    with pytest.raises(InputError, match=message):
        model.inference(_images(3), extrinsics, intrinsics, process_res=56)


def test_what_a_model_cannot_do_is_said(model, metric_model):
    with pytest.raises(InputError, match="at least one"):
        model.inference([])
    with pytest.raises(InputError, match="no Gaussian head"):
        model.inference(_images(1), infer_gs=True)
    with pytest.raises(InputError, match="no use for poses"):
        metric_model.inference(_images(2), *_cameras(2))
    with pytest.raises(InputError, match="blocks 0 to 5"):
        model.inference(_images(1), process_res=56, export_feat_layers=[6])
    with pytest.raises(InputError, match="reference view strategy"):
        model.inference(_images(3), process_res=56, ref_view_strategy="best")
    with pytest.raises(InputError, match="no device"):
        DepthAnything3(model.network, device="toaster")
    with pytest.raises(InputError, match="no precision"):
        DepthAnything3(model.network, precision="float16")  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:The images have different shapes")
def test_one_portrait_and_images_of_different_shapes(model):
    assert model.inference(_images(1, 60, 40), process_res=56).depth.shape == (1, 56, 42)
    prediction = model.inference([*_images(1, 60, 40), *_images(1, 40, 60)], process_res=56)
    assert prediction.depth.shape == (2, 42, 42)
    assert "different shapes" in prediction.warnings[0]
    assert model.inference(_images(1, 20, 1000), process_res=70).depth.shape == (1, 14, 70)


def test_images_of_different_shapes_are_warned_about_once(model):
    images = [*_images(2, 40, 60), *_images(1, 60, 40)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(2):
            prediction = model.inference(images, process_res=56)
    told = [warning for warning in caught if "different shapes (60x40, 40x60)" in str(warning.message)]
    assert len(told) == 1 and told[0].filename == __file__
    assert len(prediction.warnings) == 1


def test_a_folder_stands_for_its_images(model, tmp_path):
    with pytest.raises(InputError, match="holds no images"):
        model.inference(str(tmp_path), process_res=56)
    for index in (10, 9):
        Image.fromarray(_images(1)[0]).save(tmp_path / f"{index}.png")
    prediction = model.inference(tmp_path, process_res=56)
    assert [original.name for original in prediction.originals] == ["9.png", "10.png"]
    with pytest.raises(InputError, match="is a folder, not a image"):
        model.inference([tmp_path, tmp_path / "9.png"], process_res=56)


@pytest.mark.parametrize("size", ["x", None, 50.5, True])
def test_a_size_that_is_no_whole_number_is_one_sentence(model, size):
    with pytest.raises(InputError, match="must be a whole number of pixels, not "):
        model.inference(_images(1), process_res=size)


def test_one_image_that_is_too_large_is_to_be_made_smaller(model):
    with pytest.raises(InputError, match=r"^An image of 7680x4312 needs .* may be used; lower .*--max-size") as caught:
        memory.views_per_chunk(_ANY_VIEW, 1, (4312, 7680), 1 << 20)
    assert "chunks" not in str(caught.value)


def test_four_images_at_8k_from_files(model, tmp_path):
    image = Image.fromarray(np.zeros((4320, 7680, 3), np.uint8))
    path = tmp_path / "8k.jpg"
    image.save(path)
    assert model.inference([path] * 4, process_res=56).depth.shape == (4, 28, 56)


def test_rays_and_seeds(model):
    one, same = (model.inference(_images(2), process_res=56, use_ray_pose=True) for _ in range(2))
    np.testing.assert_array_equal(one.extrinsics, same.extrinsics)
    assert "ray" in one.aux and one.aux["ray"].shape == (2, 24, 32, 6)
    assert "ray" not in model.inference(_images(2), process_res=56).aux


def test_memory_budget_picks_chunks_and_says_when_it_is_too_small(model):
    size = (56, 70)
    needs = memory.footprint(_ANY_VIEW, size)
    plenty = memory.views_per_chunk(_ANY_VIEW, 20, size, 1 << 40)
    tight = memory.views_per_chunk(_ANY_VIEW, 20, size, max(needs.backbone * 20, needs.kept * 20 + 2 * needs.head))
    assert plenty == 8 and 1 <= tight < 8
    small = DepthAnything3(model.network, device="cpu", memory_budget=1000)
    with pytest.raises(InputError, match="GiB"):
        small.inference(_images(2), process_res=56)
    with pytest.raises(InputError, match="above zero"):
        DepthAnything3(model.network, device="cpu", memory_budget=0).inference(_images(1), process_res=56)


def test_reduced_precision_is_close(model):
    exact = model.inference(_images(2), process_res=56)
    rough = DepthAnything3(model.network, device="cpu", precision="bfloat16").inference(_images(2), process_res=56)
    DepthAnything3(model.network, device="cpu", precision="float32")
    assert rough.depth.dtype == np.float32
    assert 0 < np.abs(rough.depth / exact.depth - 1).max() < 0.1


def test_weights_that_do_not_belong_give_one_sentence(model):
    network = filled(build_network(_ANY_VIEW), _FIELD_OF_VIEW)
    with torch.no_grad():
        network.get_parameter("head.scratch.output_conv2.2.bias").fill_(float("nan"))
    with pytest.raises(InputError, match="not finite"):
        DepthAnything3(network, device="cpu").inference(_images(1), process_res=56)


# single images


def test_two_line_form_gives_maps_at_the_size_of_the_image(model):
    auto = AutoModel(model, process_res=56)
    images = [*_images(2), _images(1, 61, 33)[0]]
    maps = auto(images)
    assert [tuple(depth.shape) for depth in maps] == [(40, 60), (40, 60), (61, 33)]
    for image, depth in zip(images, maps, strict=True):
        (alone,) = auto(image)
        torch.testing.assert_close(alone, depth, rtol=1e-4, atol=1e-5)
        (plain,) = auto(image, near_is_large=False)
        torch.testing.assert_close(depth, plain.min() + plain.max() - plain)
    swapped = auto([image[..., ::-1] for image in images], input_color_format="bgr")
    torch.testing.assert_close(swapped[0], maps[0])


# weights


def test_names_of_models():
    assert published_model("depth-anything-v3/small") is PUBLISHED_MODELS["da3-small"]
    assert published_model("depth-anything/DA3NESTED-GIANT-LARGE-1.1") is PUBLISHED_MODELS["da3-nested-1.1"]
    assert published_model("DA3METRIC-LARGE") is PUBLISHED_MODELS["da3-metric"]
    assert published_model("depth-anything-v2/small") is None


def test_every_model_has_an_entry_among_the_weights():
    from dynamic_predictor.weights.registry import weights_entry

    for model in PUBLISHED_MODELS.values():
        assert weights_entry(model.weights).name == model.weights


def test_metric_and_monocular_weights_are_told_apart_by_the_name_that_is_asked_for(tmp_path):
    """Their keys and shapes are the same."""
    with torch.device("meta"):
        values = build_network(PUBLISHED_MODELS["da3-mono"].settings).state_dict()
    checkpoint = Checkpoint(tmp_path / "model.safetensors", {f"model.{key}": value for key, value in values.items()})
    for name in ("da3-mono", "da3-metric"):
        assert recognized_model(checkpoint, name).name == name
    with pytest.raises(InputError, match="not of da3-small"):
        recognized_model(checkpoint, "da3-small")


def test_published_files_load_from_a_folder_and_from_the_weights_folder(tmp_path, monkeypatch):
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in build_network(SMALL).state_dict().items()}
    tensors = {f"model.{key}": torch.zeros(shape) for key, shape in shapes.items()}
    tensors["model.cam_dec.fc_fov.0.bias"] += 0.75
    folder = tmp_path / "da3-small"
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    monkeypatch.setenv("STILLSPLAT_WEIGHTS", str(tmp_path))
    for name in (folder, folder / "model.safetensors", "da3-small", "depth-anything-v3/small"):
        model, loaded = load_model(name)
        assert model.name == "da3-small"
        assert float(loaded.get_parameter("cam_dec.fc_fov.0.bias")[0]) == 0.75
    assert load_model(folder, expected="da3-small")[0].name == "da3-small"
    with pytest.raises(InputError, match="holds the weights of da3-small, not of da3-base"):
        load_model(folder, expected="da3-base")
    with pytest.raises(InputError, match="not of da3-large"):
        load_depth_anything3("da3-large", str(folder))
    with pytest.raises(InputError, match="da3-base"):
        load_model("da3-base")
    with pytest.raises(InputError, match="choose one of"):
        load_model("da4-small")
    del tensors["model.cam_dec.fc_t.weight"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(InputError, match="fc_t"):
        load_model("da3-small")
    with pytest.raises(InputError, match="fit none"):
        load_model(folder)
