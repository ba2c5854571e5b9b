"""The training loop: epochs of steps, tests, checkpoints that go on exactly where they were made."""

import argparse
import json
import math
import pickle
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn

from dynamic_predictor.das3r.network import TwoViewNetwork
from dynamic_predictor.das3r.official_layout import save_pth
from dynamic_predictor.training.pair_batches import batches, steps_per_epoch, validation_batches
from dynamic_predictor.training.processes import Process
from dynamic_predictor.training.settings import TrainingSettings
from dynamic_predictor.training.step import (
    PairPredictions,
    accumulate_gradients,
    choose_what_learns,
    learning_rate_at,
    make_optimizer,
)
from dynamic_predictor.training.tracked_clips import TrackedClip
from dynamic_predictor.training.training_log import TrainingLog
from dynamic_predictor.training.validation import Validation, validate
from scene.errors import InputError
from scene.progress import Progress, ignore_progress

#: settings that may change when a run goes on; batches may be spread otherwise as long as a step has the same pairs
_FREE_TO_CHANGE = {"epochs", "keep_every_epochs", "test_every_epochs", "batch_size", "accumulation"}


@dataclass
class _Place:
    """Where a run is: `epoch` from 0, `step` within it, the best mask IoU so far."""

    epoch: int = 0
    step: int = 0
    best_mask_iou: float = -1.0


def train(
    network: TwoViewNetwork,
    clips: Sequence[TrackedClip],
    test_clips: Sequence[TrackedClip],
    settings: TrainingSettings,
    output: str | Path,
    *,
    process: Process,
    resume: bool = False,
    workers: int = 0,
    progress: Progress = ignore_progress,
) -> Validation | None:
    """Trains `network` in place on pairs from `clips` and returns the last validation on `test_clips`.

    Writes into `output`: checkpoint-last.pth after every epoch and when stopped by Ctrl-C, checkpoint-best.pth at the
    best mask IoU, checkpoint-N.pth every so many epochs, checkpoint-final.pth, and what `TrainingLog` writes. All have
    the official layout. With `resume` the run goes on from checkpoint-last.pth as if it had never stopped. Raises
    `InputError` for a checkpoint of other settings and for a loss that is not a number.
    """
    output = Path(output)
    network.to(process.device).train()
    parameters = choose_what_learns(network, settings)
    if not parameters:
        raise InputError("With these settings nothing learns: the network has no mask heads and the rest is frozen.")
    optimizer = make_optimizer(parameters, settings)
    pairs_per_step = settings.batch_size * settings.accumulation * process.world_size
    place = _Place()
    if resume:
        place = _restored(output / "checkpoint-last.pth", network, optimizer, settings, pairs_per_step)
    model = PairPredictions(network, settings)
    wrapped: nn.Module = model
    if process.world_size > 1:
        wrapped = nn.parallel.DistributedDataParallel(
            model, device_ids=[process.device.index] if process.device.type == "cuda" else None
        )
    log = TrainingLog(output, place.epoch, place.step, enabled=process.is_first)
    steps = steps_per_epoch(settings, process.world_size)
    validation: Validation | None = None

    def save(name: str) -> None:
        if process.is_first:
            state = {"optimizer": optimizer.state_dict(), "settings": _plain(settings), **asdict(place)}
            save_pth(network, output / name, pairs_per_step=pairs_per_step, **state)

    with _stop_asked() as stop, log:
        for epoch in range(place.epoch, settings.epochs):
            begin = time.perf_counter()
            feed = batches(
                clips,
                settings,
                epoch,
                rank=process.rank,
                world_size=process.world_size,
                first_step=place.step,
                workers=workers,
            )
            for step, parts in enumerate(feed, start=place.step):
                rate = learning_rate_at(epoch + step / steps, settings)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                # the dropout of a step does not depend on the steps before it: a run that goes on is the same run
                torch.manual_seed(hash((settings.seed, epoch, step, process.rank)) % 2**63)
                loss = accumulate_gradients(wrapped, [part.to(process.device) for part in parts], settings, process)
                if not math.isfinite(loss):
                    raise InputError(
                        f"The loss is not a number in epoch {epoch}, step {step}; lower the learning rate "
                        f"({settings.learning_rate:g}) and go on with --resume."
                    )
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                log.step(epoch, step, loss, rate)
                progress(f"epoch {epoch + 1} of {settings.epochs}", step + 1, steps)
                if process.agreed(stop.asked):
                    place.epoch, place.step = epoch, step + 1
                    save("checkpoint-last.pth")
                    raise KeyboardInterrupt
            place.epoch, place.step = epoch + 1, 0
            is_last = place.epoch == settings.epochs
            if test_clips and (is_last or place.epoch % settings.test_every_epochs == 0):
                pairs = validation_batches(
                    test_clips, settings, rank=process.rank, world_size=process.world_size, workers=workers
                )
                validation = validate(model, pairs, settings, process)
                log.validation(epoch, validation, time.perf_counter() - begin)
                if validation.mask_iou > place.best_mask_iou:
                    place.best_mask_iou = validation.mask_iou
                    save("checkpoint-best.pth")
            save("checkpoint-last.pth")
            if place.epoch % settings.keep_every_epochs == 0 and not is_last:
                save(f"checkpoint-{place.epoch}.pth")
        if process.is_first:
            save_pth(network, output / "checkpoint-final.pth", epoch=place.epoch)
    network.eval()
    return validation


def _plain(settings: TrainingSettings) -> dict[str, Any]:
    return json.loads(json.dumps(asdict(settings)))


def _restored(
    path: Path,
    network: TwoViewNetwork,
    optimizer: torch.optim.Optimizer,
    settings: TrainingSettings,
    pairs_per_step: int,
) -> _Place:
    if not path.is_file():
        raise InputError(f"{path} does not exist, so there is nothing to go on from; leave --resume out.")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            saved = torch.load(path, map_location="cpu", weights_only=True)
        before, place = saved["settings"], _Place(saved["epoch"], saved["step"], saved["best_mask_iou"])
        state = {key: saved["model"][key] for key in network.state_dict()}
        for name, value in _plain(settings).items():
            if name not in _FREE_TO_CHANGE and before.get(name) != value:
                raise InputError(
                    f"The run in {path.parent} was started with {name} {before.get(name)!r}, not {value!r}; give what "
                    "it was started with, or another --output_dir."
                )
        if saved["pairs_per_step"] != pairs_per_step:
            raise InputError(
                f"The run in {path.parent} takes {saved['pairs_per_step']} pairs a step, not {pairs_per_step}; choose "
                "--batch_size and --accum_iter so that times the number of processes they give that."
            )
        network.load_state_dict(state)
        optimizer.load_state_dict(saved["optimizer"])
    except InputError:
        raise
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError, ValueError, OSError) as error:
        raise InputError(f"{path} is no checkpoint of this network's training; leave --resume out.") from error
    return place


class _Stop:
    asked = False


@contextmanager
def _stop_asked() -> Iterator[_Stop]:
    """The first Ctrl-C is a wish to stop after this step; the second stops at once."""
    stop = _Stop()

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.asked = True

    try:
        previous = signal.signal(signal.SIGINT, ask)
    except ValueError:  # not in the main thread
        yield stop
        return
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, previous)
