"""The predictor on a small network with made-up weights: online, over clips, saved and restored."""

from dataclasses import replace

import numpy as np
import pytest

from dynamic_predictor.contract import Views
from dynamic_predictor.cut3r.network import Cut3rNetwork
from dynamic_predictor.cut3r.predictor import Cut3rPredictor
from dynamic_predictor.cut3r.settings import Cut3rSettings
from dynamic_predictor.cut3r.spec import SPECS
from dynamic_predictor.cut3r.weights import CUT3R_224, CUT3R_512
from dynamic_predictor.driver.scene_driver import SceneDriver
from dynamic_predictor.driver.scenes import scene_of_stream
from dynamic_predictor.driver.settings import DriverSettings, StreamSettings
from dynamic_predictor.driver.sources import open_source
from dynamic_predictor.driver.stream import run_stream
from dynamic_predictor.driver.workspace import StreamWorkspace
from dynamic_predictor.weights.registry import all_weights
from scene.errors import InputError
from scene.frames import MemoryFrames
from scene.images import write_png
from tests.dynamic_predictor.cut3r.clips import clip, predictor_of, views_of
from tests.dynamic_predictor.cut3r.small_networks import MINIMAL, filled_network, save_pth

RULES = ["auto", "plain", "damped", "ttt3r", "recal3r"]


@pytest.fixture(scope="module")
def network() -> Cut3rNetwork:
    return filled_network(MINIMAL)


def _assert_same(first, second) -> None:
    np.testing.assert_array_equal(first.poses(), second.poses())
    np.testing.assert_array_equal(first.intrinsics, second.intrinsics)
    for index in range(len(first)):
        np.testing.assert_array_equal(first.z_depth[index], second.z_depth[index])
        np.testing.assert_array_equal(first.confidence[index], second.confidence[index])


def test_a_clip_is_predicted_as_its_views_one_by_one(network):
    frames = clip(4)
    whole = predictor_of(network).predict(Views(frames))
    assert len(whole) == 4 and whole.size == (40, 60) and whole.is_metric and whole.motion is None
    assert whole.intrinsics is not None and np.isfinite(whole.poses()).all()
    for index in range(4):
        assert whole.z_depth[index].min() >= 0 and np.isfinite(whole.z_depth[index]).all()
        assert 0 <= whole.confidence[index].min() and whole.confidence[index].max() <= 1
    # 64x43 of the network's resized frame is cut to 64x32: no depth is known in what was cut away
    assert not whole.z_depth[0][0].any() and whole.z_depth[0][20].any()
    online = predictor_of(network)
    online.start()
    for index, view in enumerate(views_of(frames)):
        step = online.step(view)
        np.testing.assert_array_equal(step.poses()[0], whole.poses()[index])
        np.testing.assert_array_equal(step.z_depth[0], whole.z_depth[index])
        np.testing.assert_array_equal(step.confidence[0], whole.confidence[index])


@pytest.mark.parametrize("rule", RULES)
def test_a_stream_goes_on_from_its_saved_state_bit_for_bit(network, tmp_path, rule):
    """Through a file, across a reset."""
    frames, changes = clip(6), {"state_update": rule, "reset_interval": 3}
    views = views_of(frames)
    through = predictor_of(network, **changes)
    through.start()
    assert through.state() == {}
    expected = [through.step(view) for view in views]
    for stop in (2, 4):
        first = predictor_of(network, **changes)
        for view in views[:stop]:
            first.step(view)
        np.savez(tmp_path / "state.npz", **first.state())  # pyright: ignore[reportArgumentType]
        second = predictor_of(network, **changes)
        with np.load(tmp_path / "state.npz", allow_pickle=False) as arrays:
            second.restore(arrays)
        for index in range(stop, len(views)):
            _assert_same(second.step(views[index]), expected[index])
    for name, array in through.state().items():
        np.testing.assert_array_equal(second.state()[name], array, err_msg=name)


