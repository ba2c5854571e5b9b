"""Live sources that are too fast, stall, break, change or are stopped: with an online predictor and a chunked one."""

import os
import signal
import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest

from dynamic_predictor.driver.live_source import LiveSource
from dynamic_predictor.driver.scenes import scene_of_stream
from dynamic_predictor.driver.settings import StreamSettings
from dynamic_predictor.driver.sources import open_source
from dynamic_predictor.driver.stream import run_stream
from dynamic_predictor.driver.workspace import StreamWorkspace
from scene.errors import InputError
from scene.images import resize_image, write_png
from scene.trajectory import absolute_trajectory_error
from tests.simulated_stream import (
    ONLINE_SPEC,
    SPEC,
    OnlineSimulatedPredictor,
    SimulatedCamera,
    SimulatedPredictor,
    SimulatedWalk,
    true_poses,
)

_SMALL = StreamSettings(chunk_size=20, overlap=8, loop=False)
_WALK = SimulatedWalk(500)
ONLINE, CHUNKED = "online", "chunked"


class _Run:
    """One stream of `kind`, with everything that it says."""

    def __init__(self, kind: str, folder: Path, *, seconds: float = 0.0, settings=_SMALL, walk=_WALK) -> None:
        self.kind, self.folder, self.settings = kind, folder, settings
        made = OnlineSimulatedPredictor if kind == ONLINE else SimulatedPredictor
        self.predictor = made(walk, seconds=seconds)
        self.told: list[str] = []

    def of(self, source, **options):
        workspace = StreamWorkspace(self.folder / "stream", {}, resume=options.pop("resume", False))
        spec = ONLINE_SPEC if self.kind == ONLINE else SPEC
        result = run_stream(source, self.predictor, spec, workspace, self.settings, warn=self.told.append, **options)
        assert result.workspace.frames_complete
        assert len(scene_of_stream(result).cameras) == len(result.workspace)
        return result


def _camera(*arguments, rate=1e6, **options) -> LiveSource:
    max_frames = options.pop("max_frames", None)
    return LiveSource(
        "camera 0",
        lambda: SimulatedCamera(_WALK, *arguments, **options),
        rate=rate,
        patience=0.5,
        max_frames=max_frames,
    )


@pytest.mark.parametrize("kind", [ONLINE, CHUNKED])
@pytest.mark.parametrize(
    ("then", "words"), [("ends", "stopped delivering"), ("fails", "device unplugged"), ("hangs", "silent for 0.5 s")]
)
def test_a_camera_that_disappears_leaves_what_was_finished_and_one_sentence(tmp_path, kind, then, words):
    run = _Run(kind, tmp_path, seconds=0.05 if kind == CHUNKED else 0.0)
    result = run.of(_camera(45, then))
    count = len(result.workspace)
    assert count >= (20 if kind == CHUNKED else 5)
    assert len(run.told) == 1 and words in run.told[0]
    assert run.told[0].endswith(f"after {count} frames; these frames were processed.")


def test_a_camera_that_gives_nothing_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="camera 0 gave no image"):
        _Run(CHUNKED, tmp_path).of(_camera(0))


@pytest.mark.parametrize("kind", [ONLINE, CHUNKED])
def test_a_live_source_ends_after_its_number_of_frames(tmp_path, kind):
    result = _Run(kind, tmp_path).of(_camera(400, max_frames=25))
    assert len(result.workspace) == 25 and not result.warnings


def test_an_online_predictor_that_is_too_slow_keeps_its_latency_and_drops_images(tmp_path):
    run = _Run(ONLINE, tmp_path, seconds=0.05)
    result = run.of(_camera(150, interval=0.01))
    live = result.timing["live"]
    assert live["policy"] == "latest" and live["frames"] == len(result.workspace) < 60
    assert live["dropped"] > 60 and live["dropped"] + live["frames"] <= 150
    # the newest image is at most one interval of the camera old when a step of 0.05 s begins; the rest is for a busy
    # machine. Without drops, the last of 150 images would be 6 s old
    assert 0.05 <= live["latency_seconds"]["median"] < 0.3
    assert live["latency_seconds"]["percentile_95"] < 1.0
    poses = np.stack([camera.world_from_camera for camera in scene_of_stream(result).cameras])
    truth = true_poses(_WALK, run.predictor.steps)
    assert absolute_trajectory_error(poses, truth, alignment="se3").rmse < 1e-9


