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
from dynamic_predictor.training.sharding import shard, spread_optimizer_state, whole
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

#: what comes up while something else than a checkpoint of ours is read
_NO_CHECKPOINT = (
    pickle.UnpicklingError, RuntimeError, EOFError, AttributeError, LookupError, TypeError, ValueError, OSError
)  # fmt: skip
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
    sharded: bool = False,
    workers: int = 0,
    progress: Progress = ignore_progress,
) -> Validation | None:
    """Trains `network` in place on pairs from `clips` and returns the last validation on `test_clips`.

    Writes into `output`: checkpoint-last.pth after every epoch and when stopped by Ctrl-C, checkpoint-best.pth at the
    best mask IoU, checkpoint-N.pth every so many epochs, checkpoint-final.pth, and what `TrainingLog` writes. All have
    the official layout. With `resume` the run goes on from checkpoint-last.pth as if it had never stopped. With
    `sharded`, parameters and optimizer are spread over the processes; checkpoints are the same.

    Raises `InputError` for a checkpoint of other settings and for a loss that is not a number.
    """
    output = Path(output)
    network.to(process.device).train()
    if not choose_what_learns(network, settings):
        raise InputError("With these settings nothing learns: the network has no mask heads and the rest is frozen.")
    if sharded and process.world_size == 1:
        raise InputError("Parameters are spread over several processes; start them with torchrun, or leave it out.")
    pairs_per_step = settings.batch_size * settings.accumulation * process.world_size
    place, optimizer_state = _Place(), None
    last = output / "checkpoint-last.pth"
    if resume:
        place, optimizer_state = _restored(last, network, settings, pairs_per_step)
    model = PairPredictions(network, settings)
    wrapped: nn.Module = model
    if sharded:
        shard(model)
    # as they are now: sharding puts others in their place
    optimizer = make_optimizer([p for p in network.parameters() if p.requires_grad], settings)
    if optimizer_state is not None:
        _restore_optimizer(last, optimizer, optimizer_state)
    if process.world_size > 1 and not sharded:
        wrapped = nn.parallel.DistributedDataParallel(
            model, device_ids=[process.device.index] if process.device.type == "cuda" else None
        )
    log = TrainingLog(output, place.epoch, place.step, enabled=process.is_first)
    steps = steps_per_epoch(settings, process.world_size)
    validation: Validation | None = None

    def save(name: str) -> None:
        weights, learned = network.state_dict(), optimizer.state_dict()
        if sharded:
            weights, learned = whole(weights), whole(learned)
        if process.is_first:
            state = {"optimizer": learned, "settings": _plain(settings), **asdict(place)}
            save_pth(network, output / name, state=weights, pairs_per_step=pairs_per_step, **state)

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
        weights = whole(network.state_dict()) if sharded else network.state_dict()
        if process.is_first:
            save_pth(network, output / "checkpoint-final.pth", state=weights, epoch=place.epoch)
    network.eval()
    return validation


def _plain(settings: TrainingSettings) -> dict[str, Any]:
    return json.loads(json.dumps(asdict(settings)))


def _restored(
    path: Path, network: TwoViewNetwork, settings: TrainingSettings, pairs_per_step: int
) -> tuple[_Place, dict[str, Any]]:
    """Loads the network; where the run was, and the state of its optimizer."""
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
        return place, saved["optimizer"]
    except InputError:
        raise
    except _NO_CHECKPOINT as error:
        raise _no_checkpoint(path) from error


def _restore_optimizer(path: Path, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    try:
        optimizer.load_state_dict(spread_optimizer_state(state, optimizer))
    except _NO_CHECKPOINT as error:
        raise _no_checkpoint(path) from error


def _no_checkpoint(path: Path) -> InputError:
    return InputError(f"{path} is no checkpoint of this network's training; leave --resume out.")


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
