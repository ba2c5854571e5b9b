"""The goldens of the two-view networks serve the parity command too."""

from tests.dynamic_predictor.das3r.conftest import _no_gradients, golden  # noqa: F401