def test_all_drops_nothing_that_the_disk_can_take(tmp_path):
    settings = StreamSettings(chunk_size=20, overlap=8, loop=False, live_policy="all")
    run = _Run(ONLINE, tmp_path, seconds=0.03, settings=settings)
    result = run.of(_camera(40, interval=0.01))
    live = result.timing["live"]
    assert live["policy"] == "all" and len(result.workspace) + live["dropped"] == 40
    assert live["dropped"] < 10 and run.predictor.steps == sorted(set(run.predictor.steps))
    # the last image has waited for the steps of those before
    assert live["latency_seconds"]["percentile_95"] > 0.3


def test_a_chunked_predictor_stores_all_by_default_and_the_latest_on_request(tmp_path):
    result = _Run(CHUNKED, tmp_path / "all", seconds=0.1).of(_camera(60, interval=0.005))
    live = result.timing["live"]
    assert live["policy"] == "all" and live["frames"] == len(result.workspace)
    settings = StreamSettings(chunk_size=20, overlap=8, loop=False, live_policy="latest")
    result = _Run(CHUNKED, tmp_path / "latest", seconds=0.3, settings=settings).of(_camera(100, interval=0.005))
    assert result.timing["live"]["policy"] == "latest" and result.timing["live"]["dropped"] > 20


def test_latency_is_shown_while_it_runs(tmp_path):
    class Shown:
        notes: list[tuple[str, str]] = []

        def __call__(self, stage, done, total):
            pass

        def note(self, stage, words):
            self.notes.append((stage, words))

    _Run(ONLINE, tmp_path).of(_camera(10, max_frames=6), progress=Shown())
    assert len(Shown.notes) == 6
    stage, words = Shown.notes[-1]
    assert stage == "live frames" and words.startswith("latency 0.") and words.endswith(" dropped")


@pytest.mark.parametrize("kind", [ONLINE, CHUNKED])
def test_ctrl_c_ends_a_live_source_and_finishes_what_is_there(tmp_path, kind):
    """The signal comes while the predictor works; with the state of an online one nothing happens."""
    run = _Run(kind, tmp_path, seconds=0.02)
    inner = run.predictor.step if kind == ONLINE else run.predictor.predict
    calls = []

    def interrupted(view, **more):
        calls.append(1)
        if len(calls) == (12 if kind == ONLINE else 2):
            os.kill(os.getpid(), signal.SIGINT)
        return inner(view, **more)

    setattr(run.predictor, "step" if kind == ONLINE else "predict", interrupted)
    before = signal.getsignal(signal.SIGINT)
    result = run.of(_camera(10**6, interval=0.01))
    assert signal.getsignal(signal.SIGINT) is before
    count = len(result.workspace)
    assert count in (12, 13) if kind == ONLINE else count >= 32
    assert run.told == []
    if kind == ONLINE:
        assert len(run.predictor.steps) == count  # none twice


