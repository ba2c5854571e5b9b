"""The optimization in its thread: it pauses, steps, stops, saves, and does not wait for who looks."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gaussian.model_folder import load_model
from gaussian.trainer import Trainer, train
from gui.session import TrainingSession
from tests.gaussian.wall_scene import SETTINGS, make_scene


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.005)


def test_pause_step_resume_and_the_same_result_as_without_a_window() -> None:
    settings = replace(SETTINGS, iterations=60)
    session = TrainingSession(Trainer(make_scene(), settings, None))
    trainer = session.trainer
    session.start(paused=True)
    try:
        time.sleep(0.1)
        assert trainer.iteration == 0 and session.phase == "paused"
        for count in (1, 2, 3):
            session.step()
            wait_for(lambda count=count: trainer.iteration == count)
        time.sleep(0.1)
        assert trainer.iteration == 3 and session.iterations_per_second == 0
        trainer.request_snapshot([1])
        wait_for(lambda: trainer.snapshot is not None)  # answered while it pauses
        session.resume()
        wait_for(lambda: session.phase == "finished")
    finally:
        session.close()
    assert session.error is None and trainer.result is not None
    whole = train(make_scene(), settings, None)
    for name, tensor in whole.gaussians.tensors().items():
        assert torch.equal(tensor, trainer.result.gaussians.tensors()[name]), name


@pytest.mark.parametrize("by", ["stop", "close"])
def test_what_is_stopped_is_saved_and_can_be_continued(tmp_path: Path, by: str) -> None:
    settings = replace(SETTINGS, iterations=5000)
    session = TrainingSession(Trainer(make_scene(), settings, tmp_path))
    session.start()
    wait_for(lambda: session.trainer.iteration >= 5)
    if by == "stop":
        session.stop()
        wait_for(lambda: session.phase == "finished")
    session.close()
    iteration = session.trainer.iteration
    assert 5 <= iteration < 5000 and session.error is None
    assert len(load_model(tmp_path).gaussians) > 0
    assert Trainer(make_scene(), settings, tmp_path, resume=True).iteration == iteration


def test_save_writes_a_checkpoint_and_goes_on(tmp_path: Path) -> None:
    session = TrainingSession(Trainer(make_scene(), replace(SETTINGS, iterations=5000), tmp_path))
    session.start()
    try:
        wait_for(lambda: session.trainer.iteration >= 2)
        session.save()
        wait_for(lambda: (tmp_path / "checkpoint.pt").exists())
        seen = session.trainer.iteration
        wait_for(lambda: session.trainer.iteration > seen)
    finally:
        session.close()


def test_an_error_of_the_optimization_is_kept() -> None:
    trainer = Trainer(make_scene(), replace(SETTINGS, iterations=50), None)

    def broken(steps: int = 1) -> int:
        raise ZeroDivisionError("broken")

    trainer.advance = broken  # type: ignore[method-assign]
    session = TrainingSession(trainer)
    session.start()
    wait_for(lambda: session.phase == "failed")
    session.close()
    assert isinstance(session.error, ZeroDivisionError)
