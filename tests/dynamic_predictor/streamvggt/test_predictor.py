"""StreamVGGT and VGGT through the contract and the driver, with small networks and made-up weights."""

import dataclasses

import numpy as np
import pytest
import torch

from dynamic_predictor.contract import Views
from dynamic_predictor.driver.scene_driver import SceneDriver
from dynamic_predictor.driver.settings import DriverSettings, StreamSettings
from dynamic_predictor.driver.stream import run_stream
from dynamic_predictor.driver.workspace import StreamWorkspace
from dynamic_predictor.specs import predictor_spec
from dynamic_predictor.streamvggt.network import FrameOutputs
from dynamic_predictor.streamvggt.predictor import StreamVGGTPredictor, VGGTPredictor, network_maps
from dynamic_predictor.streamvggt.preprocessing import fit
from dynamic_predictor.streamvggt.settings import StreamVGGTSettings, VGGTSettings
from scene.errors import InputError
from scene.frames import MemoryFrames
from scene.option import KEY
from tests.simulated_stream import SimulatedWalk

_SETTINGS = StreamVGGTSettings(image_size=56, cache="frames", cache_frames=4)


def _views(panning, count=6, width=64, height=48):
    return Views(MemoryFrames(np.stack(panning(count, width, height))))


def _one(views, index):
    return Views(MemoryFrames(views.frames.rgb8(index)[None]))


def test_a_prediction_keeps_the_contract(minimal, panning):
    views = _views(panning)
    for predictor in (
        StreamVGGTPredictor(_SETTINGS, network=minimal),
        VGGTPredictor(VGGTSettings(image_size=56), network=minimal),
    ):
        found = predictor.predict(views)
        assert len(found) == 6 and found.size == (42, 56) and not found.is_metric and found.motion is None
        depth, confidence = np.asarray(found.z_depth), np.asarray(found.confidence)
        assert depth.dtype == confidence.dtype == np.float32 and (depth > 0).all()
        assert (confidence > 0).all() and (confidence < 1).all() and found.has_network_confidence
        poses = found.poses()
        np.testing.assert_allclose(
            poses[:, :3, :3] @ poses[:, :3, :3].transpose(0, 2, 1), np.tile(np.eye(3), (6, 1, 1)), atol=1e-9
        )
        np.testing.assert_allclose(found.intrinsics[:, :2, 2], np.tile([28, 21], (6, 1)))


def test_values_are_those_of_the_network(tiny, panning):
    """Poses are inverted, confidences c become 1 - 1 / c, focal lengths come from the fields of view."""
    views = _views(panning)
    images = torch.stack([torch.from_numpy(fit(64, 48, size=56).to_network(views.frames.rgb8(i))) for i in range(6)])
    output = tiny(images[None], causal=False)
    found = VGGTPredictor(VGGTSettings(image_size=56), network=tiny).predict(views)
    np.testing.assert_allclose(np.asarray(found.z_depth), output.depth[0].numpy(), rtol=1e-5)
    np.testing.assert_allclose(np.asarray(found.confidence), 1 - 1 / output.depth_confidence[0].numpy(), rtol=1e-4)
    np.testing.assert_allclose(np.linalg.inv(found.poses())[:, :3, 3], output.camera[0, :, :3].numpy(), atol=1e-5)
    angle = output.camera[0, :, 8].numpy()
    np.testing.assert_allclose(found.intrinsics[:, 0, 0], 28 / np.tan(angle / 2), rtol=1e-4)


def test_depth_from_points_is_what_the_camera_sees_of_them():
    generator = np.random.default_rng(0)
    camera = np.concatenate([np.linalg.qr(generator.normal(size=(3, 3)))[0], [[0.1], [0.2], [9.0]]], axis=1)
    points = generator.normal(size=(1, 1, 4, 5, 3))
    output = FrameOutputs(
        torch.zeros(1, 1, 9), points=torch.from_numpy(points), points_confidence=torch.full((1, 1, 4, 5), 3.0)
    )
    depth, confidence = network_maps(output, torch.from_numpy(camera)[None])
    expected = (points[0, 0] @ camera[:, :3].T + camera[:, 3])[..., 2]
    np.testing.assert_allclose(depth[0], expected, rtol=1e-5)
    assert (confidence == 3).all()


def test_depth_from_points_by_the_predictor(tiny, panning):
    found = StreamVGGTPredictor(dataclasses.replace(_SETTINGS, depth_from="points"), network=tiny).predict(
        _views(panning)
    )
    assert found.size == (42, 56) and (np.asarray(found.z_depth) >= 0).all()


def test_steps_are_the_prediction(minimal, panning):
    views = _views(panning)
    predictor = StreamVGGTPredictor(_SETTINGS, network=minimal)
    whole = predictor.predict(views)
    predictor.start()
    for index in range(6):
        found = predictor.step(_one(views, index))
        np.testing.assert_allclose(found.poses()[0], whole.poses()[index], atol=1e-6)
        np.testing.assert_allclose(found.z_depth[0], whole.z_depth[index], atol=1e-6)
    predictor.start()
    np.testing.assert_array_equal(predictor.step(_one(views, 0)).z_depth[0], whole.z_depth[0])


def test_a_stored_state_goes_on(minimal, panning, tmp_path):
    views = _views(panning)
    predictor = StreamVGGTPredictor(_SETTINGS, network=minimal)
    for index in range(4):
        predictor.step(_one(views, index))
    np.savez(tmp_path / "state.npz", **predictor.state())
    expected = [predictor.step(_one(views, index)) for index in (4, 5)]
    other = StreamVGGTPredictor(_SETTINGS, network=minimal)
    with np.load(tmp_path / "state.npz", allow_pickle=False) as arrays:
        other.restore(dict(arrays))
    for index, wanted in zip((4, 5), expected, strict=True):
        found = other.step(_one(views, index))
        np.testing.assert_array_equal(found.z_depth[0], wanted.z_depth[0])
        np.testing.assert_array_equal(found.world_from_camera, wanted.world_from_camera)
    changed = StreamVGGTPredictor(dataclasses.replace(_SETTINGS, cache_frames=5), network=minimal)
    with pytest.raises(InputError, match="frames=4.*cannot go on with.*frames=5"):
        changed.restore(predictor.state())


