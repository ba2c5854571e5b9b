"""Goldens of the official code."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

from tests.dynamic_predictor.depth_anything3.da3_goldens import Golden


@pytest.fixture(scope="session")
def golden(shared: Path) -> Callable[[str], Golden]:
    """`golden(name)`: goldens that lie beside the repository; the test is skipped without them."""

    @cache
    def read(name: str) -> Golden:
        return Golden(shared / "parity" / "da3", name)

    return read


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield
