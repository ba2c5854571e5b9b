"""What tests of all areas share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.paths import SHARED
from tests.web_server import RangeServer, running_server


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with goldens, real clips and rendered scenes that lies beside the repository on developers' machines.

    Tests that need it are skipped where it is not, and the summary of the run says so.
    """
    if not SHARED.is_dir():
        pytest.skip("NOT CHECKED: there is no ../shared (goldens, real clips, rendered scenes) beside this repository")
    return SHARED.resolve()


@pytest.fixture
def range_server() -> Iterator[RangeServer]:
    """A web server on this machine: put bytes into its `files` by path."""
    with running_server() as server:
        yield server


def textured(width: int, height: int, seed: int = 0) -> np.ndarray:
    """A smooth colored image (H, W, 3) uint8 that codecs keep well."""
    generator = np.random.default_rng(seed)
    noise = generator.uniform(0, 1, (height, width, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 6.0)
    gray = smooth.mean(axis=2, keepdims=True) * 0.8 + smooth * 0.2
    return (255 * (gray - gray.min()) / np.ptp(gray)).astype(np.uint8)


@pytest.fixture
def panning() -> Callable[..., list[np.ndarray]]:
    """`panning(count, width, height)`: images that a camera moving over a texture would take."""

    def make(count: int = 8, width: int = 96, height: int = 64, step: int = 3) -> list[np.ndarray]:
        base = textured(width + step * count, height + count)
        return [np.ascontiguousarray(base[i : i + height, step * i : step * i + width]) for i in range(count)]

    return make
