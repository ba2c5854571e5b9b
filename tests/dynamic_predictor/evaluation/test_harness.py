"""The optical flow that a benchmark uses where nobody chose one."""

from pathlib import Path

import pytest

from dynamic_predictor.evaluation.datasets.registry import OpenDataset
from dynamic_predictor.evaluation.datasets.sintel import SINTEL
from dynamic_predictor.evaluation.harness import EvaluationSettings, _with_published_flow


@pytest.mark.parametrize(
    ("predictor", "chosen", "used"),
    [
        ("das3r", {}, {"flow": "raft"}),
        ("monst3r", {"flow": "auto"}, {"flow": "raft"}),
        ("das3r", {"flow": "dis"}, {"flow": "dis"}),
        ("geometric", {}, {}),
        ("da3-small", {}, {}),
    ],
)
def test_sintel_is_scored_with_the_flow_of_its_published_figures(tmp_path, predictor, chosen, used):
    settings = EvaluationSettings("sintel", tmp_path, predictor=predictor, predictor_settings=chosen)
    found = _with_published_flow(OpenDataset(SINTEL, Path("data")), settings)
    assert found.predictor_settings == used
