"""The depth of 16-bit images, found over the whole clip."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from scene.images import read_layers, read_original
from scene.media.integer_range import clip_bits, own_bits


def write_deep(path: Path, values: np.ndarray) -> Path:
    cv2.imwrite(str(path), values)
    return path


def ramp(largest: int) -> np.ndarray:
    return np.linspace(0, largest, 20 * 30).reshape(20, 30).astype(np.uint16)


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_depth_is_that_of_the_brightest_frame(tmp_path: Path, bits: int, suffix: str) -> None:
    largest = (1 << bits) - 1
    files = [write_deep(tmp_path / f"{k}{suffix}", ramp(largest // (8 >> k))) for k in range(4)]
    assert clip_bits(files) == (bits, largest)
    color, _ = read_layers(files[3], full_scale=largest)
    assert np.array_equal(color[..., 1], np.rint(ramp(largest) * (255 / largest)).astype(np.uint8))
    assert read_original(files[3], full_scale=largest).max() == 65535


def test_files_that_use_all_bits_are_left_alone(tmp_path: Path) -> None:
    files = [write_deep(tmp_path / "0.png", ramp(900)), write_deep(tmp_path / "1.png", ramp(60000))]
    assert clip_bits(files) is None
    assert clip_bits([write_deep(tmp_path / "8.png", np.zeros((9, 9, 3), np.uint8))]) is None
    assert clip_bits([write_deep(tmp_path / "black.png", ramp(0))]) is None


def test_alpha_does_not_count(tmp_path: Path) -> None:
    layers = np.dstack([ramp(1000)] * 3 + [np.full((20, 30), 65535, np.uint16)])
    assert clip_bits([write_deep(tmp_path / "0.png", layers)]) == (10, 1000)


def test_own_bits() -> None:
    assert [own_bits(value) for value in (0, 255, 256, 1023, 1024, 4095, 16383, 16384, 65535)] == [
        *(8, 8, 10, 10, 12, 12, 14, 16, 16)
    ]
