"""The training loop: epochs of steps, validation, and checkpoints from which a run can be resumed exactly."""

import argparse
import math
import pickle
import signal
import threading
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
from dynamic_predictor.training.sharding import gather, shard, shard_optimizer_state
from dynamic_predictor.training.step import (
    PairPredictions,
    accumulate_gradients,
    learning_rate_at,
    make_optimizer,
    select_trainable,
)
from dynamic_predictor.training.tracked_clips import TrackedClip
from dynamic_predictor.training.training_log import TrainingLog
from dynamic_predictor.training.validation import Validation, validate
from scene.errors import InputError
from scene.files.json_files import plain
from scene.progress import Progress, ignore_progress

#: exceptions from reading files that are not checkpoints of this training
_INVALID_CHECKPOINT = (
    pickle.UnpicklingError, RuntimeError, EOFError, AttributeError, LookupError, TypeError, ValueError, OSError
)  # fmt: skip
#: settings that may change when a run is resumed; batch sizes may, as long as a step has the same number of pairs
_CHANGEABLE = {"epochs", "keep_every_epochs", "test_every_epochs", "batch_size", "accumulation"}


@dataclass
class _Position:
    """Position in a run: `epoch` from 0 and `step` within the epoch; also the best mask IoU so far."""

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

    Writes into `output`: checkpoint-last.pth after every epoch and on Ctrl-C, checkpoint-best.pth at the best mask IoU,
    checkpoint-N.pth every `keep_every_epochs` epochs, checkpoint-final.pth, and the files of `TrainingLog`. Checkpoints
    have the official layout. With `resume` the run continues from checkpoint-last.pth with the same results as if it
    had not been interrupted. With `sharded`, parameters and optimizer are distributed over the processes.

    Raises `InputError` for a checkpoint of other settings and for a loss that is not finite.
    """
    output = Path(output)
    network.to(process.device).train()
    if not select_trainable(network, settings):
        raise InputError("With these settings nothing is trained: the network has no mask heads, the rest is frozen.")
    if sharded and process.world_size == 1:
        raise InputError("Sharding needs several processes; start them with torchrun, or leave --sharded out.")
    pairs_per_step = settings.batch_size * settings.accumulation * process.world_size
    position, optimizer_state = _Position(), None
    last = output / "checkpoint-last.pth"
    if resume:
        position, optimizer_state = _restore(last, network, settings, pairs_per_step)
    model = PairPredictions(network, settings)
    wrapped: nn.Module = model
    if sharded:
        shard(model)
    # only now, because sharding replaces the parameters
    optimizer = make_optimizer([p for p in network.parameters() if p.requires_grad], settings)
    if optimizer_state is not None:
        with _reading_checkpoint(last):
            optimizer.load_state_dict(shard_optimizer_state(optimizer_state, optimizer))
    if process.world_size > 1 and not sharded:
        wrapped = nn.parallel.DistributedDataParallel(
            model, device_ids=[process.device.index] if process.device.type == "cuda" else None
        )
    log = TrainingLog(output, position.epoch, position.step, enabled=process.is_first)
    steps = steps_per_epoch(settings, process.world_size)
    validation: Validation | None = None

    def save(name: str) -> None:
        weights, moments = network.state_dict(), optimizer.state_dict()
        if sharded:
            weights, moments = gather(weights), gather(moments)
        if process.is_first:
            state = {"optimizer": moments, "settings": plain(settings), **asdict(position)}
            save_pth(network, output / name, state=weights, pairs_per_step=pairs_per_step, **state)

    with _interruptible() as stop, log:
        for epoch in range(position.epoch, settings.epochs):
            begin = time.perf_counter()
            feed = batches(
                clips,
                settings,
                epoch,
                rank=process.rank,
                world_size=process.world_size,
                first_step=position.step,
                workers=workers,
            )
            for step, parts in enumerate(feed, start=position.step):
                learning_rate = learning_rate_at(epoch + step / steps, settings)
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate
                # the dropout of a step must not depend on earlier steps, so that resumed runs are the same
                torch.manual_seed(hash((settings.seed, epoch, step, process.rank)) % 2**63)
                loss = accumulate_gradients(wrapped, [part.to(process.device) for part in parts], settings, process)
                if not math.isfinite(loss):
                    raise InputError(
                        f"The loss is not finite in epoch {epoch}, step {step}; lower the learning rate "
                        f"({settings.learning_rate:g}) and continue with --resume."
                    )
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                log.step(epoch, step, loss, learning_rate)
                progress(f"epoch {epoch + 1} of {settings.epochs}", step + 1, steps)
                if process.any(stop.is_set()):
                    position.epoch, position.step = epoch, step + 1
                    save("checkpoint-last.pth")
                    raise KeyboardInterrupt
            position.epoch, position.step = epoch + 1, 0
            is_last = position.epoch == settings.epochs
            if test_clips and (is_last or position.epoch % settings.test_every_epochs == 0):
                pairs = validation_batches(
                    test_clips, settings, rank=process.rank, world_size=process.world_size, workers=workers
                )
                validation = validate(model, pairs, settings, process)
                log.validation(epoch, validation, time.perf_counter() - begin)
                if validation.mask_iou > position.best_mask_iou:
                    position.best_mask_iou = validation.mask_iou
                    save("checkpoint-best.pth")
            save("checkpoint-last.pth")
            if position.epoch % settings.keep_every_epochs == 0 and not is_last:
                save(f"checkpoint-{position.epoch}.pth")
        weights = gather(network.state_dict()) if sharded else network.state_dict()
        if process.is_first:
            save_pth(network, output / "checkpoint-final.pth", state=weights, epoch=position.epoch)
    network.eval()
    return validation


def _restore(
    path: Path, network: TwoViewNetwork, settings: TrainingSettings, pairs_per_step: int
) -> tuple[_Position, dict[str, Any]]:
    """Loads the weights into `network`; returns the position in the run and the state of its optimizer."""
    if not path.is_file():
        raise InputError(f"{path} does not exist, so there is nothing to resume; leave --resume out.")
    with _reading_checkpoint(path):
        with torch.serialization.safe_globals([argparse.Namespace]):
            saved = torch.load(path, map_location="cpu", weights_only=True)
        before, position = saved["settings"], _Position(saved["epoch"], saved["step"], saved["best_mask_iou"])
        state = {key: saved["model"][key] for key in network.state_dict()}
        for name, value in plain(settings).items():
            if name not in _CHANGEABLE and before.get(name) != value:
                raise InputError(
                    f"The run in {path.parent} was started with {name} {before.get(name)!r}, not {value!r}; give the "
                    "same value, or another --output_dir."
                )
        if saved["pairs_per_step"] != pairs_per_step:
            raise InputError(
                f"The run in {path.parent} takes {saved['pairs_per_step']} pairs a step, not {pairs_per_step}; choose "
                "--batch_size and --accum_iter so that their product with the number of processes is the same."
            )
        network.load_state_dict(state)
        return position, saved["optimizer"]


@contextmanager
def _reading_checkpoint(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except _INVALID_CHECKPOINT as error:
        raise InputError(f"{path} is not a training checkpoint of this network; leave --resume out.") from error


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Makes the first Ctrl-C request a stop after the current step; the second raises `KeyboardInterrupt`."""
    stop = threading.Event()

    def request(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    try:
        previous = signal.signal(signal.SIGINT, request)
    except ValueError:  # not in the main thread
        yield stop
        return
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, previous)
