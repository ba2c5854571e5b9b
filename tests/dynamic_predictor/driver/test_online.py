"""Online predictors step as soon as a frame is there, and go on after any stop as if there had been none."""

import numpy as np
import pytest

from dynamic_predictor.driver import stream as stream_module
from dynamic_predictor.driver.scenes import scene_of_stream
from dynamic_predictor.driver.settings import StreamSettings
from dynamic_predictor.driver.stream import run_stream
from dynamic_predictor.driver.workspace import StreamWorkspace
from tests.simulated_stream import ONLINE_SPEC, SPEC, OnlineSimulatedPredictor, SimulatedPredictor, SimulatedWalk

_CHUNKS = StreamSettings(chunk_size=8, overlap=3, loop=False)


def _run(walk, predictor, folder, *, resume=False, **options):
    workspace = StreamWorkspace(folder / "stream", {}, resume=resume)
    return run_stream(walk, predictor, ONLINE_SPEC, workspace, _CHUNKS, **options)


def _confidences(result) -> list[float]:
    scene = scene_of_stream(result)
    return [float(scene.confidences[index][0, 0]) for index in range(len(scene.frames))]


def test_each_frame_is_stepped_before_the_next_one_is_read(tmp_path):
    order = []

    class Walk(SimulatedWalk):
        def images(self, skip=0):
            for image in super().images(skip):
                order.append(("read", image.position))
                yield image

    class Predictor(OnlineSimulatedPredictor):
        def step(self, view):
            order.append(("step", len(self.steps)))
            return super().step(view)

    walk = Walk(20)
    heard = []
    result = _run(
        walk,
        Predictor(walk),
        tmp_path,
        on_prediction=lambda frame, view, prediction: heard.append((frame, view.frames.rgb8(0), prediction)),
    )
    assert order == [(what, index) for index in range(20) for what in ("read", "step")]
    assert result.windows == [(0, 8), (8, 16), (16, 20)]  # stored in chunks all the same
    scene = scene_of_stream(result)
    for index, (frame, image, prediction) in enumerate(heard):
        assert frame == index and len(prediction) == 1
        np.testing.assert_array_equal(image, walk.image(index))
        np.testing.assert_allclose(prediction.poses()[0], scene.cameras[index].world_from_camera, atol=1e-12)
        np.testing.assert_array_equal(prediction.z_depth[0], scene.z_depths[index])
    steps = result.timing["seconds_per_step"]
    assert 0 <= steps["median"] <= steps["percentile_95"]


class _Stopped(Exception):
    pass


class _Stops(OnlineSimulatedPredictor):
    """Is stopped in the middle of its 14th step, with a state that was changed already."""

    def step(self, view):
        found = super().step(view)
        if len(self.steps) == 14:
            raise _Stopped
        return found


def test_a_resumed_run_steps_from_the_last_whole_chunk_and_ends_the_same(tmp_path):
    walk = SimulatedWalk(30)
    whole = _run(walk, OnlineSimulatedPredictor(walk), tmp_path / "whole")
    with pytest.raises(_Stopped):
        _run(walk, _Stops(walk), tmp_path / "parts")
    second, heard = OnlineSimulatedPredictor(walk), []
    resumed = _run(
        walk, second, tmp_path / "parts", resume=True, on_prediction=lambda frame, view, found: heard.append(frame)
    )
    assert second.steps == list(range(8, 30))
    assert heard == list(range(30))  # of the frames of before, too
    assert _confidences(resumed) == _confidences(whole)


def test_a_stop_between_a_chunk_and_its_state_loses_only_that_chunk(tmp_path, monkeypatch):
    walk = SimulatedWalk(30)
    whole = _run(walk, OnlineSimulatedPredictor(walk), tmp_path / "whole")
    write_state = StreamWorkspace.write_state

    def stop(self, chunk, state):
        if chunk == 2:
            raise _Stopped
        write_state(self, chunk, state)

    monkeypatch.setattr(StreamWorkspace, "write_state", stop)
    with pytest.raises(_Stopped):
        _run(walk, OnlineSimulatedPredictor(walk), tmp_path / "parts")
    monkeypatch.undo()
    second = OnlineSimulatedPredictor(walk)
    resumed = _run(walk, second, tmp_path / "parts", resume=True)
    assert second.steps == list(range(16, 30))
    assert _confidences(resumed) == _confidences(whole)


def test_predictions_in_memory_are_those_of_one_chunk(tmp_path, monkeypatch):
    """Counted, not measured."""
    most = 0
    joined = stream_module.OnlineSteps.whole_chunk

    def counted(self):
        nonlocal most
        most = max(most, len(self._unfinished))
        return joined(self)

    monkeypatch.setattr(stream_module.OnlineSteps, "whole_chunk", counted)
    walk = SimulatedWalk(100, width=24, height=16)
    _run(walk, OnlineSimulatedPredictor(walk), tmp_path)
    assert most == 8


def test_a_listener_hears_of_chunks_in_the_world_of_the_first(tmp_path):
    """The chunks of the simulated predictor come in worlds and units of their own."""
    walk, heard = SimulatedWalk(40), {}

    def listen(frame, view, prediction):
        heard[frame] = prediction

    workspace = StreamWorkspace(tmp_path / "stream", {}, resume=False)
    result = run_stream(walk, SimulatedPredictor(walk), SPEC, workspace, _CHUNKS, on_prediction=listen)
    scene = scene_of_stream(result)
    assert sorted(heard) == list(range(40))
    for frame in (0, 5, 17, 39):
        np.testing.assert_allclose(heard[frame].poses()[0], scene.cameras[frame].world_from_camera, atol=1e-6)
        np.testing.assert_allclose(heard[frame].z_depth[0], scene.z_depths[frame], rtol=1e-5)
