"""Reading clips: every kind of source, stored once and checked, and one sentence for each kind of bad input."""

import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from dynamic_predictor.driver.intake import Intake
from dynamic_predictor.driver.sources import open_source
from dynamic_predictor.driver.workspace import StreamWorkspace
from scene.errors import InputError
from scene.frames import natural_order, parse_frame_range
from scene.images import write_png
from scene.video import write_video
from tests.dynamic_predictor.driver.clip_frames import open_frames, read_clip
from tests.paths import ROOT

Panning = Callable[..., list[np.ndarray]]


def write_folder(folder: Path, images: list[np.ndarray], names: list[str] | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    for index, image in enumerate(images):
        write_png(folder / (names[index] if names else f"{index}.png"), image)
    return folder


def encode(path: Path, images: list[np.ndarray], times: list[int], codec: str = "libx264", **options: str) -> None:
    """A video with the given times in milliseconds, written without the code under test."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30, options=options)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for image, time in zip(images, times, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_folder_in_natural_order(tmp_path: Path, panning: Panning) -> None:
    images = panning(12)
    folder = write_folder(tmp_path / "clip", images, [f"frame{index}.png" for index in range(12)])
    (folder / ".hidden.png").write_text("not an image")
    (folder / "notes.txt").write_text("not an image")
    frames = open_frames(folder, working_folder=tmp_path / "work")
    assert len(frames) == 12 and (frames.width, frames.height) == (96, 64)
    assert list(frames.names) == [f"{index:05d}.png" for index in range(12)]
    for index, image in enumerate(images):
        assert np.array_equal(frames.rgb8(index), image)
    assert frames[3].dtype == np.float32 and np.allclose(frames[3] * 255, images[3])


def test_glob_and_list(tmp_path: Path, panning: Panning) -> None:
    images = panning(6)
    folder = write_folder(tmp_path / "clip", images, [f"{kind}{i}.png" for i in range(3) for kind in "ab"])
    by_glob = open_frames(str(folder / "b*.png"), working_folder=tmp_path / "one")
    assert len(by_glob) == 3 and np.array_equal(by_glob.rgb8(1), images[3])
    (folder / "bnotes.txt").write_text("not an image")
    assert len(open_frames(str(folder / "b*"), working_folder=tmp_path / "three")) == 3
    with pytest.raises(InputError, match="None of the 2 files"):
        (folder / "bmore.txt").touch()
        open_frames(str(folder / "b*.txt"), working_folder=tmp_path / "four")
    listed = [folder / "a2.png", str(folder / "a0.png")]
    by_list = open_frames(listed, working_folder=tmp_path / "two")
    assert np.array_equal(by_list.rgb8(0), images[4]) and np.array_equal(by_list.rgb8(1), images[0])


def test_frame_range(tmp_path: Path, panning: Panning) -> None:
    images = panning(10)
    folder = write_folder(tmp_path / "clip", images)
    frames = open_frames(folder, frame_range="2:9:3", working_folder=tmp_path / "work")
    assert [np.array_equal(frames.rgb8(i), images[p]) for i, p in enumerate([2, 5, 8])] == [True] * 3
    assert np.allclose(frames.timestamps, np.array([2, 5, 8]) / 30)
    write_video(tmp_path / "clip.mp4", images, 10)
    video = open_frames(tmp_path / "clip.mp4", frame_range=slice(2, 9, 3), working_folder=tmp_path / "work2")
    assert np.allclose(video.timestamps, [0.2, 0.5, 0.8])
    for index, position in enumerate([2, 5, 8]):
        differences = [np.abs(video.rgb8(index).astype(int) - image).mean() for image in images]
        assert np.argmin(differences) == position


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, slice(None)),
        (":", slice(None)),
        ("5", slice(0, 5)),
        ("2:", slice(2, None)),
        (":7", slice(None, 7)),
        ("1:9:2", slice(1, 9, 2)),
        ("::3", slice(None, None, 3)),
    ],
)
def test_parse_frame_range(text: str | None, expected: slice) -> None:
    assert parse_frame_range(text) == expected


@pytest.mark.parametrize("text", ["a:b", "1:2:3:4", "-5:", "1.5:2", "0:10:0", "::-1"])
def test_bad_frame_range(tmp_path: Path, panning: Panning, text: str) -> None:
    folder = write_folder(tmp_path / "clip", panning(4))
    with pytest.raises(InputError):
        open_frames(folder, frame_range=text, working_folder=tmp_path / "work")


def test_range_beyond_the_clip(tmp_path: Path, panning: Panning) -> None:
    folder = write_folder(tmp_path / "clip", panning(4))
    with pytest.raises(InputError, match="no frame in the chosen range"):
        open_frames(folder, frame_range="10:20", working_folder=tmp_path / "work")
    write_video(tmp_path / "clip.mp4", panning(4), 30)
    with pytest.raises(InputError, match="no frame in the chosen range"):
        open_frames(tmp_path / "clip.mp4", frame_range="9:5", working_folder=tmp_path / "work")


def test_times_of_a_video_with_variable_rate(tmp_path: Path, panning: Panning) -> None:
    times = [500, 533, 700, 710, 5200, 5233]
    encode(tmp_path / "clip.mkv", panning(6), times)
    frames = open_frames(tmp_path / "clip.mkv", working_folder=tmp_path / "work")
    assert np.allclose(frames.timestamps, (np.array(times) - 500) / 1000, atol=1e-6)


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".mp4", "libx264"), (".avi", "mpeg4"), (".webm", "libvpx"), (".mov", "mjpeg")]
)
def test_video_kinds(tmp_path: Path, panning: Panning, suffix: str, codec: str) -> None:
    images = panning(8)
    path = tmp_path / f"clip{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30)
        stream.width, stream.height = 96, 64
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.bit_rate = 4_000_000
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    frames = open_frames(path, working_folder=tmp_path / "work")
    assert len(frames) == 8
    assert np.abs(frames.rgb8(4).astype(int) - images[4]).mean() < 6


def test_large_images_shrink_small_ones_stay(tmp_path: Path, panning: Panning) -> None:
    write_video(tmp_path / "clip.mp4", panning(3, 200, 120), 30)
    frames = open_frames(tmp_path / "clip.mp4", max_size=100, working_folder=tmp_path / "work")
    assert (frames.width, frames.height) == (100, 60)
    folder = write_folder(tmp_path / "odd", panning(3, 101, 67))
    assert open_frames(folder, max_size=512, working_folder=tmp_path / "work2").rgb8(0).shape == (67, 101, 3)
    frames = open_frames(folder, max_size=75, working_folder=tmp_path / "work3")
    assert (frames.width, frames.height) == (75, 50)
    frames = open_frames(folder, max_size=None, working_folder=tmp_path / "work4")
    assert (frames.width, frames.height) == (101, 67)


@pytest.mark.parametrize("quarter_turns", [0, 1, 2, 3])
def test_rotated_phone_video(tmp_path: Path, panning: Panning, quarter_turns: int) -> None:
    """The matrix in the track header (ISO 14496-12, tkhd) turns the image clockwise by quarter turns."""
    images = panning(4)
    path = tmp_path / "phone.mp4"
    write_video(path, images, 30)
    content = bytearray(path.read_bytes())
    cosine, sine = [(1, 0), (0, 1), (-1, 0), (0, -1)][quarter_turns]
    one = 1 << 16
    matrix = [cosine * one, sine * one, 0, -sine * one, cosine * one, 0, 0, 0, 1 << 30]
    start = content.index(b"tkhd") + 4 + 40  # version 0: 40 bytes before the matrix
    content[start : start + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in matrix)
    path.write_bytes(content)
    frames = open_frames(path, working_folder=tmp_path / "work")
    expected = np.rot90(images[2], -quarter_turns)
    assert frames.rgb8(2).shape == expected.shape
    assert np.abs(frames.rgb8(2).astype(int) - expected).mean() < 6


def test_pixels_that_are_not_square(tmp_path: Path, panning: Panning) -> None:
    images = panning(3, 96, 64)
    with av.open(str(tmp_path / "wide.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    frames = open_frames(tmp_path / "wide.mp4", working_folder=tmp_path / "work")
    assert (frames.width, frames.height) == (128, 64)


def test_missing_path(tmp_path: Path) -> None:
    for source in (tmp_path / "nothing", tmp_path / "nothing.mp4", str(tmp_path / "*.png")):
        with pytest.raises(InputError) as caught:
            open_frames(source, working_folder=tmp_path / "work")
        assert str(caught.value).count("\n") == 0 and "work" not in str(caught.value)
    with pytest.raises(InputError):
        open_frames([], working_folder=tmp_path / "work")
    with pytest.raises(InputError, match="does not exist"):
        open_frames([tmp_path / "a.png", tmp_path / "b.png"], working_folder=tmp_path / "work")


def test_empty_folder_and_helpful_hint(tmp_path: Path, panning: Panning) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no images"):
        open_frames(tmp_path / "empty", working_folder=tmp_path / "work")
    write_folder(tmp_path / "empty" / "rgb", panning(2))
    with pytest.raises(InputError, match="but .*rgb does"):
        open_frames(tmp_path / "empty", working_folder=tmp_path / "work")


def test_one_frame(tmp_path: Path, panning: Panning) -> None:
    folder = write_folder(tmp_path / "clip", panning(1))
    with pytest.raises(InputError, match="only one frame"):
        open_frames(folder, working_folder=tmp_path / "work")
    with pytest.raises(InputError, match="only one frame"):
        open_frames(folder / "0.png", working_folder=tmp_path / "work")
    write_video(tmp_path / "clip.mp4", panning(1), 30)
    with pytest.raises(InputError, match="only one frame"):
        open_frames(tmp_path / "clip.mp4", working_folder=tmp_path / "work")


def test_frames_that_are_all_the_same(tmp_path: Path, panning: Panning) -> None:
    folder = write_folder(tmp_path / "clip", panning(1) * 2)
    with pytest.raises(InputError, match="same image"):
        open_frames(folder, working_folder=tmp_path / "work")
    for quality in (18, 28, 35):
        write_video(tmp_path / "still.mp4", panning(1) * 20, 30, quality=quality)
        with pytest.raises(InputError, match="same image"):
            open_frames(tmp_path / "still.mp4", working_folder=tmp_path / "work")


def test_a_standing_camera_with_noise_is_a_clip(tmp_path: Path, panning: Panning) -> None:
    generator = np.random.default_rng(0)
    noisy = [np.clip(panning(1)[0] + generator.normal(0, 2, (64, 96, 3)), 0, 255).astype(np.uint8) for _ in range(3)]
    assert len(open_frames(write_folder(tmp_path / "clip", noisy), working_folder=tmp_path / "work")) == 3


def test_a_standing_camera_with_something_small_that_moves_is_a_clip(tmp_path: Path, panning: Panning) -> None:
    images = [image.copy() for image in panning(1) * 5]
    for index, image in enumerate(images):
        image[30:34, 10 * index : 10 * index + 4] = [255, 40, 40]
    write_video(tmp_path / "clip.mp4", images, 30)
    assert len(open_frames(tmp_path / "clip.mp4", working_folder=tmp_path / "work")) == 5


def test_mixed_sizes_name_the_file(tmp_path: Path, panning: Panning) -> None:
    folder = write_folder(tmp_path / "clip", [*panning(3), *panning(1, 80, 64)])
    with pytest.raises(InputError, match=r"3\.png is 80x64 but the first frame is 96x64"):
        open_frames(folder, working_folder=tmp_path / "work")


def test_a_damaged_image_names_the_file(tmp_path: Path, panning: Panning) -> None:
    folder = write_folder(tmp_path / "clip", panning(3))
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:300])
    with pytest.raises(InputError, match=r"1\.png"):
        open_frames(folder, working_folder=tmp_path / "work")


@pytest.mark.parametrize("content", [b"", b"This is a text, not a video.\n" * 50, os.urandom(5000), bytes(4096)])
def test_not_a_video(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"clip\.mp4"):
        open_frames(path, working_folder=tmp_path / "work")


def test_sound_without_images(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(InputError, match="no video stream"):
        open_frames(tmp_path / "sound.mp4", working_folder=tmp_path / "work")


def test_video_cut_off_keeps_what_decodes(tmp_path: Path, panning: Panning) -> None:
    path = tmp_path / "clip.mp4"
    write_video(path, panning(40), 30)  # the index is at the front
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * 0.7)])
    frames, ended = read_clip(path, working_folder=tmp_path / "work")
    assert 5 < len(frames) < 40
    assert ended is not None and "damaged" in ended


def test_video_without_its_index(tmp_path: Path, panning: Panning) -> None:
    encode(tmp_path / "clip.mp4", panning(20), [33 * index for index in range(20)])  # the index is at the end
    content = (tmp_path / "clip.mp4").read_bytes()
    (tmp_path / "clip.mp4").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="not a video that can be decoded"):
        open_frames(tmp_path / "clip.mp4", working_folder=tmp_path / "work")


def test_video_with_holes(tmp_path: Path, panning: Panning) -> None:
    """Bytes in the middle overwritten: the clip still opens or is refused in one sentence, nothing else."""
    encode(tmp_path / "clip.mkv", panning(40), [33 * index for index in range(40)], g="10")
    content = bytearray((tmp_path / "clip.mkv").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = bytes(np.random.default_rng(1).integers(0, 256, 400, dtype=np.uint8))
    (tmp_path / "holes.mkv").write_bytes(content)
    frames, ended = read_clip(tmp_path / "holes.mkv", working_folder=tmp_path / "work")
    # the group of ten before the hole is whole; whether the first damaged frame comes is up to the decoder's threads
    assert 10 <= len(frames) <= 40 and ended is not None
    assert np.all(np.diff(frames.timestamps) > 0)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path, panning: Panning) -> None:
    write_video(tmp_path / "clip.mp4", panning(3), 30)
    (tmp_path / "clip.mp4").chmod(0)
    with pytest.raises(InputError, match="permission"):
        open_frames(tmp_path / "clip.mp4", working_folder=tmp_path / "work")
    folder = write_folder(tmp_path / "clip", panning(3))
    folder.chmod(0)
    try:
        with pytest.raises(InputError, match="permission"):
            open_frames(folder, working_folder=tmp_path / "work")
    finally:
        folder.chmod(0o700)


def test_permission_errors_become_sentences(tmp_path: Path, panning: Panning, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for root, who is never refused: the system's refusal is played."""
    write_video(tmp_path / "clip.mp4", panning(3), 30)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(InputError, match="may not be read"):
        open_frames(tmp_path / "clip.mp4", working_folder=tmp_path / "work")


def test_full_disk_while_reading(tmp_path: Path, panning: Panning, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "clip", panning(5))
    write_bytes = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name.startswith(".00003-"):
            raise OSError(28, "No space left on device")
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match=r"00003\.png cannot be written: the disk is full"):
        open_frames(folder, working_folder=tmp_path / "work")


