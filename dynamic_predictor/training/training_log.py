"""The log of a training run: log.jsonl, curves.png, examples.png, and files for TensorBoard if it is installed."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dynamic_predictor.training.recipe import Validation
from scene.errors import InputError
from scene.files.atomic import atomic_file
from scene.files.json_files import json_text, parse_json
from scene.files.text import read_text
from scene.images import write_png


class TrainingLog:
    """Writes the log while a run goes on; a context manager. Removes the lines of an earlier run from (`epoch`, `step`)
    on, so that a resumed run has one line per step."""

    def __init__(self, folder: Path, epoch: int, step: int, *, enabled: bool = True) -> None:
        self._folder, self._enabled = folder, enabled
        self._lines: list[dict[str, Any]] = []
        self._board = None
        if not enabled:
            return
        folder.mkdir(parents=True, exist_ok=True)
        if (epoch, step) != (0, 0):
            self._lines = [
                line for line in read_log(folder) if (line["epoch"], line.get("step", math.inf)) < (epoch, step)
            ]
        with atomic_file(folder / "log.jsonl") as temporary:
            temporary.write_text("".join(json_text(line, indent=None) + "\n" for line in self._lines), encoding="utf-8")
        try:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=len(self._lines))
        except ImportError:
            pass  # the extra "train" is not installed; the other files contain the same values

    def __enter__(self) -> "TrainingLog":
        return self

    def __exit__(self, *error: object) -> None:
        if self._board is not None:
            self._board.close()

    def step(
        self, epoch: int, step: int, loss: float, learning_rate: float, terms: Mapping[str, float] | None = None
    ) -> None:
        """Adds the loss of a step and its terms."""
        self._add({"epoch": epoch, "step": step, "loss": loss, "learning_rate": learning_rate, **(terms or {})})

    def validation(self, epoch: int, validation: Validation, seconds: float, drawn: str = "") -> None:
        """Adds the scores of an epoch, and draws the images again: the score `drawn`, or the loss if it is empty."""
        scores = {name: score if math.isfinite(score) else None for name, score in validation.scores.items()}
        self._add({"epoch": epoch, "test_loss": validation.loss, **scores, "seconds": round(seconds, 2)})
        self.draw(drawn)
        if self._enabled and validation.examples is not None:
            write_png(self._folder / "examples.png", np.ascontiguousarray(validation.examples))

    def _add(self, line: dict[str, Any]) -> None:
        if not self._enabled:
            return
        self._lines.append(line)
        with (self._folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json_text(line, indent=None) + "\n")
        if self._board is not None:
            for name, value in line.items():
                if name not in ("epoch", "step") and value is not None:
                    self._board.add_scalar(name, value, len(self._lines))

    def draw(self, drawn: str = "") -> None:
        """Draws the curves: losses, and the score `drawn` of test samples, or their loss if it is empty."""
        if not self._enabled:
            return
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 3.2), layout="constrained")
        losses, scores = figure.subplots(1, 2)
        steps = [line for line in self._lines if "loss" in line]
        per_epoch = 1 + max((line["step"] for line in steps), default=0)
        losses.plot(
            [line["epoch"] + line["step"] / per_epoch for line in steps], [line["loss"] for line in steps], lw=0.8
        )
        losses.set(xlabel="epoch", ylabel="training loss")
        tests = [line for line in self._lines if "test_loss" in line]
        values = [line.get(drawn or "test_loss") for line in tests]
        scores.plot([line["epoch"] + 1 for line in tests], values, marker=".")
        scores.set(xlabel="epoch", ylabel=f"{drawn or 'loss'} of test samples".replace("_", " "))
        if drawn:
            scores.set(ylim=(0, 1))
        for axes in (losses, scores):
            axes.grid(alpha=0.3)
        with atomic_file(self._folder / "curves.png") as temporary:
            figure.savefig(temporary, dpi=120)


def read_log(folder: str | Path) -> list[dict[str, Any]]:
    """The lines of log.jsonl in `folder`, without truncated ones. Raises `InputError` if there is no log."""
    path = Path(folder) / "log.jsonl"
    if not path.is_file():
        raise InputError(f"{path} does not exist; this folder contains no training run.")
    lines = []
    for text in read_text(path).splitlines():
        try:
            line = parse_json(text, str(path))
        except InputError:
            continue
        if isinstance(line, dict) and "epoch" in line:
            lines.append(line)
    return lines
