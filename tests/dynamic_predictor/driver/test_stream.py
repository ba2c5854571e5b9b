"""The streaming driver on a simulated walk whose poses and depths are known, and on cameras that misbehave."""

import http.server
import threading
import time
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from dynamic_predictor.contract import Views
from dynamic_predictor.driver import stream as stream_module
from dynamic_predictor.driver.scenes import scene_of_stream
from dynamic_predictor.driver.settings import StreamSettings
from dynamic_predictor.driver.sources import open_source
from dynamic_predictor.driver.workspace import StreamWorkspace
from dynamic_predictor.place_recognition.descriptors import GradientDescriptor
from scene.errors import InputError
from scene.folder import load_scene, save_scene
from scene.images import write_png
from scene.trajectory import absolute_trajectory_error
from scene.video import write_video
from tests.simulated_stream import SPEC, SimulatedPredictor, SimulatedWalk, true_poses


def run_stream(source, predictor, workspace, settings, **options):
    return stream_module.run_stream(source, predictor, options.pop("spec", SPEC), workspace, settings, **options)


_SMALL = StreamSettings(chunk_size=20, overlap=8, loop=False)


def _workspace(folder: Path, resume: bool = False) -> StreamWorkspace:
    return StreamWorkspace(folder / "stream", {"chunk_size": 20}, resume=resume)


def _error(result, walk, closed: bool = True) -> float:
    cameras = scene_of_stream(result, closed=closed).cameras
    poses = np.stack([camera.world_from_camera for camera in cameras])
    return absolute_trajectory_error(poses, true_poses(walk, range(len(poses))), alignment="sim3").rmse


@pytest.mark.parametrize("align", ["sim3", "scale+se3"])
def test_chunks_of_any_gauge_come_together_exactly(tmp_path, align):
    walk = SimulatedWalk(65)
    settings = StreamSettings(chunk_size=20, overlap=8, loop=False, align=align)
    result = run_stream(walk, SimulatedPredictor(walk), _workspace(tmp_path), settings)
    assert _error(result, walk) < 1e-5
    scene = scene_of_stream(result)
    assert len(scene.cameras) == len(scene.frames) == 65
    # one unit for poses and depths: the same factor to the truth in all chunks
    ratios = [np.median(scene.z_depths[index] / walk.z_depth(index)) for index in range(0, 65, 8)]
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-4)


def test_rigid_alignment_keeps_the_scale_of_each_chunk(tmp_path):
    walk = SimulatedWalk(40)
    settings = StreamSettings(chunk_size=20, overlap=8, loop=False, align="se3")
    result = run_stream(walk, SimulatedPredictor(walk), _workspace(tmp_path), settings)
    np.testing.assert_allclose([place.scale for place in result.world_from_chunk], 1.0, rtol=1e-12)


class _Warning(SimulatedPredictor):
    """Says which stand-in it works with, each time, and that one chunk is blurred."""

    predicted = 0

    def predict(self, views, **more):
        self.predicted += 1
        told = ("DIS stands in for RAFT.", "All is blurred.") if self.predicted == 2 else ("DIS stands in for RAFT.",)
        return replace(super().predict(views), warnings=told)


def test_what_a_predictor_has_to_say_is_said_once_and_where(tmp_path):
    walk, said = SimulatedWalk(65), []
    result = run_stream(walk, _Warning(walk), _workspace(tmp_path), _SMALL, warn=said.append)
    assert said == ["Frames 0 to 19: DIS stands in for RAFT.", "Frames 12 to 31: All is blurred."] == result.warnings
    walk = SimulatedWalk(15)
    assert run_stream(walk, _Warning(walk), _workspace(tmp_path), _SMALL).warnings == ["DIS stands in for RAFT."]


def test_a_loop_takes_out_the_drift(tmp_path):
    walk = SimulatedWalk(140, lap=120)
    predictor = SimulatedPredictor(walk, creep=0.0005, bend=0.1, noise=0.01)
    settings = StreamSettings(chunk_size=20, overlap=8, loop_half=5)
    result = run_stream(walk, predictor, _workspace(tmp_path), settings, descriptor=GradientDescriptor())
    assert any(loop.accepted and loop.weight > 0.5 for loop in result.loops)
    assert _error(result, walk) < 0.3 * _error(result, walk, closed=False)