def test_rules_differ_from_the_second_view_on(network):
    frames = clip(4)
    poses = {rule: predictor_of(network, state_update=rule).predict(Views(frames)).poses() for rule in RULES}
    np.testing.assert_array_equal(poses["auto"], poses["plain"])  # short clips are not damped
    for rule in ("damped", "ttt3r", "recal3r"):
        np.testing.assert_array_equal(poses[rule][:2], poses["plain"][:2])
        assert not np.array_equal(poses[rule][2:], poses["plain"][2:])


def test_long_clips_change_the_rule_and_keep_a_small_state(network):
    """200 views: the state is of one size all the time, and finite; from view 50 on `auto` is ReCal3R, also where a
    stream was saved before and continued."""
    frames = clip(200, width=32, height=32)
    predictor, second = (predictor_of(network, image_size=32, crop=False) for _ in range(2))
    predictor.start()
    sizes = set()
    for index, view in enumerate(views_of(frames)):
        found = predictor.step(view)
        assert np.isfinite(found.poses()).all()
        state = predictor.state()
        sizes.add(sum(array.nbytes for array in state.values()))
        assert (float(state["pressure"].max()) > 0) == (index >= 50)
        assert state["seen"][0] == index + 1
        if index == 47:
            second.restore(state)
        elif 47 < index < 54:
            _assert_same(second.step(view), found)
    assert len(sizes) == 1 and sizes.pop() < 20_000


def test_the_focal_length_is_steady(network):
    """The geometric mean of those of all views until now; a known one is used as it is."""
    frames = clip(5)
    predictor = predictor_of(network)
    focals = np.array([predictor.step(view).cameras()[0].fx for view in views_of(frames)])
    official = predictor_of(network, strict_official=True)
    assert np.isfinite(focals).all() and (focals > 0).all()
    assert official.step(views_of(frames)[0]).cameras()[0].cx == pytest.approx(60 * 32.5 / 64, abs=1.0)
    known = predictor_of(network).predict(Views(frames, focal=77.0))
    assert known.intrinsics is not None and (known.intrinsics[:, [0, 1], [0, 1]] == 77.0).all()


def test_masks_of_the_user_are_passed_on(network):
    masks = np.zeros((2, 40, 60), np.float32)
    assert predictor_of(network).predict(Views(clip(2), motion_masks=masks)).motion is masks


def test_revisits_predict_every_frame_with_the_final_state(network):
    frames = clip(4)
    once, revisited = predictor_of(network), predictor_of(network, revisits=1)
    first, again = once.predict(Views(frames)), revisited.predict(Views(frames))
    assert not np.array_equal(first.poses()[0], again.poses()[0])
    np.testing.assert_array_equal(once.state()["features"], revisited.state()["features"])
    more = predictor_of(network, revisits=2).predict(Views(frames))
    assert not np.array_equal(more.poses(), again.poses())
    # what the frozen pass gives for a frame does not depend on the others of the pass
    with pytest.raises(InputError, match="revisits, which needs the whole clip"):
        revisited.start()


def test_mistakes_are_one_sentence(network, tmp_path):
    predictor = predictor_of(network)
    predictor.step(views_of(clip(1))[0])
    with pytest.raises(InputError, match=r"change from 64x32 to 32x64 pixels at frame 1"):
        predictor.step(views_of(clip(1, width=40, height=70))[0])
    with pytest.raises(ValueError, match="one view"):
        predictor.step(Views(clip(2)))
    state = predictor.state()
    for damaged in (
        {key: value for key, value in state.items() if key != "memory"},
        {key: value for key, value in state.items() if key != "seen"},
        {**state, "features": state["features"][:, :3]},
        {**state, "features": state["features"] * np.nan},
    ):
        with pytest.raises(InputError, match="saved state"):
            predictor.restore(damaged)
    missing = Cut3rPredictor(CUT3R_224, "linear", Cut3rSettings(weights=tmp_path / "none.pth"))
    with pytest.raises(InputError, match=r"none\.pth"):
        missing.start()
    save_pth(network, tmp_path / "small.pth")
    wrong = Cut3rPredictor(CUT3R_512, "dpt", Cut3rSettings(weights=tmp_path / "small.pth"))
    with pytest.raises(InputError, match="checkpoint of cut3r-224"):
        wrong.predict(Views(clip(1)))
    right = Cut3rPredictor(CUT3R_224, "linear", Cut3rSettings(weights=tmp_path / "small.pth", image_size=64))
    assert right.predict(Views(clip(1))).provenance["settings"]["weights"] == "small.pth"
    broken = filled_network(MINIMAL)
    broken.downstream_head.pose_head.mlp.fc2.bias.data[:] = np.nan
    with pytest.raises(InputError, match="frame 0 are not numbers"):
        predictor_of(broken).predict(Views(clip(1)))


