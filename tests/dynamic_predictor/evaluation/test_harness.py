"""The optical flow that a benchmark uses where nobody chose one."""

from pathlib import Path

import pytest

from dynamic_predictor.evaluation.datasets.registry import OpenDataset
from dynamic_predictor.evaluation.datasets.sintel import SINTEL
from dynamic_predictor.evaluation.harness import EvaluationSettings, _with_published_flow


@pytest.mark.parametrize(
    ("predictor", "chosen", "used"),
    [
        ("das3r", None, {"flow": "raft"}),
        ("monst3r", "auto", {"flow": "raft"}),
        ("das3r", "dis", {}),
        ("geometric", None, {}),
        ("da3-small", None, {}),
    ],
)
def test_sintel_is_scored_with_the_flow_of_its_published_figures(tmp_path, predictor, chosen, used):
    settings = EvaluationSettings("sintel", tmp_path, predictor=predictor, flow=chosen)
    found = _with_published_flow(OpenDataset(SINTEL, Path("data")), settings)
    assert found.predictor_settings == used