def test_tiny_images(tmp_path: Path, panning: Panning) -> None:
    folder = write_folder(tmp_path / "clip", panning(3, 200, 10))
    with pytest.raises(InputError, match="at least 16 pixels"):
        open_frames(folder, working_folder=tmp_path / "work")
    with pytest.raises(InputError, match="at least 16 pixels"):
        open_frames(folder, max_size=4, working_folder=tmp_path / "work")


def test_progress_counts_up(tmp_path: Path, panning: Panning) -> None:
    write_video(tmp_path / "clip.mp4", panning(6), 30)
    calls: list[tuple[str, int, int]] = []
    open_frames(
        tmp_path / "clip.mp4",
        working_folder=tmp_path / "work",
        progress=lambda stage, done, total: calls.append((stage, done, total)),
    )
    assert [done for _, done, _ in calls] == list(range(2, 7)) and calls[-1] == ("reading frames", 6, 6)


def test_natural_order() -> None:
    assert sorted(["f10.png", "f9.png", "F1.png", "a.png"], key=natural_order) == [
        "a.png",
        "F1.png",
        "f9.png",
        "f10.png",
    ]


_MEASURE_PEAK = """
import resource, sys
from pathlib import Path
from tests.dynamic_predictor.driver.clip_frames import open_frames
import cv2, numpy as np
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
frames = open_frames(sys.argv[1], working_folder=Path(sys.argv[2]))
for index in range(len(frames)):
    frames.rgb8(index)
print(len(frames), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_full_hd_is_never_decoded_all_at_once(tmp_path: Path, panning: Panning) -> None:
    """90 frames of 1080p would be 560 MB; reading them may not take near as much."""
    base = panning(10, 1920, 1080)
    encode(tmp_path / "hd.mp4", base * 9, [33 * index for index in range(90)], preset="ultrafast")
    root = ROOT
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE_PEAK, str(tmp_path / "hd.mp4"), str(tmp_path / "work")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    count, kilobytes = map(int, done.stdout.split())
    assert count == 90
    assert kilobytes < 330 * 1024  # 128 MiB of it is the cache of small images


def test_transparent_pixels_are_not_observed(tmp_path: Path, panning: Panning) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    images = panning(3, 96, 64)
    alpha = np.full((64, 96), 255, np.uint8)
    alpha[:, :24], alpha[:, 24:32] = 0, 128
    for index, image in enumerate(images):
        layers = np.dstack([image, alpha if index else np.full_like(alpha, 255)])
        Image.fromarray(layers, "RGBA").save(folder / f"{index}.png")
    workspace = StreamWorkspace(tmp_path / "work", {}, resume=False)
    intake = Intake(open_source(folder), workspace, max_size=None)
    intake.take_all()
    intake.finish()
    warnings = intake.warnings
    observed, frames = workspace.observed(), workspace.frames()
    assert observed is not None and len(observed) == 3
    assert observed[0].min() == 1.0 and np.allclose(observed[1] * 255, alpha)
    # colors are those of the file, not mixed with black; under alpha 0 there is none
    assert np.array_equal(frames.rgb8(1)[:, 24:], images[1][:, 24:]) and not frames.rgb8(1)[:, :24].any()
    assert np.array_equal(frames.rgb8(0), images[0])
    assert len(warnings) == 1 and "transparent in 19.4 % of its pixels" in warnings[0]


def test_the_color_of_transparent_pixels_does_not_bleed_when_frames_shrink(tmp_path: Path, panning: Panning) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    for index in range(2):
        layers = np.zeros((64, 96, 4), np.uint8)
        layers[..., :3] = 200 + index, 100, 50
        layers[:, 33:] = 0, 255, 0, 0
        layers[:, :33, 3] = 255
        Image.fromarray(layers, "RGBA").save(folder / f"{index}.png")
    workspace = StreamWorkspace(tmp_path / "work", {}, resume=False)
    intake = Intake(open_source(folder), workspace, max_size=48)
    intake.take_all()
    intake.finish()
    observed = workspace.observed()
    assert observed is not None and np.allclose(observed[0][5, 15:18], [1, 0.5, 0], atol=0.01)
    assert np.abs(workspace.frames().rgb8(0)[:, :17].astype(int) - [200, 100, 50]).max() <= 1


def test_opaque_alpha_is_no_news(tmp_path: Path, panning: Panning) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    for index, image in enumerate(panning(2)):
        Image.fromarray(np.dstack([image, np.full(image.shape[:2], 255, np.uint8)]), "RGBA").save(
            folder / f"{index}.png"
        )
    workspace = StreamWorkspace(tmp_path / "work", {}, resume=False)
    intake = Intake(open_source(folder), workspace, max_size=None)
    intake.take_all()
    assert workspace.observed() is None and intake.warnings == []


def test_a_clip_that_is_transparent_everywhere_is_refused(tmp_path: Path, panning: Panning) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    for index, image in enumerate(panning(2)):
        Image.fromarray(np.dstack([image, np.zeros(image.shape[:2], np.uint8)]), "RGBA").save(folder / f"{index}.png")
    intake = Intake(open_source(folder), StreamWorkspace(tmp_path / "work", {}, resume=False), max_size=None)
    intake.take_all()
    with pytest.raises(InputError, match="transparent everywhere"):
        intake.finish()
