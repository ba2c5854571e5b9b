"""Flows by name: weights as published, and DIS in place of missing ones."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dynamic_predictor.optical_flow.estimation import create_optical_flow
from dynamic_predictor.optical_flow.network_flow import NetworkFlow
from dynamic_predictor.optical_flow.raft import RAFT
from dynamic_predictor.optical_flow.sea_raft import SeaRAFT
from scene.errors import InputError
from tests.dynamic_predictor.optical_flow.made_up_flow import rgb_image


@pytest.fixture
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STILLSPLAT_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_official_files_load(no_weights: Path, sea_raft: SeaRAFT, raft: RAFT) -> None:
    state = {"module." + key: value for key, value in raft.state_dict().items()}
    folder = no_weights / "weights"
    folder.mkdir()
    torch.save(state, folder / "raft-sintel.pth")
    # the hub's container drops one of the two names of a tensor
    kept = {key: value.clone() for key, value in sea_raft.state_dict().items() if ".bn3." not in key}
    (folder / "sea-raft-spring-m").mkdir()
    save_file(kept, folder / "sea-raft-spring-m" / "model.safetensors")
    first, second = rgb_image("a"), rgb_image("b")
    for name, network in (("raft", raft), ("sea-raft", sea_raft)):
        loaded = create_optical_flow(name, iterations=1)
        assert loaded.name == name
        expected = NetworkFlow(name, network, iterations=1).estimate(first, second)
        np.testing.assert_array_equal(loaded.estimate(first, second).displacement, expected.displacement)


def test_missing_weights_are_reported(no_weights: Path) -> None:
    messages = []
    flow = create_optical_flow("auto", warn=messages.append)
    assert flow.name == "dis"
    assert len(messages) == 1 and "stillsplat weights get sea-raft-spring-m" in messages[0]
    with pytest.raises(InputError, match="raft-sintel"):
        create_optical_flow("raft")


def test_auto_is_the_choice_of_the_caller(no_weights: Path) -> None:
    assert create_optical_flow("dis").name == "dis"
    assert create_optical_flow("auto", auto="dis").name == "dis"
    with pytest.raises(InputError, match="raft-sintel"):
        create_optical_flow("auto", auto="raft")


def test_unknown_names_and_damaged_weights_are_refused(no_weights: Path, raft: RAFT) -> None:
    with pytest.raises(InputError, match="choose one of: auto, sea-raft, raft, dis"):
        create_optical_flow("farneback")
    wrong = no_weights / "wrong.pth"
    torch.save(raft.state_dict(), wrong)
    with pytest.raises(InputError, match=r"wrong\.pth.*SeaRAFT: it lacks"):
        create_optical_flow("sea-raft", weights=wrong, warn=print)
    broken = dict(raft.state_dict())
    broken["update_block.flow_head.conv2.bias"] = torch.full((2,), float("nan"))
    torch.save(broken, wrong)
    with pytest.raises(InputError, match="not finite"):
        create_optical_flow("raft", weights=wrong, iterations=1).estimate(rgb_image("a"), rgb_image("b"))
