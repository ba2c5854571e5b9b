"""Frames as files: linked where they are PNG files already, else encoded once."""

import os
from pathlib import Path

import numpy as np
import pytest

import scene.frame_files
from scene.folder import load_scene, save_scene
from scene.formats.registry import export
from scene.frame_files import frame_writer, store_frames
from scene.frames import ImageFolderFrames, MemoryFrames
from scene.images import read_image, write_png
from scene.scene import Scene


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Paths of the frames that were encoded."""
    paths: list[Path] = []

    def record(path: Path, pixels: np.ndarray) -> None:
        paths.append(path)
        write_png(path, pixels)

    monkeypatch.setattr(scene.frame_files, "write_png", record)
    return paths


def stored(tmp_path: Path, stored_as_png: bool = True, count: int = 3) -> ImageFolderFrames:
    paths = [tmp_path / "stored" / f"{index:05d}.png" for index in range(count)]
    (tmp_path / "stored").mkdir()
    for index, path in enumerate(paths):
        write_png(path, np.random.default_rng(index).integers(0, 256, (20, 30, 3), np.uint8))
    return ImageFolderFrames(paths, stored_as_png=stored_as_png)


def test_stored_frames_are_linked(tmp_path: Path, encoded: list[Path]) -> None:
    frames = stored(tmp_path)
    assert store_frames(frames, tmp_path / "images") == ["00000.png", "00001.png", "00002.png"]
    assert (tmp_path / "images" / "00001.png").samefile(frames.paths[1]) and not encoded


def test_other_frames_are_encoded_once(tmp_path: Path, encoded: list[Path]) -> None:
    frames = stored(tmp_path, stored_as_png=False)
    store_frames(frames, tmp_path / "images")
    store_frames(frames, tmp_path / "images")
    assert len(encoded) == 3 and len(list((tmp_path / "images").iterdir())) == 3
    assert np.array_equal(read_image(tmp_path / "images" / "00002.png"), frames.rgb8(2))


def test_other_images_of_the_same_names_are_replaced(tmp_path: Path) -> None:
    store_frames(stored(tmp_path), tmp_path / "images")
    other = MemoryFrames(np.full((3, 20, 30, 3), 9, np.uint8))
    store_frames(other, tmp_path / "images")
    assert read_image(tmp_path / "images" / "00000.png").max() == 9


def test_frames_are_copied_where_there_are_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    frames = stored(tmp_path)
    frame_writer(frames)(1, tmp_path / "copy.png")
    assert not (tmp_path / "copy.png").samefile(frames.paths[1])
    assert (tmp_path / "copy.png").read_bytes() == frames.paths[1].read_bytes()


def test_rewriting_a_stored_frame_does_not_change_its_links(tmp_path: Path) -> None:
    frames = stored(tmp_path)
    store_frames(frames, tmp_path / "images")
    before = read_image(tmp_path / "images" / "00000.png")
    write_png(frames.paths[0], np.zeros((20, 30, 3), np.uint8))
    assert np.array_equal(read_image(tmp_path / "images" / "00000.png"), before)


def test_a_scene_and_its_exports_encode_no_stored_frame(
    tmp_path: Path, small_scene: Scene, encoded: list[Path]
) -> None:
    """From the stored clip to a scene, a second scene, and two exports of it."""
    assert isinstance(small_scene.frames, ImageFolderFrames)
    small_scene.frames.stored_as_png = True
    save_scene(small_scene, tmp_path / "first")
    save_scene(load_scene(tmp_path / "first"), tmp_path / "second")
    export(load_scene(tmp_path / "second"), tmp_path / "second", "nerfstudio,das3r")
    assert not encoded
    original = small_scene.frames.paths[2]
    for copy in ("first/images/00002.png", "second/images/00002.png", "second/das3r/frame_0002.png"):
        assert (tmp_path / copy).samefile(original)
