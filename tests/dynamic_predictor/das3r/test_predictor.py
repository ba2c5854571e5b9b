"""From frames to a scene with made-up weights: the geometry is nonsense, but everything must fit together."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dynamic_predictor.contract import Views
from dynamic_predictor.das3r.official_layout import save_pth
from dynamic_predictor.das3r.pairwise import predict_pairs
from dynamic_predictor.das3r.predictor import TwoViewPredictor
from dynamic_predictor.das3r.settings import TwoViewSettings
from dynamic_predictor.das3r.weights import DAS3R, MONST3R
from dynamic_predictor.specs import create_predictor, predictor_spec
from scene.errors import InputError
from scene.frames import Frames, ImageFolderFrames
from scene.images import write_png
from scene.scene import Scene
from stillsplat.cli import main
from tests.dynamic_predictor.das3r.small_networks import MINIMAL, filled_network
from tests.dynamic_predictor.predicted_scene import predicted_scene


@pytest.fixture(autouse=True)
def _with_gradients(_no_gradients):
    with torch.enable_grad():  # the alignment needs them
        yield


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("weights")
    paths = {"das3r": folder / "das3r.pth", "monst3r": folder / "monst3r.pth"}
    with torch.no_grad():
        save_pth(filled_network(MINIMAL), paths["das3r"])
        save_pth(filled_network(replace(MINIMAL, has_mask_heads=False)), paths["monst3r"])
    return paths


def _frames(folder: Path, count: int, width: int = 100, height: int = 60) -> ImageFolderFrames:
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 255, (height // 4 + 20, width // 4 + 20, 3), np.uint8)
    texture = texture.repeat(4, axis=0).repeat(4, axis=1)
    paths = []
    for index in range(count):
        paths.append(folder / f"{index:05d}.png")
        write_png(paths[-1], np.ascontiguousarray(texture[index : index + height, 2 * index : 2 * index + width]))
    return ImageFolderFrames(paths)


def _predictor(name: str, weights: dict[str, Path], **changes) -> TwoViewPredictor:
    settings = {"weights": weights[name], "image_size": 96, "iterations": 5, "flow": "dis", **changes}
    return TwoViewPredictor({"das3r": DAS3R, "monst3r": MONST3R}[name], TwoViewSettings(**settings))


def _scene(predictor: TwoViewPredictor, frames: Frames, **known) -> Scene:
    return predicted_scene(predictor, frames, **known)


@pytest.mark.parametrize("name", ["das3r", "monst3r"])
def test_a_clip_becomes_a_scene_of_its_size(weights, tmp_path, name):
    frames = _frames(tmp_path, 4)
    stages = []
    scene = _scene(_predictor(name, weights), frames, progress=lambda stage, done, total: stages.append(stage))
    assert len(scene.cameras) == 4
    # MonST3R leaves motion to the driver's motion stage
    assert (scene.motion_masks is not None) == (name == "das3r")
    assert scene.z_depths is not None and scene.confidences is not None
    for index in range(4):
        for maps in (scene.motion_masks, scene.z_depths, scene.confidences):
            assert maps is None or (maps[index].shape == (60, 100) and np.isfinite(maps[index]).all())
        if scene.motion_masks is not None:
            assert 0 <= scene.motion_masks[index].min() and scene.motion_masks[index].max() <= 1
        assert 0 <= scene.confidences[index].min() and scene.confidences[index].max() <= 1
        assert scene.z_depths[index].min() >= 0
        assert (scene.cameras[index].width, scene.cameras[index].height) == (100, 60)
        assert np.isfinite(scene.cameras[index].world_from_camera).all()
    # 96x58 of the network's resized frame is cut to 96x48: no depth is known in what was cut away
    assert not scene.z_depths[0][0].any() and scene.z_depths[0][30].all()
    assert scene.provenance["pairs"] == 2 * (3 + 1)  # offsets 1 and 3: a window of two in a clip of four
    assert scene.provenance["settings"]["weights"] == f"{name}.pth"
    assert {"encoding frames", "pairs of frames", "global alignment"} <= set(stages)


def test_two_frames_portrait_squeezed_and_a_known_focal_length(weights, tmp_path):
    frames = _frames(tmp_path, 2, width=60, height=110)
    scene = _scene(_predictor("das3r", weights, crop=False, image_size=64), frames, focal=80.0)
    camera = scene.cameras[1]
    assert (camera.width, camera.height) == (60, 110)
    assert camera.fx == pytest.approx(80.0, rel=1e-5) and camera.fy == pytest.approx(80.0, rel=1e-5)
    assert (camera.cx, camera.cy) == pytest.approx((30.0, 55.0), abs=1e-4)
    assert scene.z_depths is not None and scene.z_depths[0].all()


def test_masks_of_the_user_win(weights, tmp_path):
    frames = _frames(tmp_path, 3)
    masks = np.zeros((3, 60, 100), np.float32)
    masks[:, 20:40, 20:50] = 1.0
    scene = _scene(_predictor("monst3r", weights), frames, motion_masks=masks)
    assert scene.motion_masks is masks
    with pytest.raises(InputError, match="2 motion masks for 3 frames"):
        _scene(_predictor("monst3r", weights), frames, motion_masks=masks[:2])


def test_long_clips_go_window_by_window(weights, tmp_path):
    frames = _frames(tmp_path, 8)
    scene = _scene(_predictor("das3r", weights, window=4, window_overlap=2), frames)
    assert scene.provenance["windows"] == [(0, 4), (2, 6), (4, 8)]
    assert scene.z_depths is not None and len(scene.cameras) == len(scene.z_depths) == 8
    assert all(np.isfinite(scene.z_depths[index]).all() and scene.z_depths[index].any() for index in range(8))
    with pytest.raises(InputError, match="overlap"):
        TwoViewSettings(window=4, window_overlap=4)


def test_a_single_image_is_predicted_as_a_pair_of_equal_frames(weights, tmp_path):
    path = _frames(tmp_path, 2).paths[0]
    predictor = _predictor("monst3r", weights)
    single = predictor.predict(Views(ImageFolderFrames([path])))
    pair = predictor.predict(Views(ImageFolderFrames([path, path])))
    assert len(single) == 1 and np.isfinite(single.z_depth[0]).all() and single.z_depth[0][30].all()
    np.testing.assert_allclose(single.z_depth[0], (pair.z_depth[0] + pair.z_depth[1]) / 2, rtol=1e-5)


def test_square_frames_and_official_oversights(weights, tmp_path):
    frames = _frames(tmp_path, 4, width=80, height=80)
    scene = _scene(_predictor("das3r", weights, strict_official=True), frames)
    assert scene.provenance["network_size"] == [96, 64]
    assert scene.z_depths is not None and not scene.z_depths[0][0].any()  # squares are cut to 4:3


def test_monst3r_has_its_papers_masks_when_strict(weights, tmp_path):
    frames = _frames(tmp_path, 3)
    strict = _scene(_predictor("monst3r", weights, strict_official=True), frames)
    ours = _scene(_predictor("monst3r", weights), frames)
    assert strict.motion_masks is not None and ours.motion_masks is None


def test_batches_do_not_change_predictions(weights, tmp_path):
    frames = _frames(tmp_path, 3, 96, 64)
    with torch.no_grad():
        network = filled_network(MINIMAL)
    asked = []

    def image(index):
        asked.append(index)
        return frames[index].transpose(2, 0, 1) * 2 - 1

    edges = [(0, 1), (1, 0), (1, 2), (2, 1), (0, 2)]
    alone, make = [], network.frame_features
    network.frame_features = lambda number, view: alone.append(number) or make(number, view)  # type: ignore[method-assign]
    one = predict_pairs(network, image, edges, 64, 96, batch_size=1)
    assert asked == [0, 1, 2]  # each frame is encoded once,
    assert sorted(alone) == [1, 1, 1, 2, 2, 2]  # and what heads make of it alone, once for each place in a pair
    three = predict_pairs(network, image, edges, 64, 96, batch_size=3)
    np.testing.assert_allclose(one.points.numpy(), three.points.numpy(), rtol=2e-3, atol=1e-2)
    pair = edges.index((2, 1))
    with torch.no_grad():
        images = [torch.from_numpy(image(index)[None]) for index in (2, 1)]
        expected = network(*images)[1]
    np.testing.assert_allclose(
        one.view_points(pair, 1).reshape(3, 64, 96).numpy(),
        expected.points[0].permute(2, 0, 1).numpy(),
        rtol=2e-3,
        atol=2e-3 * float(expected.points.abs().max()),
    )


def test_outputs_that_are_not_numbers_are_one_sentence(tmp_path):
    with torch.no_grad():
        network = filled_network(MINIMAL)
        network.downstream_head2.dpt.head[4].bias.fill_(float("nan"))
    image = np.zeros((3, 32, 32), np.float32)
    with pytest.raises(InputError, match=r"frames 0 and 1 are not numbers"):
        predict_pairs(network, lambda index: image, [(0, 1)], 32, 32)


def test_too_little_memory_halves_the_batch_and_then_says_what_to_lower(monkeypatch):
    with torch.no_grad():
        network = filled_network(MINIMAL)
    image = np.zeros((3, 32, 32), np.float32)
    edges = [(0, 1), (1, 0), (1, 2), (2, 1)]
    decode, sizes = network.decode, []

    def limited(largest):
        def decode_if_it_fits(view1, view2):
            sizes.append(len(view1.tokens))
            if len(view1.tokens) > largest:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")
            return decode(view1, view2)

        return decode_if_it_fits

    monkeypatch.setattr(network, "decode", limited(1))
    predict_pairs(network, lambda index: image, edges, 32, 32, batch_size=4)
    assert sizes == [4, 2, 1, 1, 1, 1]
    monkeypatch.setattr(network, "decode", limited(0))
    with pytest.raises(InputError, match="use a smaller --max-size"):
        predict_pairs(network, lambda index: image, edges, 32, 32, batch_size=1)


def test_missing_weights_name_the_file_and_the_place(monkeypatch, tmp_path):
    monkeypatch.setenv("STILLSPLAT_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    frames = _frames(tmp_path, 2)
    monkeypatch.setattr("dynamic_predictor.weights.finding._in_hub_cache", lambda entry: None)
    for name in ("das3r", "monst3r"):
        with pytest.raises(InputError) as caught:
            create_predictor(name).predict(Views(frames))
        sentence = str(caught.value)
        assert "model.safetensors" in sentence and str(tmp_path / "weights" / name) in sentence


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "At least one pair"),
        ({"image_size": 8}, "at least 32 pixels"),
        ({"schedule": "sudden"}, "schedule"),
    ],
)
def test_settings_that_make_no_sense(changes, message):
    with pytest.raises(InputError, match=message):
        TwoViewSettings(**changes)


def test_unknown_graphs_are_refused(weights, tmp_path):
    frames = _frames(tmp_path, 2)
    with pytest.raises(InputError, match="no pair graph called"):
        _scene(_predictor("das3r", weights, scene_graph="star"), frames)


def test_both_are_registered_with_their_settings(weights):
    for name in ("das3r", "monst3r"):
        assert "NC" in (predictor_spec(name).license or "")
        assert create_predictor(name, weights=weights[name], iterations=3).settings.iterations == 3  # type: ignore[attr-defined]


def test_the_command_line_takes_weights_from_anywhere(weights, tmp_path, capsys):
    clip, path = tmp_path / "clip", str(weights["das3r"])
    clip.mkdir()
    _frames(clip, 2)
    out = tmp_path / "scene"
    assert main(["predict", str(clip), "-o", str(out), "--predictor", "das3r", "--weights", path]) == 0
    assert json.loads((out / "scene.json").read_text())["provenance"]["settings"]["weights"] == weights["das3r"].name
    assert main(["predict", str(clip), "-o", str(tmp_path / "other"), "--weights", path]) == 2
    assert "The predictor geometric has no weights; leave out --weights." in capsys.readouterr().err
