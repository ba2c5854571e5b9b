"""Fixtures of the tests of commands."""

from tests.dynamic_predictor.weights.conftest import weights_folder

__all__ = ["weights_folder"]
