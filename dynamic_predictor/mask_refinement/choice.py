"""What `--refine-masks` names, and whether it is there. Imports nothing heavy."""

import importlib.metadata
from pathlib import Path

from dynamic_predictor.mask_refinement.contract import VideoSegmenter
from dynamic_predictor.mask_refinement.weights import SAM2
from dynamic_predictor.weights.entry import WeightsFile
from dynamic_predictor.weights.finding import find_weights, require_weights
from scene.errors import InputError
from scene.installing import pip_line

#: without a size, the largest model on this machine is used; where there is none, this one is asked for
_DEFAULT = "small"
#: the first version of transformers whose SAM 2 for video works as it is used here
_TRANSFORMERS = (5, 1)


def chosen_weights(text: str) -> WeightsFile:
    """The weights that "sam2" or "sam2:SIZE" names; "sam2" is the largest model that is on this machine. Raises
    `InputError` for anything else."""
    name, separator, size = text.partition(":")
    if name != "sam2" or (separator and size not in SAM2):
        raise InputError(f'--refine-masks is "{text[:80]}"; write sam2, or sam2:SIZE with one of: {", ".join(SAM2)}.')
    if separator:
        return SAM2[size]
    present = [entry for entry in reversed(SAM2.values()) if find_weights(entry) is not None]
    return present[0] if present else SAM2[_DEFAULT]


def required_weights(text: str) -> tuple[WeightsFile, Path]:
    """The weights that `text` names and their file. Raises `InputError` where transformers or the file is missing."""
    entry = chosen_weights(text)
    _require_transformers()
    return entry, require_weights(entry)


def create_segmenter(text: str, device: str) -> VideoSegmenter:
    """The network that `text` names on `device`, "cpu" or "cuda". Raises `InputError` as `required_weights` does, and
    for a file of other weights."""
    entry, path = required_weights(text)
    from dynamic_predictor.mask_refinement.sam2 import Sam2Segmenter

    return Sam2Segmenter.from_file(path, entry, device)


def _require_transformers() -> None:
    wanted = ".".join(str(number) for number in _TRANSFORMERS)
    line = pip_line(f"transformers>={wanted}")
    try:
        found = importlib.metadata.version("transformers")
    except importlib.metadata.PackageNotFoundError:
        raise InputError(f"--refine-masks sam2 needs the package transformers; install it: {line}") from None
    numbers = tuple(int(part) for part in found.split(".")[:2] if part.isdigit())
    if numbers < _TRANSFORMERS:
        raise InputError(f"--refine-masks sam2 needs transformers {wanted} or newer, not {found}; install it: {line}")
