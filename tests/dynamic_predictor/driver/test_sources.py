"""Sources of files: patterns, deep images, animations, and the frames as their files hold them."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dynamic_predictor.driver.intake import Intake
from dynamic_predictor.driver.sources import AnimatedImage, ImageFiles, VideoFile, open_source, open_stored
from dynamic_predictor.driver.workspace import StreamWorkspace
from scene.errors import InputError
from scene.images import write_png
from tests.dynamic_predictor.driver.clip_frames import open_frames
from tests.scene.media.clips import textured, write_clip
from tests.scene.media.test_image_header import png_that_claims

Panning = Callable[..., list[np.ndarray]]


def write_images(folder: Path, images: list[np.ndarray], name: str = "{}.png") -> Path:
    folder.mkdir()
    for index, image in enumerate(images):
        write_png(folder / name.format(index), image)
    return folder


def take(source: ImageFiles | VideoFile | AnimatedImage, folder: Path) -> tuple[StreamWorkspace, Intake]:
    workspace = StreamWorkspace(folder, {}, resume=False)
    intake = Intake(source, workspace, max_size=512)
    intake.take_all()
    intake.finish()
    return workspace, intake


def test_numbered_pattern_in_a_folder_with_brackets(tmp_path: Path) -> None:
    images = textured(4)
    folder = write_images(tmp_path / "clip [4k] 50%", images, "f{}.png")
    for pattern in ("f%d.png", "f*.png", "f[0-3].png"):
        frames = open_frames(str(folder / pattern), working_folder=tmp_path / "work")
        assert len(frames) == 4 and np.array_equal(frames.rgb8(2), images[2])
    with pytest.raises(InputError, match="No file matches"):
        open_source(str(folder / "g%03d.png"))


def test_twelve_bits_in_sixteen_are_scaled_and_said(tmp_path: Path) -> None:
    images = textured(4)
    folder = tmp_path / "deep"
    folder.mkdir()
    for index, image in enumerate(images):
        values = np.rint(image.astype(float) * (4095 / 255)).astype(np.uint16)
        cv2.imwrite(str(folder / f"{index}.png"), values[..., ::-1])
    source = open_source(folder)
    assert isinstance(source, ImageFiles)
    workspace, intake = take(source, tmp_path / "work")
    frames = workspace.frames()
    assert max(np.abs(frames.rgb8(k).astype(int) - images[k]).max() for k in range(4)) <= 1
    assert any("16 bits" in sentence and "uses 12" in sentence for sentence in intake.warnings)
    assert workspace.noted("source_warnings") == intake.warnings
    assert workspace.source_description["integer_bits"] == 12
    original = next(source.originals([3]))
    assert original.codes.dtype == np.uint16
    assert np.abs(original.codes / 65535 - images[3] / 255).max() < 1 / 4095


def test_a_dark_frame_of_a_deep_clip_stays_dark(tmp_path: Path) -> None:
    """The depth is that of the clip: a frame with small values is not stretched by itself."""
    folder = tmp_path / "deep"
    folder.mkdir()
    for index, image in enumerate(textured(3)):
        largest = 1023 if index == 1 else 65535
        cv2.imwrite(str(folder / f"{index}.png"), np.rint(image * (largest / 255.0)).astype(np.uint16))
    source = open_source(folder)
    images = [image.pixels for image in source.images()]
    assert source.notes == () and images[1].max() <= 4 and images[2].max() > 200


def test_an_animation_is_a_clip(tmp_path: Path) -> None:
    images = textured(6)
    first, *rest = [Image.fromarray(image) for image in images]
    path = tmp_path / "clip.png"
    first.save(path, save_all=True, append_images=rest, duration=40)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "clip.png").write_bytes(path.read_bytes())
    for given in (path, tmp_path / "folder"):
        source = open_stored(given, slice(1, 6, 2))
        assert isinstance(source, AnimatedImage)
        workspace, intake = take(source, tmp_path / "work")
        assert workspace.positions == [1, 3, 5] and "animation of 6" in intake.warnings[0]
        assert np.array_equal(workspace.frames().rgb8(1), images[3])
        assert [item.position for item in source.originals([0, 5])] == [0, 5]


def test_a_large_file_of_another_size_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "clip", textured(2))
    png_that_claims(folder / "2.png", 10000, 10000)
    with pytest.raises(InputError, match="2.png is 10000x10000 but the first frame is 160x120"):
        open_frames(folder, working_folder=tmp_path / "work")


@pytest.mark.parametrize("kind", ["folder", "pattern", "video"])
def test_originals_are_whole_and_at_the_places_of_the_frames(tmp_path: Path, kind: str) -> None:
    images = textured(8)
    folder = write_images(tmp_path / "clip", images)
    video = write_clip(tmp_path / "clip.mkv", images, codec="ffv1", pix_fmt="bgr0")
    given = {"folder": folder, "pattern": str(folder / "%d.png"), "video": video}[kind]
    source = open_stored(given, slice(1, None, 3))
    workspace, _ = take(source, tmp_path / "work")  # type: ignore[arg-type]
    originals = list(source.originals(workspace.positions))
    assert [original.position for original in originals] == workspace.positions == [1, 4, 7]
    for original in originals:
        assert original.codes.dtype == np.uint8 and np.array_equal(original.codes, images[original.position])
        assert original.encoding.is_display_rgb


def test_a_trimmed_clip_is_taken_without_complaint(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", textured(12), audio_seconds=3)
    _, intake = take(VideoFile(path), tmp_path / "work")
    assert intake.warnings == [] and intake.ended is None


def test_what_a_folder_holds_instead_is_named(tmp_path: Path) -> None:
    (tmp_path / "frame.exr").touch()
    with pytest.raises(InputError, match=r"\.exr files"):
        open_source(tmp_path)
