"""Tiny networks with made-up weights, and goldens that the official code computed with the same weights."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from dynamic_predictor.streamvggt.network import GeometryNetwork
from tests.dynamic_predictor.streamvggt.tiny_networks import COPIES, GOLDENS, MINIMAL, TINY, filled_network


@pytest.fixture(scope="session")
def tiny() -> GeometryNetwork:
    return filled_network(TINY)


@pytest.fixture(scope="session")
def minimal() -> GeometryNetwork:
    return filled_network(MINIMAL)


@pytest.fixture(scope="session")
def golden() -> Callable[[str], dict[str, np.ndarray]]:
    """Reads a golden by name from ../shared, or its copy in this repository."""

    def read(name: str) -> dict[str, np.ndarray]:
        folder = GOLDENS if (GOLDENS / f"{name}.npz").exists() else COPIES
        with np.load(folder / f"{name}.npz") as arrays:
            return dict(arrays)

    return read


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield
