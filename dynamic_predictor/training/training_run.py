"""The training loop: epochs of steps, validation, and checkpoints from which a run can be resumed exactly."""

import argparse
import math
import pickle
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dynamic_predictor.training.optimization import learning_rate_at, make_optimizer
from dynamic_predictor.training.processes import Process
from dynamic_predictor.training.recipe import Recipe, Update, Validation
from dynamic_predictor.training.settings import RunSettings
from dynamic_predictor.training.sharding import gather, shard, shard_optimizer_state
from dynamic_predictor.training.training_log import TrainingLog
from scene.errors import InputError
from scene.files.json_files import plain
from scene.files.torch_files import check_torch_file
from scene.interruption import interruption_noted
from scene.progress import Progress, ignore_progress

#: exceptions from reading files that are not checkpoints of this training
_INVALID_CHECKPOINT = (
    pickle.UnpicklingError, RuntimeError, EOFError, AttributeError, LookupError, TypeError, ValueError, OSError
)  # fmt: skip
#: settings that may change when a run is resumed; batch sizes may, as long as a step has the same number of samples
_CHANGEABLE = {
    "epochs", "keep_every_epochs", "test_every_epochs", "saves_per_epoch", "batch_size", "accumulation"
}  # fmt: skip


@dataclass
class _Position:
    """Position in a run: `epoch` from 0 and `step` within the epoch; also the best score so far (higher is better)."""

    epoch: int = 0
    step: int = 0
    best_score: float = -math.inf


def train(
    recipe: Recipe,
    output: str | Path,
    *,
    process: Process,
    resume: bool = False,
    sharded: bool = False,
    workers: int = 0,
    progress: Progress = ignore_progress,
) -> Validation | None:
    """Trains the network of `recipe` in place and returns the last validation.

    Writes into `output`: checkpoint-last.pth `saves_per_epoch` times an epoch and on Ctrl-C, checkpoint-best.pth at the
    best score, checkpoint-N.pth every `keep_every_epochs` epochs, checkpoint-final.pth, and the files of `TrainingLog`.
    Checkpoints have the official layout. With `resume` the run continues from checkpoint-last.pth with the same results
    as if it had not been interrupted. With `sharded`, parameters and optimizer are distributed over the processes.

    Raises `InputError` for a checkpoint of other settings and for a loss that is not finite.
    """
    output, settings, network = Path(output), recipe.settings, recipe.network
    model = recipe.prepare(process)
    if sharded and process.world_size == 1:
        raise InputError("Sharding needs several processes; start them with torchrun, or leave --sharded out.")
    samples_per_step = settings.samples_per_step(process.world_size)
    position, optimizer_state = _Position(), None
    last = output / "checkpoint-last.pth"
    if resume:
        position, optimizer_state = _restore(last, recipe, samples_per_step)
    wrapped = model
    if sharded:
        shard(model, recipe.blocks())
    # only now, because sharding replaces the parameters
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = make_optimizer(trainable, settings)
    if optimizer_state is not None:
        with _reading_checkpoint(last):
            optimizer.load_state_dict(shard_optimizer_state(optimizer_state, optimizer))
    if process.world_size > 1 and not sharded:
        wrapped = nn.parallel.DistributedDataParallel(
            model,
            device_ids=[process.device.index] if process.device.type == "cuda" else None,
            find_unused_parameters=recipe.skips_parameters,
        )
    log = TrainingLog(output, position.epoch, position.step, enabled=process.is_first)
    steps = recipe.steps_per_epoch(process.world_size)
    save_steps = math.ceil(steps / settings.saves_per_epoch)
    validation: Validation | None = None

    def save(name: str) -> None:
        weights, moments = network.state_dict(), optimizer.state_dict()
        if sharded:
            weights, moments = gather(weights), gather(moments)
        if process.is_first:
            state = {"optimizer": moments, "settings": plain(settings), **asdict(position)}
            recipe.save(output / name, weights, samples_per_step=samples_per_step, **state)

    with interruption_noted() as stop, log:
        for epoch in range(position.epoch, settings.epochs):
            begin = time.perf_counter()
            feed = recipe.batches(epoch, process, first_step=position.step, workers=workers)
            for step, parts in enumerate(feed, start=position.step):
                learning_rate = learning_rate_at(epoch + step / steps, settings)
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate
                # the dropout of a step must not depend on earlier steps, so that resumed runs are the same
                torch.manual_seed(hash((settings.seed, epoch, step, process.rank)) % 2**63)
                updates = []
                for update in recipe.updates(wrapped, parts, process):
                    _check_loss(update.loss, epoch, step, settings)
                    updates.append(update)
                    if update.has_gradients:
                        if settings.gradient_limit is not None:
                            nn.utils.clip_grad_norm_(trainable, settings.gradient_limit)
                        optimizer.step()
                        optimizer.zero_grad(set_to_none=True)
                log.step(epoch, step, _mean([update.loss for update in updates]), learning_rate, _mean_terms(updates))
                progress(f"epoch {epoch + 1} of {settings.epochs}", step + 1, steps)
                stopping = process.any(stop.is_set())
                if stopping or (step + 1) % save_steps == 0 and step + 1 < steps:
                    position.epoch, position.step = epoch, step + 1
                    save("checkpoint-last.pth")
                if stopping:
                    raise KeyboardInterrupt
            position.epoch, position.step = epoch + 1, 0
            is_last = position.epoch == settings.epochs
            if is_last or position.epoch % settings.test_every_epochs == 0:
                validation = recipe.validate(model, process, workers=workers)
                if validation is None:
                    log.draw()
                else:
                    log.validation(epoch, validation, time.perf_counter() - begin, recipe.best_score)
                    score = validation.scores[recipe.best_score] if recipe.best_score else -validation.loss
                    if score > position.best_score:
                        position.best_score = score
                        save("checkpoint-best.pth")
            save("checkpoint-last.pth")
            if position.epoch % settings.keep_every_epochs == 0 and not is_last:
                save(f"checkpoint-{position.epoch}.pth")
        weights = gather(network.state_dict()) if sharded else network.state_dict()
        if process.is_first:
            recipe.save(output / "checkpoint-final.pth", weights, epoch=position.epoch)
    network.eval()
    return validation


def _check_loss(loss: float, epoch: int, step: int, settings: RunSettings) -> None:
    if not math.isfinite(loss):
        raise InputError(
            f"The loss is not finite in epoch {epoch}, step {step}; lower the learning rate "
            f"({settings.learning_rate:g}) and continue with --resume."
        )


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _mean_terms(updates: list[Update]) -> dict[str, float]:
    return {name: _mean([update.terms[name] for update in updates]) for name in updates[0].terms}


def _restore(path: Path, recipe: Recipe, samples_per_step: int) -> tuple[_Position, dict[str, Any]]:
    """Loads the weights into the network; returns the position in the run and the state of its optimizer."""
    if not path.is_file():
        raise InputError(f"{path} does not exist, so there is nothing to resume; leave --resume out.")
    network = recipe.network
    with _reading_checkpoint(path):
        check_torch_file(path)
        with torch.serialization.safe_globals([argparse.Namespace]):
            saved = torch.load(path, map_location="cpu", weights_only=True)
        before, position = saved["settings"], _Position(saved["epoch"], saved["step"], saved["best_score"])
        state = {key: saved["model"][key] for key in network.state_dict()}
        for name, value in plain(recipe.settings).items():
            if name not in _CHANGEABLE and before.get(name) != value:
                raise InputError(
                    f"The run in {path.parent} was started with {name} {before.get(name)!r}, not {value!r}; give the "
                    "same value, or another --output_dir."
                )
        if saved["samples_per_step"] != samples_per_step:
            raise InputError(
                f"The run in {path.parent} takes {saved['samples_per_step']} {recipe.unit} a step, not "
                f"{samples_per_step}; choose --batch_size and --accum_iter so that their product with the number of "
                "processes is the same."
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
