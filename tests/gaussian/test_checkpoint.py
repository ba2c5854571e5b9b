"""Checkpoints that are damaged in any way are refused in one sentence."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gaussian.trainer import Trainer
from scene.errors import InputError
from tests.gaussian.wall_scene import SETTINGS, make_scene

SCENE, FEW = make_scene(), replace(SETTINGS, iterations=6)


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("model")
    trainer = Trainer(SCENE, FEW, folder)
    trainer.advance(3)
    trainer.save()
    return (folder / "checkpoint.pt").read_bytes()


def _state(name: str, value: Any) -> Callable[[Any], None]:
    return lambda whole: whole["state"].update({name: value})


def _optimizer_shorter(whole: Any) -> None:
    gaussians = whole["state"]["optimizer"]["gaussians"]
    gaussians["rotations"] = gaussians["rotations"][: len(gaussians["rotations"]) // 2]


def _moments_shorter(whole: Any) -> None:
    moments = whole["state"]["optimizer"]["exp_avg"]
    name = next(iter(moments))
    moments[name] = moments[name][:5]


def _nan_poses(whole: Any) -> None:
    whole["state"]["cameras"]["camera_from_world"][2, 0, 3] = float("nan")


@pytest.mark.parametrize(
    "damage",
    [
        _state("cameras", None),
        _state("generator", torch.zeros(3, dtype=torch.uint8)),
        _state("iteration", "x"),
        _state("iteration", -5),
        _state("queue", [99]),
        _state("queue", "x"),
        _state("report", [1.0]),
        _state("history", ["x"]),
        _state("seconds", float("nan")),
        _state("typical_depth", "deep"),
        _state("exposures", {"values": torch.zeros(2), "adam": {}}),
        _state("static_weights", {"frames": [99], "evidence": torch.zeros(1)}),
        _optimizer_shorter,
        _moments_shorter,
        _nan_poses,
        lambda whole: whole.update(settings=["x"]),
        lambda whole: whole.update(state="x"),
        lambda whole: whole.update(version=torch.zeros(3)),
        lambda whole: whole["settings"].update(sh_degree=torch.zeros(3)),
        lambda whole: whole["state"].pop("optimizer"),
    ],
)  # fmt: skip
def test_damage_is_one_sentence(content: bytes, tmp_path: Path, damage: Callable[[Any], None]) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(content)
    whole = torch.load(path, weights_only=True)
    damage(whole)
    torch.save(whole, path)
    with pytest.raises(InputError, match="checkpoint.pt is damaged and cannot be resumed from; remove it"):
        Trainer(SCENE, FEW, tmp_path, resume=True)


def test_an_undamaged_one_is_restored(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(content)
    assert Trainer(SCENE, FEW, tmp_path, resume=True).iteration == 3
