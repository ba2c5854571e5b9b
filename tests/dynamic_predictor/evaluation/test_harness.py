"""The optical flow that a benchmark uses where nobody chose one."""

from pathlib import Path

import pytest

from dynamic_predictor.evaluation.datasets.registry import OpenDataset
from dynamic_predictor.evaluation.datasets.sintel import SINTEL
from dynamic_predictor.evaluation.harness import EvaluationSettings, _with_published_flow


@pytest.mark.parametrize(
    ("predictor", "chosen", "used"),
    [
        ("das3r", None, "raft"),
        ("monst3r", "auto", "raft"),
        ("das3r", "dis", "dis"),
        ("geometric", None, None),
        ("da3-small", None, None),
    ],
)
def test_sintel_is_scored_with_the_flow_of_its_published_figures(tmp_path, predictor, chosen, used):
    settings = EvaluationSettings("sintel", tmp_path, predictor=predictor, flow=chosen)
    found = _with_published_flow(OpenDataset(SINTEL, Path("data")), settings)
    assert found.flow == used