def test_the_scene_of_a_stream_is_a_scene_on_the_disk_like_any_other(tmp_path):
    walk = SimulatedWalk(30)
    result = run_stream(walk, SimulatedPredictor(walk), _workspace(tmp_path), _SMALL)
    scene = scene_of_stream(result)
    save_scene(scene, tmp_path / "scene")
    again = load_scene(tmp_path / "scene")
    np.testing.assert_array_equal(again.z_depths[25], scene.z_depths[25])
    np.testing.assert_array_equal(again.frames.rgb8(7), walk.image(7))


class _Stopped(Exception):
    pass


class _StoppingPredictor(SimulatedPredictor):
    """Dies at its third chunk."""

    def predict(self, views, **more):
        if len(self.calls) == 2:
            raise _Stopped
        return super().predict(views)


def test_a_stopped_stream_goes_on_where_it_was_and_ends_the_same(tmp_path):
    walk = SimulatedWalk(65)
    with pytest.raises(_Stopped):
        run_stream(walk, _StoppingPredictor(walk, creep=0.002), _workspace(tmp_path / "a"), _SMALL)
    (tmp_path / "a" / "stream" / "frames.txt").open("a").write("1.2")  # a line cut off by a crash
    predictor = SimulatedPredictor(walk, creep=0.002)
    resumed = run_stream(walk, predictor, _workspace(tmp_path / "a", resume=True), _SMALL)
    assert predictor.calls[0][0] == 24  # chunks 0 and 1 are not predicted again
    whole = run_stream(walk, SimulatedPredictor(walk, creep=0.002), _workspace(tmp_path / "b"), _SMALL)
    for first, second in zip(resumed.world_from_chunk, whole.world_from_chunk, strict=True):
        np.testing.assert_array_equal(first.matrix, second.matrix)


def test_other_settings_do_not_go_on_with_a_stream(tmp_path):
    _workspace(tmp_path)
    with pytest.raises(InputError, match="chunk_size"):
        StreamWorkspace(tmp_path / "stream", {"chunk_size": 30}, resume=True)


def test_memory_of_the_driver_does_not_grow_with_the_clip(tmp_path):
    """Counted, not measured: no call sees more than a chunk, and the open files of frames hold a bounded cache."""
    walk = SimulatedWalk(200, width=24, height=16)
    predictor = SimulatedPredictor(walk)
    run_stream(walk, predictor, _workspace(tmp_path), _SMALL)
    assert max(len(call) for call in predictor.calls) == 20


def test_one_frame_is_refused(tmp_path):
    walk = SimulatedWalk(1)
    with pytest.raises(InputError, match="only one frame"):
        run_stream(walk, SimulatedPredictor(walk), _workspace(tmp_path), _SMALL)


def test_frames_of_two_sizes_are_refused(tmp_path):
    walk = SimulatedWalk(6)
    images = tmp_path / "images"
    images.mkdir()
    for index in range(6):
        write_png(images / f"{index}.png", walk.image(index) if index != 4 else walk.image(index)[:-2])
    with pytest.raises(InputError, match="one size"):
        run_stream(open_source(str(images)), SimulatedPredictor(walk), _workspace(tmp_path), _SMALL)


def test_sources_are_recognized(tmp_path):
    walk = SimulatedWalk(12)
    write_video(tmp_path / "walk.mp4", (walk.image(index) for index in range(12)), 10.0)
    times = [image.time for image in open_source(str(tmp_path / "walk.mp4"), rate=5.0).images()]
    assert len(times) == 6 and times[1] == pytest.approx(0.2)
    assert len(list(open_source(str(tmp_path / "walk.mp4"), max_frames=3).images(skip=1))) == 2
    for index in (2, 10, 1):
        write_png(tmp_path / f"f{index}.png", walk.image(index))
    images = [image.pixels for image in open_source(str(tmp_path / "f*.png")).images()]
    np.testing.assert_array_equal(images[1], walk.image(2))  # natural order
    assert open_source("0").is_live and open_source("rtsp://nowhere/stream").is_live


@pytest.mark.parametrize("text", ["no_such_thing.mp4", "no_such/*.png", "rtsp://127.0.0.1:9/none"])
def test_sources_that_are_not_there_are_one_sentence(text, tmp_path):
    walk = SimulatedWalk(2)
    with pytest.raises(InputError):
        run_stream(open_source(text), SimulatedPredictor(walk), _workspace(tmp_path), _SMALL)


