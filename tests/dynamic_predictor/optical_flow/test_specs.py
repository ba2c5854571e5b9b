"""The table of flows, and the recipe "add a flow": one class and one row."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dynamic_predictor.optical_flow.estimation import create_optical_flow
from dynamic_predictor.optical_flow.flow_field import FlowField
from dynamic_predictor.optical_flow.specs import FLOWS, FlowSpec, flow_names
from dynamic_predictor.weights.entry import WeightsFile
from dynamic_predictor.weights.keys import inventory
from scene.errors import InputError
from scene.frames import MemoryFrames
from tests.dynamic_predictor.optical_flow.toy_flow import ToyFlow

TOY_WEIGHTS = WeightsFile("toy-weights", "Toy", "flow of the tests", "none", "toy-weights.pth", page="the tests")


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The row of `ToyFlow`, whose displacement is its weights; returns the file of weights."""
    row = FlowSpec(
        "toy",
        "a constant displacement",
        load=lambda checkpoint, *_: ToyFlow(checkpoint.tensors["displacement"].numpy()),
        weights=TOY_WEIGHTS,
    )
    monkeypatch.setitem(FLOWS, "toy", row)
    monkeypatch.setenv("STILLSPLAT_WEIGHTS", str(tmp_path))
    torch.save({"displacement": torch.tensor([3.0, -1.5])}, tmp_path / "toy-weights.pth")
    return tmp_path / "toy-weights.pth"


def test_a_new_flow_is_created_by_name_and_used_by_a_flow_field(toy: Path) -> None:
    flow = create_optical_flow("toy")
    assert flow.name == "toy"
    field = FlowField(MemoryFrames(np.zeros((4, 40, 50, 3), np.uint8)), flow)
    between = field(1, 3)
    np.testing.assert_allclose(between.displacement, np.broadcast_to([6.0, -3.0], (40, 50, 2)), atol=0.02)
    assert between.consistency_error[10, 10] < 0.05 and np.isinf(between.consistency_error[0, 49])


def test_missing_weights_of_a_new_flow_are_reported(toy: Path) -> None:
    toy.unlink()
    with pytest.raises(InputError, match="stillsplat weights get toy-weights"):
        create_optical_flow("toy")
    messages = []
    assert create_optical_flow("toy", warn=messages.append).name == "dis"
    assert "toy" in messages[0]


def test_rows_are_complete() -> None:
    assert flow_names() == ("auto", "sea-raft", "raft", "dis")
    for name, row in FLOWS.items():
        assert row.name == name and row.description
        assert (row.parity_case is None) == (row.weights is None)
        if row.parity_case is not None and row.weights is not None:
            case = row.parity_case()
            official = inventory(row.weights.inventory or "")
            assert set(case.parameters) | set(case.aliases) == set(official)
