"""The work of a batch with the stand-ins of tests/stillsplat/stand_ins.py, which notes what was done how often."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dynamic_predictor.specs import registered
from stillsplat.batch.clip_work import ClipWork


@dataclass(frozen=True)
class FakedWork:
    """Real clips, run folders and reports; a predictor and an optimizer that take `seconds` each."""

    work: ClipWork
    notes: Path
    seconds: float = 0.0
    #: the process of this clip is killed when it is optimized the first time
    killed: str = ""

    def __call__(self, name: str) -> dict[str, Any]:
        from gaussian import rendering, trainer
        from scene import splat_rendering
        from stillsplat.second_pass import refinement
        from tests.stillsplat import stand_ins

        trainer.train = self._noting(name, "optimize", stand_ins.fake_train)  # type: ignore[assignment]
        refinement.refine_masks = lambda *_: None  # type: ignore[assignment]
        rendering.render = stand_ins.fake_render  # type: ignore[assignment]
        splat_rendering.Renderer = stand_ins.FakeRenderer  # type: ignore[assignment, misc]
        stand_ins.fake_train.calls, stand_ins.fake_train.error = [], None

        class Predictor(stand_ins.FakePredictor):
            predict = self._noting(name, "predict", stand_ins.FakePredictor.predict)

        with registered(stand_ins.fake_spec("fake", Predictor)):
            return self.work(name)

    def count(self, name: str, stage: str, event: str) -> int:
        """How often a stage of a clip was "begun" or "finished"."""
        path = self.notes / f"{name}.{stage}.{event}"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def _note(self, name: str, stage: str, event: str) -> None:
        self.notes.mkdir(parents=True, exist_ok=True)
        with (self.notes / f"{name}.{stage}.{event}").open("a") as file:
            file.write(f"{os.getpid()}\n")

    def _noting(self, name: str, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*arguments: Any, **words: Any) -> Any:
            self._note(name, stage, "begun")
            if name == self.killed and stage == "optimize" and self.count(name, stage, "begun") == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(self.seconds)
            result = function(*arguments, **words)
            self._note(name, stage, "finished")
            return result

        return noting