def _transport_stream(path: Path, walk: SimulatedWalk, count: int) -> None:
    """A video in the container of broadcasts, which can be cut anywhere."""
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = walk.width, walk.height, "yuv420p"
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(walk.image(index), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_a_network_stream_that_breaks_off_ends_with_what_had_come(tmp_path):
    walk = SimulatedWalk(60, width=96, height=64)
    _transport_stream(tmp_path / "walk.ts", walk, 60)
    content = (tmp_path / "walk.ts").read_bytes()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            sent = len(content) * 2 // 3
            for start in range(0, sent, sent // 20):  # slowly: a live source keeps up by leaving frames out
                self.wfile.write(content[start : min(start + sent // 20, sent)])
                time.sleep(0.05)
            # then the connection breaks

        def log_message(self, format, *args):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        source = open_source(f"http://127.0.0.1:{server.server_port}/walk.ts", rate=1e6)
        told = []
        result = run_stream(source, SimulatedPredictor(walk), _workspace(tmp_path), _SMALL, warn=told.append)
    finally:
        server.shutdown()
    assert 2 <= len(result.workspace) < 60
    assert len(told) == 1 and told[0].endswith("these frames were processed.")


class _Unsure(SimulatedPredictor):
    """Knows no depth in its second chunk."""

    def predict(self, views, **more):
        chunk = super().predict(views)
        if len(self.calls) == 2:
            chunk.confidence[:] = 0.0
        return chunk


def test_chunks_without_common_pixels_are_joined_by_their_cameras(tmp_path):
    walk = SimulatedWalk(32)
    told = []
    result = run_stream(walk, _Unsure(walk), _workspace(tmp_path), _SMALL, warn=told.append)
    assert len(told) == 1 and "by their cameras alone" in told[0]
    assert _error(result, walk) < 1e-5


class _StandsStill(SimulatedPredictor):
    """Knows no depth, and believes in its first chunk that the camera only turns."""

    def predict(self, views, **more):
        chunk = super().predict(views)
        chunk.confidence[:] = 0.0
        if len(self.calls) == 1:
            chunk.world_from_camera[:, :3, 3] = 0.0
        return chunk


@pytest.mark.parametrize("align", ["sim3", "scale+se3", "se3"])
def test_cameras_that_stand_still_do_not_make_the_next_chunk_vanish(tmp_path, align):
    walk = SimulatedWalk(32)
    told = []
    settings = replace(_SMALL, align=align)
    result = run_stream(walk, _StandsStill(walk), _workspace(tmp_path), settings, warn=told.append)
    assert len(told) == 1 and "by their cameras alone" in told[0]
    assert result.world_from_chunk[1].scale == 1.0
    scene = scene_of_stream(result)
    save_scene(scene, tmp_path / "scene")
    assert np.ptp([camera.center for camera in scene.cameras[20:]], axis=0).max() > 0.01


class _TwoSizes(SimulatedPredictor):
    def predict(self, views, **more):
        chunk = super().predict(views)
        if len(self.calls) == 1:
            return chunk
        return replace(chunk, z_depth=chunk.z_depth[:, ::2], confidence=chunk.confidence[:, ::2])


def test_a_predictor_whose_maps_change_size_is_refused(tmp_path):
    walk = SimulatedWalk(32)
    with pytest.raises(InputError, match="fixed size"):
        run_stream(walk, _TwoSizes(walk), _workspace(tmp_path), _SMALL)


class _DeepWrong(SimulatedPredictor):
    """Agrees about the path, not about the shape of what it sees: depth is bent in every other chunk."""

    def predict(self, views, **more):
        chunk = super().predict(views)
        if len(self.calls) % 2 == 0:
            chunk.z_depth[:] *= np.linspace(0.7, 1.3, self.walk.width, dtype=np.float32)
        return chunk


def test_chunks_that_disagree_about_depth_keep_the_path_whole(tmp_path):
    walk = SimulatedWalk(56)
    result = run_stream(walk, _DeepWrong(walk), _workspace(tmp_path), _SMALL)
    records = [result.workspace.read_record(index) for index in range(1, len(result.windows))]
    assert {record.by for record in records} == {"cameras and depth"}
    assert _error(result, walk) < 0.1


def test_known_masks_keep_movers_out_of_the_seams(tmp_path):
    walk = SimulatedWalk(40)
    mask = np.zeros((walk.height, walk.width), np.float32)
    mask[:, :10] = 1.0

    def known(frames, indices):
        return Views(frames, motion_masks=np.tile(mask, (len(frames), 1, 1)))

    workspace = _workspace(tmp_path)
    run_stream(walk, SimulatedPredictor(walk), workspace, _SMALL, known=known)
    np.testing.assert_array_equal(workspace.read_map(1, "motion", 3), mask)