def test_ctrl_c_ends_a_camera_that_stalls_without_waiting_for_it(tmp_path):
    source = LiveSource("camera 0", lambda: SimulatedCamera(_WALK, 5, "hangs"), rate=1e6, patience=60.0)
    timer = threading.Timer(0.7, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    begin = time.monotonic()
    result = _Run(ONLINE, tmp_path).of(source)
    timer.cancel()
    assert time.monotonic() - begin < 10 and 2 <= len(result.workspace) <= 5


def test_a_second_ctrl_c_stops_at_once_and_the_run_can_be_resumed_without_the_camera(tmp_path):
    run = _Run(ONLINE, tmp_path, seconds=0.01)
    step, calls = run.predictor.step, []

    def interrupted(view):
        calls.append(1)
        if len(calls) == 30:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        return step(view)

    run.predictor.step = interrupted
    with pytest.raises(KeyboardInterrupt):
        run.of(_camera(10**6, interval=0.001))
    second = _Run(ONLINE, tmp_path)
    result = second.of(_camera(0), resume=True)
    assert len(result.workspace) == 30
    assert len(second.predictor.steps) == 10  # the first chunk of 20 was whole
    assert len(second.told) == 1 and "is not opened again: the 30 frames of before are finished." in second.told[0]


@pytest.mark.parametrize("kind", [ONLINE, CHUNKED])
def test_corrupt_images_of_a_camera_are_left_out_with_one_sentence(tmp_path, kind):
    run = _Run(kind, tmp_path)
    result = run.of(_camera(200, damaged=(2, 3), max_frames=30))
    assert len(result.workspace) == 30
    assert run.told == ["camera 0: 2 frames could not be decoded and were left out."] == result.warnings


def _smaller(count: int, *, turned: bool = False):
    """The images of the walk, after `count` of them at half the size, or `turned` by a quarter."""

    def image(index: int) -> np.ndarray:
        whole = _WALK.image(index)
        if index < count:
            return whole
        return np.ascontiguousarray(np.rot90(whole)) if turned else resize_image(whole, 24, 16)

    return image


@pytest.mark.parametrize("kind", [ONLINE, CHUNKED])
def test_another_resolution_of_the_same_shape_is_brought_to_the_first(tmp_path, kind):
    run = _Run(kind, tmp_path)
    settings = {"interval": 0.01, "image_of": _smaller(10)}
    result = run.of(_camera(200, max_frames=30, **settings))
    assert len(result.workspace) == 30
    frames = result.workspace.frames()
    assert frames.rgb8(0).shape == frames.rgb8(29).shape == (32, 48, 3)
    assert len(run.told) == 1
    assert run.told[0].startswith("camera 0 changes from 48x32 to 24x16 pixels at frame ")
    assert run.told[0].endswith("; from there on, its frames are brought to the first size.")


@pytest.mark.parametrize("kind", [ONLINE, CHUNKED])
def test_a_resolution_of_another_shape_ends_the_stream(tmp_path, kind):
    run = _Run(kind, tmp_path)
    result = run.of(_camera(10**6, interval=0.01, image_of=_smaller(20, turned=True)))
    count = len(result.workspace)
    assert 2 <= count <= 20
    assert run.told == [
        f"camera 0 changes from 48x32 to 32x48 pixels at frame {count}, another shape, so it ends there; the {count} "
        "frames before were processed."
    ]


def _transport_stream(walk: SimulatedWalk, frames: range, width: int, height: int) -> bytes:
    """A video in the container of broadcasts, in which another may follow."""
    import io

    target = io.BytesIO()
    with av.open(target, "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=25, options={"g": "1"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in frames:
            image = resize_image(walk.image(index), width, height)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return target.getvalue()


@pytest.mark.parametrize("kind", [ONLINE, CHUNKED])
@pytest.mark.parametrize(("size", "words"), [((96, 64), "brought to the first size"), ((64, 96), "so it ends there")])
def test_a_video_file_that_changes_its_resolution(tmp_path, kind, size, words):
    walk = SimulatedWalk(40, width=192, height=128)
    path = tmp_path / "walk.ts"
    path.write_bytes(
        _transport_stream(walk, range(20), 192, 128) + _transport_stream(walk, range(20, 40), size[0], size[1])
    )
    run = _Run(kind, tmp_path, walk=walk)
    result = run.of(open_source(str(path)))
    assert len(run.told) == 1 and words in run.told[0]
    count = len(result.workspace)
    assert 36 <= count <= 40 if size == (96, 64) else 17 <= count <= 20


@pytest.mark.parametrize("kind", [ONLINE, CHUNKED])
def test_corrupt_frames_of_a_video_file_are_left_out_with_one_sentence(tmp_path, kind):
    walk = SimulatedWalk(40, width=192, height=128)
    path = tmp_path / "walk.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "5"})
        stream.width, stream.height, stream.pix_fmt = 192, 128, "yuv420p"
        for index in range(40):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(walk.image(index), format="rgb24")))
        container.mux(stream.encode(None))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = bytes(np.random.default_rng(1).integers(0, 256, 3000, dtype=np.uint8))
    path.write_bytes(content)
    run = _Run(kind, tmp_path, walk=walk)
    result = run.of(open_source(str(path)))
    assert 10 <= len(result.workspace) < 40
    assert len(run.told) == 1 and "walk.mkv is damaged" in run.told[0] and "left out" in run.told[0]


def test_a_corrupt_image_of_a_folder_stops_the_run_which_goes_on_when_it_is_mended(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(25):
        write_png(folder / f"{index:02d}.png", _WALK.image(index))
    (folder / "22.png").write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"22\.png is not an image"):
        _Run(ONLINE, tmp_path).of(open_source(str(folder)))
    write_png(folder / "22.png", _WALK.image(22))
    run = _Run(ONLINE, tmp_path)
    result = run.of(open_source(str(folder)), resume=True)
    assert len(result.workspace) == 25 and run.predictor.steps == list(range(20, 25))