def test_a_change_of_resolution_is_one_sentence(minimal, panning):
    predictor = StreamVGGTPredictor(_SETTINGS, network=minimal)
    predictor.step(_one(_views(panning), 0))
    with pytest.raises(InputError, match="began with images of 56x42 and goes on with 42x56"):
        predictor.step(_one(_views(panning, width=48, height=64), 0))


def test_the_official_behavior(minimal, panning):
    """Portrait images are cut to a square, outside of which there is no depth, and the axis is half a pixel off the
    center."""
    views = _views(panning, 2, 48, 64)
    found = StreamVGGTPredictor(dataclasses.replace(_SETTINGS, strict_official=True), network=minimal).predict(views)
    assert found.size == (70, 56)
    known = np.asarray(found.z_depth) > 0
    assert known[:, 7:63].all() and not known[:, :7].any() and not known[:, 63:].any()
    np.testing.assert_allclose(found.intrinsics[:, :2, 2], np.tile([28.5, 35.5], (2, 1)))
    assert StreamVGGTPredictor(_SETTINGS, network=minimal).predict(views).size == (56, 42)


def test_whole_scenes_come_out_of_the_driver(minimal, panning, tmp_path):
    images = panning(8, 64, 40)
    for name, predictor in (
        ("streamvggt", StreamVGGTPredictor(_SETTINGS, network=minimal)),
        ("vggt", VGGTPredictor(VGGTSettings(image_size=56), network=minimal)),
    ):
        workspace = StreamWorkspace(tmp_path / name, {}, resume=False)
        for index, image in enumerate(images):
            workspace.append(index / 30, image)
        workspace.finish_frames()
        scene = SceneDriver(DriverSettings("clip", predictor=name), predictor=predictor).scene(workspace).scene
        assert scene.predictor == name and len(scene.cameras) == 8
        for maps in (scene.motion_masks, scene.z_depths, scene.confidences):
            assert maps is not None and maps[5].shape == (40, 64) and np.isfinite(maps[5]).all()


def test_a_stopped_stream_goes_on_in_the_driver(minimal, tmp_path):
    """Chunks of the driver share the world of the stream; a second call goes on from the stored state."""

    class Stopping(StreamVGGTPredictor):
        left = 9

        def step(self, view):
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return super().step(view)

    spec, chunks = predictor_spec("streamvggt"), StreamSettings(chunk_size=4, overlap=1, loop=False)
    whole = run_stream(
        SimulatedWalk(12), StreamVGGTPredictor(_SETTINGS, network=minimal), spec,
        StreamWorkspace(tmp_path / "whole", {}, resume=False), chunks,
    )  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        run_stream(
            SimulatedWalk(12), Stopping(_SETTINGS, network=minimal), spec,
            StreamWorkspace(tmp_path / "parts", {}, resume=False), chunks,
        )  # fmt: skip
    again = run_stream(
        SimulatedWalk(12), StreamVGGTPredictor(_SETTINGS, network=minimal), spec,
        StreamWorkspace(tmp_path / "parts", {}, resume=True), chunks,
    )  # fmt: skip
    assert whole.windows == again.windows and len(whole.windows) == 3
    for chunk in range(3):
        expected, found = whole.workspace.read_chunk(chunk), again.workspace.read_chunk(chunk)
        np.testing.assert_array_equal(found.world_from_camera, expected.world_from_camera)
        np.testing.assert_array_equal(found.z_depth[2], expected.z_depth[2])


def test_missing_weights_are_one_sentence(tmp_path, monkeypatch, panning):
    monkeypatch.setenv("STILLSPLAT_WEIGHTS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="stillsplat weights get vggt"):
        VGGTPredictor().predict(_views(panning))
    with pytest.raises(InputError, match="There is no file"):
        StreamVGGTPredictor(StreamVGGTSettings(weights=tmp_path / "none.pth")).start()


def test_outputs_that_are_not_finite_are_refused(minimal, panning):
    broken = type(minimal)(minimal.architecture)
    broken.load_state_dict(minimal.state_dict())
    broken.depth_head.scratch.output_conv2[2].bias.fill_(float("nan"))
    with pytest.raises(InputError, match="not finite"):
        VGGTPredictor(VGGTSettings(image_size=56), network=broken).predict(_views(panning))


def test_wrong_settings_are_one_sentence():
    for name, value, message in (
        ("cache", "some", 'no cache "some"'),
        ("cache_frames", 1, "at least 2 frames"),
        ("cache_tokens", 0, "at least 1 token"),
        ("cache_bits", 4, "8, 16 or 32 bits"),
        ("precision", "int8", 'no precision "int8"'),
        ("depth_from", "sky", 'no depth source "sky"'),
    ):
        with pytest.raises(InputError, match=message):
            StreamVGGTSettings(**{name: value})


def test_settings_are_declared_as_options():
    declared = {item.name for item in dataclasses.fields(StreamVGGTSettings) if KEY in item.metadata}
    assert declared >= {
        "cache",
        "cache_frames",
        "cache_tokens",
        "cache_bits",
        "precision",
        "depth_from",
    }
    for name, settings in (("streamvggt", StreamVGGTSettings), ("vggt", VGGTSettings)):
        assert predictor_spec(name).settings_type() is settings
