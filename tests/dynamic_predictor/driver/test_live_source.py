"""The queue between a camera and whoever takes its images: which are dropped, how old they are, how it ends."""

import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest

from dynamic_predictor.driver.live_source import WAITING_IMAGES, DamagedFrame, LiveSource, NetworkReader
from scene.errors import InputError
from tests.simulated_stream import SimulatedCamera, SimulatedWalk


class _Script:
    """A reader whose images and times a test decides: each image has its number in every pixel."""

    def __init__(self, times: list[float]) -> None:
        self._times, self._given = times, 0
        self.now = 0.0
        self.may_read = threading.Semaphore(0)
        self.was_read = threading.Semaphore(0)

    def read(self) -> np.ndarray | None:
        self.was_read.release()  # the image before is in the queue
        self.may_read.acquire()
        if self._given == len(self._times):
            return None
        self.now = self._times[self._given]
        self._given += 1
        return np.full((2, 2, 3), self._given - 1, np.uint8)

    def give(self, count: int) -> None:
        """Returns when `count` more images were read."""
        for _ in range(count):
            self.may_read.release()
            self.was_read.acquire()

    def close(self) -> None:
        pass


def _opened(script: _Script, policy, rate: float):
    source = LiveSource("camera 0", lambda: script, rate=rate, clock=lambda: script.now)
    images = source.images(policy=policy)
    return source, images


def _begin(script: _Script, images) -> int:
    """The number of the first image, which is given while it is waited for."""
    starter = threading.Thread(target=lambda: (script.was_read.acquire(), script.give(1)))
    starter.start()
    first = next(images)
    starter.join()
    return int(first.pixels[0, 0, 0])


def test_latest_gives_the_newest_image_and_counts_those_that_nobody_took():
    script = _Script([0.1 * index for index in range(40)])
    source, images = _opened(script, "latest", rate=5.0)  # every second image is due
    assert _begin(script, images) == 0
    script.give(21)  # the taker is busy for 2.1 seconds: images 2, 4, ... 20 were due
    image = next(images)
    assert int(image.pixels[0, 0, 0]) == 21 and image.time == pytest.approx(2.1)
    assert source.dropped == 9 and source.age(image.time) == pytest.approx(0.0)
    images.close()
    assert source.stopped


def test_all_keeps_a_bounded_number_of_due_images_in_their_order():
    script = _Script([0.1 * index for index in range(60)])
    source, images = _opened(script, "all", rate=5.0)
    assert _begin(script, images) == 0
    script.give(2 * WAITING_IMAGES)
    assert source.dropped == 0
    script.give(6)  # three due images more than there is room for: the oldest give way
    assert source.dropped == 3
    taken = [next(images) for _ in range(WAITING_IMAGES)]
    assert [int(image.pixels[0, 0, 0]) for image in taken] == list(range(8, 8 + 2 * WAITING_IMAGES, 2))
    assert source.age(taken[0].time) == pytest.approx(2.2 - 0.8)
    images.close()


def test_a_rate_that_does_not_divide_that_of_the_camera_is_kept_on_average():
    walk, count, now = SimulatedWalk(2), 300, [0.0]

    class Camera(SimulatedCamera):
        def read(self):
            now[0] += 1 / 30
            return super().read()

    source = LiveSource("camera 0", lambda: Camera(walk, count, interval=0.0), rate=20.0, clock=lambda: now[0])
    taken = len(list(source.images()))
    assert taken + source.dropped == pytest.approx(20 * count / 30, abs=1)


def test_damaged_images_are_left_out_and_said_once():
    walk = SimulatedWalk(40)
    camera = SimulatedCamera(walk, 30, damaged=(3, 10, 29))
    source = LiveSource("camera 0", lambda: camera, rate=1e6)
    assert len(list(source.images())) == 28 - 1
    # the last one is no damage in the middle: the camera ended there
    assert source.ended == (
        "camera 0 stopped delivering images after 27 frames (2 frames could not be decoded and were left out); these "
        "frames were processed."
    )
    source = LiveSource("camera 0", lambda: SimulatedCamera(walk, 30, damaged=(1,)), rate=1e6, max_frames=5)
    assert len(list(source.images())) == 5
    assert source.ended == "camera 0: 1 frame could not be decoded and was left out."


def test_a_camera_that_gives_only_damage_is_silent():
    walk = SimulatedWalk(2)
    camera = SimulatedCamera(walk, 10**6, damaged=range(10**6))
    with pytest.raises(InputError, match=r"camera 0 gave no image: it has been silent for 0\.2 s"):
        next(LiveSource("camera 0", lambda: camera, patience=0.2).images())


def test_a_stopped_source_does_not_wait_for_a_camera_that_hangs():
    source = LiveSource("camera 0", lambda: SimulatedCamera(SimulatedWalk(9), 3, "hangs"), rate=1e6, patience=60.0)
    threading.Timer(0.3, source.stop).start()
    begin = time.monotonic()
    assert len(list(source.images())) == 3 and source.ended is None
    assert time.monotonic() - begin < 5


def _transport_stream(path: Path, walk: SimulatedWalk, count: int) -> bytes:
    """A video in the container of broadcasts, of pictures that do not depend on each other."""
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=25, options={"g": "1"})
        stream.width, stream.height, stream.pix_fmt = walk.width, walk.height, "yuv420p"
        for index in range(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(walk.image(index), format="rgb24")))
        container.mux(stream.encode(None))
    return path.read_bytes()


def test_a_network_stream_goes_on_after_a_damaged_frame(tmp_path, range_server):
    walk = SimulatedWalk(30, width=192, height=128)
    content = bytearray(_transport_stream(tmp_path / "walk.ts", walk, 30))
    middle = len(content) // 2 // 188 * 188
    for packet in range(middle, middle + 6 * 188, 188):
        content[packet + 12 : packet + 180] = bytes(168)  # headers stay, pictures do not
    range_server.files["/walk.ts"] = bytes(content)
    reader = NetworkReader(f"{range_server.url}/walk.ts")
    whole, damaged = 0, 0
    while True:
        try:
            image = reader.read()
        except DamagedFrame:
            damaged += 1
            continue
        if image is None:
            break
        assert image.shape == (128, 192, 3)
        whole += 1
    reader.close()
    assert damaged >= 1 and 20 <= whole < 30
