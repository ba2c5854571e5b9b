"""Goldens of the official code: the small ones lie with the tests, the others in the shared folder beside the
repository."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.paths import DATA, SHARED


@pytest.fixture(autouse=True)
def _no_gradients():
    """Unlike the networks' tests in the folder above, these need gradients."""


@pytest.fixture
def golden() -> Callable[[str], Path]:
    """The path of a golden file by its name; skips the test if it is not there."""

    def find(name: str) -> Path:
        for folder in (DATA / "alignment", SHARED / "parity/das3r"):
            if (folder / name).exists():
                return folder / name
        pytest.skip(f"the golden {name} is neither in tests/data/alignment nor in ../shared/parity/das3r")

    return find


@pytest.fixture
def golden_arrays(golden: Callable[[str], Path]) -> Callable[[str], dict[str, np.ndarray]]:
    """The arrays of a golden .npz by its name."""

    def load(name: str) -> dict[str, np.ndarray]:
        with np.load(golden(name), allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}

    return load
