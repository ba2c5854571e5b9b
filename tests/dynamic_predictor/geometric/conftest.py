"""Fixtures of the tests of the weight-free predictor."""

import pytest

from dynamic_predictor.geometric.reprojection import one_blas_thread


@pytest.fixture
def calm_linear_algebra():
    with one_blas_thread():
        yield
