"""The parity command is tested with the goldens of the two-view networks."""

from tests.dynamic_predictor.das3r.conftest import _no_gradients, golden  # noqa: F401
