"""Small networks with made-up weights, and goldens that the official code computed with the same weights."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from dynamic_predictor.cut3r.network import Cut3rNetwork
from tests.dynamic_predictor.cut3r.small_networks import COPIES, GOLDENS, filled_network, tiny


@pytest.fixture(scope="session")
def tiny_linear() -> Cut3rNetwork:
    return filled_network(tiny("linear"))


@pytest.fixture(scope="session")
def tiny_dpt() -> Cut3rNetwork:
    return filled_network(tiny("dpt"))


@pytest.fixture(scope="session")
def golden() -> Callable[[str], dict[str, np.ndarray]]:
    """Reads a golden by file name from ../shared, or its copy in this repository with fewer pixels and arrays."""

    def read(name: str) -> dict[str, np.ndarray]:
        path = GOLDENS / name if (GOLDENS / name).exists() else COPIES / name
        with np.load(path) as arrays:
            return dict(arrays)

    return read


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield
