"""Verification and recognition of files of weights."""

from dataclasses import dataclass
from pathlib import Path

import torch

from dynamic_predictor.weights.entry import WeightsFile
from dynamic_predictor.weights.keys import Shapes, compare_shapes, inventory
from dynamic_predictor.weights.reading import Checkpoint, read_checkpoint
from dynamic_predictor.weights.registry import all_weights
from scene.errors import InputError
from scene.files.downloading import file_sha256, format_bytes
from scene.progress import Progress, ignore_progress


@dataclass(frozen=True)
class WeightsReport:
    """Result of `check_weights`: the names of the passed checks, and the numbers of tensors and parameters."""

    path: Path
    name: str
    tensors: int
    parameters: int
    checked: tuple[str, ...]


def check_weights(path: Path, entry: WeightsFile, progress: Progress = ignore_progress) -> WeightsReport:
    """Checks that the file at `path` has the published size and SHA-256 (if they are known and the file has the
    published format), can be read safely, has the keys and shapes of the official network, and has only finite values.

    Raises `InputError` for the first check that fails.
    """
    checked: list[str] = []
    published = path.suffix == Path(entry.file_name).suffix
    if published and entry.size is not None:
        length = path.stat().st_size
        if length != entry.size:
            raise InputError(
                f"{path} has {length} bytes where {entry.name} has {entry.size} ({format_bytes(entry.size)}): "
                "it is incomplete or another file; fetch it again."
            )
        checked.append("size")
    if published and entry.sha256 is not None:
        if file_sha256(path, progress) != entry.sha256:
            raise InputError(f"{path} has another checksum than the published file of {entry.name}; fetch it again.")
        checked.append("SHA-256")
    checkpoint = read_checkpoint(path)
    checked.append("readable")
    if entry.inventory is not None:
        _check_keys(checkpoint, entry)
        checked.append("keys and shapes")
    _check_values(checkpoint, progress)
    checked.append("values finite")
    parameters = sum(tensor.numel() for tensor in checkpoint.tensors.values() if tensor.is_floating_point())
    return WeightsReport(path, entry.name, len(checkpoint.tensors), parameters, tuple(checked))


def recognize(path: Path, progress: Progress = ignore_progress) -> WeightsFile:
    """The registry's entry with the keys and shapes of the file. Raises `InputError` if there is none.

    Several files can share keys and shapes (Depth Anything 3 and its version 1.1, VGGT and StreamVGGT): they are
    distinguished by SHA-256; if no known one is equal, the file is assumed to be the first entry without a known one.
    """
    shapes = read_checkpoint(path).shapes
    fitting = _entries_with(shapes)
    if not fitting:
        raise InputError(
            f"{path} is not a known file of weights: its {len(shapes)} keys are those of no official network."
        )
    if len(fitting) > 1 and any(entry.sha256 for entry in fitting):
        digest = file_sha256(path, progress)
        for entry in fitting:
            if entry.sha256 == digest:
                return entry
    return next((entry for entry in fitting if entry.sha256 is None), fitting[0])


def _entries_with(shapes: Shapes) -> list[WeightsFile]:
    """The registry's entries with these keys and shapes, in the registry's order."""
    fits: dict[str, bool] = {}
    for entry in all_weights().values():
        if entry.inventory is not None and entry.inventory not in fits:
            fits[entry.inventory] = compare_shapes(shapes, inventory(entry.inventory)).equal
    return [entry for entry in all_weights().values() if entry.inventory is not None and fits[entry.inventory]]


def _check_keys(checkpoint: Checkpoint, entry: WeightsFile) -> None:
    assert entry.inventory is not None
    comparison = compare_shapes(checkpoint.shapes, inventory(entry.inventory))
    if comparison.equal:
        return
    others = _entries_with(checkpoint.shapes)
    if others:
        names = " or ".join(entry.name for entry in others)
        raise InputError(f"{checkpoint.path} holds the weights of {names}, not of {entry.name}.")
    raise InputError(f"{checkpoint.path} is not the file of {entry.name}: {comparison.describe()}.")


def _check_values(checkpoint: Checkpoint, progress: Progress) -> None:
    total = len(checkpoint.tensors)
    for done, (key, tensor) in enumerate(checkpoint.tensors.items(), start=1):
        # minimum and maximum are not finite if any value is not; they need one pass and no copy
        if tensor.is_floating_point() and tensor.numel() and not torch.isfinite(torch.stack(tensor.aminmax())).all():
            raise InputError(f"{checkpoint.path} has values that are not finite in {key}; fetch it again.")
        progress("values", done, total)
