"""Goldens of the official code, and tiny models with made-up weights."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

from dynamic_predictor.depth_anything3 import DepthAnything3
from dynamic_predictor.depth_anything3.network import build_network
from tests.dynamic_predictor.depth_anything3.da3_goldens import Golden, filled
from tests.dynamic_predictor.depth_anything3.tiny_models import ANY_VIEW, FIELD_OF_VIEW, MONOCULAR


@pytest.fixture(scope="session")
def golden(shared: Path) -> Callable[[str], Golden]:
    """`golden(name)`: goldens that lie beside the repository; the test is skipped without them."""

    @cache
    def read(name: str) -> Golden:
        return Golden(shared / "parity" / "da3", name)

    return read


@pytest.fixture(scope="session")
def model() -> DepthAnything3:
    """An any-view model."""
    return DepthAnything3(filled(build_network(ANY_VIEW), FIELD_OF_VIEW), name="tiny", device="cpu")


@pytest.fixture(scope="session")
def metric_model() -> DepthAnything3:
    """A metric model."""
    return DepthAnything3(filled(build_network(MONOCULAR), {}), name="tiny metric", metric=True, device="cpu")


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield
