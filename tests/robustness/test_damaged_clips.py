"""Clips with damaged bytes are read, or refused in one sentence; nothing else happens."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from dynamic_predictor.driver.sources import open_stored
from scene.errors import InputError
from tests.scene.media.clips import textured, write_clip


def animation(path: Path) -> None:
    first, *rest = [Image.fromarray(image) for image in textured(3, 48, 32)]
    first.save(path, save_all=True, append_images=rest, duration=40)


def picture(path: Path) -> None:
    cv2.imwrite(str(path), textured(1, 48, 32)[0])


def deep_picture(path: Path) -> None:
    cv2.imwrite(str(path), textured(1, 48, 32)[0].astype(np.uint16) * 200)


def video(codec: str, pix_fmt: str = "yuv420p") -> Callable[[Path], object]:
    return lambda path: write_clip(path, textured(6, 48, 32), codec=codec, pix_fmt=pix_fmt)


KINDS: dict[str, Callable[[Path], object]] = {
    "clip.mp4": video("libx264"),
    "clip.mkv": video("libx264"),
    "clip.avi": video("mpeg4"),
    "clip.webm": video("libvpx"),
    "clip.ts": video("mpeg2video"),
    "clip.gif": video("gif", "rgb8"),
    "clip.webp": animation,
    "clip.png": animation,
    "picture.png": picture,
    "picture.jpg": picture,
    "picture.tif": deep_picture,
    "deep.png": deep_picture,
    "picture.jp2": picture,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    for name, write in KINDS.items():
        write(folder / name)
    return folder


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.binary(min_size=1, max_size=8)), max_size=4),
    kept=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_damage_is_one_sentence(
    tmp_path: Path, whole: Path, name: str, changes: list[tuple[float, bytes]], kept: float
) -> None:
    content = bytearray((whole / name).read_bytes())
    for place, new in changes:
        start = int(place * len(content))
        content[start : start + len(new)] = new
    path = tmp_path / name
    path.write_bytes(content[: int(len(content) * kept)])
    try:
        source = open_stored(path)
        for image in source.images():
            assert image.pixels.dtype == np.uint8 and image.pixels.ndim == 3 and image.pixels.shape[2] == 3
        for original in source.originals([0]):
            assert original.codes.ndim == 3
    except InputError as error:
        assert "\n" not in str(error) and str(error).endswith(".")
    said = [*source.notes, source.ended or ""] if "source" in locals() else []
    assert all("\n" not in sentence for sentence in said)
