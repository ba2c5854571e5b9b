"""The choice of an engine."""

import sys

import pytest

from dynamic_predictor.evaluation.distribution import OneProcess
from dynamic_predictor.evaluation.engines import chosen_engine
from dynamic_predictor.evaluation.torchrun_processes import TorchrunProcesses
from scene.errors import InputError


def test_engines_by_name_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert chosen_engine() == OneProcess()
    with pytest.raises(InputError, match="--ray_address is of --engine ray"):
        chosen_engine(ray_address="auto")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match="needs the package ray"):
        chosen_engine("ray")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert chosen_engine(device="cpu") == TorchrunProcesses(1, 2)
    with pytest.raises(InputError, match="start it without torchrun"):
        chosen_engine("ray")