def test_rows_and_weights():
    large, small = SPECS
    assert (large.name, small.name) == ("cut3r", "cut3r-224")
    assert all(row.online and row.metric and row.single_view and not row.motion for row in SPECS)
    assert [row.parity_name for row in SPECS] == ["cut3r-512-dpt", "cut3r-224-linear"]
    entries = all_weights()
    assert entries["cut3r-512"] is CUT3R_512 and entries["cut3r-224"] is CUT3R_224
    assert CUT3R_224.size is CUT3R_224.sha256 is None


def test_the_driver_streams_it_and_resumes(network, tmp_path):
    """Ten frames in chunks of four: the same cameras as all at once, also when the second half is a later run."""
    frames = clip(10)
    (tmp_path / "clip").mkdir()
    for index in range(10):
        write_png(tmp_path / "clip" / f"{index:02}.png", frames.rgb8(index))
    spec, settings = replace(SPECS[1], parity_case=None), StreamSettings(chunk_size=4, overlap=2)
    expected = predictor_of(network).predict(Views(frames))

    class Stops(Cut3rPredictor):
        """Dies at its ninth view."""

        steps = 0

        def step(self, view):
            self.steps += 1
            if self.steps == 9:
                raise KeyboardInterrupt
            return super().step(view)

    stopping = Stops(CUT3R_224, "linear", Cut3rSettings(image_size=64), network=network)
    for predictor, resume in ((stopping, False), (predictor_of(network), True)):
        workspace = StreamWorkspace(tmp_path / "stream", {"chunk_size": 4}, resume=resume)
        source = open_source(str(tmp_path / "clip"))
        if not resume:
            with pytest.raises(KeyboardInterrupt):
                run_stream(source, predictor, spec, workspace, settings)
            continue
        result = run_stream(source, predictor, spec, workspace, settings)
        scene = scene_of_stream(result)
        poses = np.stack([camera.world_from_camera for camera in scene.cameras])
        np.testing.assert_allclose(poses, expected.poses(), atol=1e-6)
        assert scene.z_depths is not None and len(scene.z_depths) == 10


def test_one_image_is_enough(network):
    single = predictor_of(network).predict(Views(MemoryFrames(clip(1).rgb8(0)[None])))
    assert len(single) == 1
    np.testing.assert_array_equal(predictor_of(network).predict(Views(clip(1))).poses(), single.poses())


def test_the_driver_gives_settings_that_need_it_the_whole_clip(network, tmp_path):
    frames = clip(4)
    (tmp_path / "clip").mkdir()
    for index in range(4):
        write_png(tmp_path / "clip" / f"{index:02}.png", frames.rgb8(index))
    predictor = predictor_of(network, revisits=1)
    driver = SceneDriver(DriverSettings(str(tmp_path / "clip"), predictor="cut3r-224"), predictor=predictor)
    workspace = StreamWorkspace(tmp_path / "stream", {}, resume=False)
    driven = driver.scene(workspace, motion_stage=False)
    expected = predictor_of(network, revisits=1).predict(Views(frames)).poses()
    poses = np.stack([camera.world_from_camera for camera in driven.scene.cameras])
    np.testing.assert_allclose(poses, expected, atol=1e-6)
    workspace = StreamWorkspace(tmp_path / "chunks", {}, resume=False)
    with pytest.raises(InputError, match="revisits, which needs the whole clip"):
        driver.scene(workspace, stream=StreamSettings(), motion_stage=False)
