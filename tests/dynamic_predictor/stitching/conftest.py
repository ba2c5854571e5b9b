"""Goldens of the official streaming code."""

import json

import numpy as np
import pytest

from tests.dynamic_predictor.stitching.golden_streaming import GOLDEN_ARRAYS, GOLDEN_LISTS


@pytest.fixture(scope="session")
def golden():
    """Arrays of the official streaming code."""
    return np.load(GOLDEN_ARRAYS)


@pytest.fixture(scope="session")
def listed():
    """Lists of the official streaming code: windows, loops and frame ranges."""
    return json.loads(GOLDEN_LISTS.read_text())
