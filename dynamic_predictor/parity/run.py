"""Runs a network of the published size with made-up weights, to compare its outputs with the official code's.

    python -m dynamic_predictor.parity NAME --input IN.npz --output OUT.npz [--overrides FILE.json]

builds network NAME in float32, sets every parameter to its made-up value (`made_up_weights`), applies the overrides,
`{"official.key": ["mul" | "add", number], ...}`, in their order, runs the network on `images` (1, S, 3, H, W) of IN,
which are normalized as for the official code, and writes the outputs as float32 arrays. Some networks take further
arrays of IN (`ParityCase.optional_inputs`).

The networks are those in `dynamic_predictor.specs` and `optical_flow.specs` that have a parity case.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dynamic_predictor.networks.freed_memory import kept_freed_memory
from dynamic_predictor.optical_flow.specs import FLOWS
from dynamic_predictor.parity.case import ParityCase
from dynamic_predictor.parity.made_up_weights import fill_with_made_up_weights
from dynamic_predictor.specs import specs
from scene.errors import InputError, is_out_of_memory
from scene.files.arrays import read_entries
from scene.files.atomic import atomic_file
from scene.files.json_files import read_json

#: largest number of values in the input, so that a wrong file does not fill the memory
_MOST_INPUT_VALUES = 1 << 28


def _cases() -> dict[str, Callable[[], ParityCase]]:
    """What builds the network, by its name here: that of its row unless the row says otherwise."""
    rows = [(spec.parity_name or name, spec.parity_case) for name, spec in specs().items()]
    rows += [(name, spec.parity_case) for name, spec in FLOWS.items()]
    return {name: case for name, case in rows if case is not None}


def parity_names() -> list[str]:
    """The names of all networks that can be compared."""
    return sorted(_cases())


def build_case(name: str) -> ParityCase:
    """The network `name` of the published size, without parameter values. Raises `InputError` for an unknown name."""
    cases = _cases()
    if name not in cases:
        raise InputError(f'There is no network called "{name}"; choose one of: {", ".join(sorted(cases))}.')
    return cases[name]()


@torch.inference_mode()
@kept_freed_memory()
def run_parity(
    name: str,
    images: Tensor,
    overrides: Mapping[str, Sequence] | None = None,
    further: Mapping[str, Tensor] | None = None,
) -> dict[str, np.ndarray]:
    """The float32 outputs of network `name`, with made-up weights and `overrides`, for `images` (1, S, 3, H, W) and
    `further` inputs by name. Raises `InputError` for inputs or overrides that do not fit the network."""
    case = build_case(name)
    further = further or {}
    _check_images(name, case, images)
    _check_further(name, case, further)
    changes = _checked_overrides(case, overrides or {})
    fill_with_made_up_weights(case.parameters)
    for tensor, operation, number in changes:
        tensor.mul_(number) if operation == "mul" else tensor.add_(number)
    return {output: value.to(torch.float32).numpy() for output, value in case.run(images, **further).items()}


def _check_images(name: str, case: ParityCase, images: Tensor) -> None:
    if images.dim() != 5 or images.shape[0] != 1 or images.shape[2] != 3 or 0 in images.shape:
        raise InputError(f'"images" must have the shape (1, S, 3, H, W), not {tuple(images.shape)}.')
    if case.image_count is not None and images.shape[1] != case.image_count:
        raise InputError(f"{name} takes {case.image_count} images, not {images.shape[1]}.")
    height, width = images.shape[-2:]
    if height % case.size_multiple or width % case.size_multiple:
        raise InputError(f"{name} takes sizes that are multiples of {case.size_multiple}, not {width}x{height}.")


def _check_further(name: str, case: ParityCase, further: Mapping[str, Tensor]) -> None:
    for key, value in further.items():
        if key not in case.optional_inputs:
            raise InputError(f'{name} takes no "{key}"; leave it out.')
        shape = case.optional_inputs[key]
        if value.dim() != len(shape) or any(
            not size or wanted not in (None, size) for size, wanted in zip(value.shape, shape, strict=True)
        ):
            written = ", ".join("N" if size is None else str(size) for size in shape)
            raise InputError(f'"{key}" must have the shape ({written}), not {tuple(value.shape)}.')


def _checked_overrides(case: ParityCase, overrides: Mapping[str, Sequence]) -> list[tuple[Tensor, str, float]]:
    changes = []
    for key, change in overrides.items():
        tensor = case.parameters.get(case.aliases.get(key, key))
        if tensor is None:
            raise InputError(f'The overrides name "{key}", which is not a parameter of this network.')
        if (
            not isinstance(change, list | tuple)
            or len(change) != 2
            or change[0] not in ("mul", "add")
            or isinstance(change[1], bool)
            or not isinstance(change[1], int | float)
            or not math.isfinite(change[1])
        ):
            raise InputError(f'The override of "{key}" must be ["mul" or "add", number], not {change!r}.')
        changes.append((tensor, change[0], float(change[1])))
    return changes


def read_inputs(path: Path, optional: Iterable[str] = ()) -> dict[str, Tensor]:
    """The float32 array `images` of an .npz file, and those of the `optional` ones that it has. Raises `InputError` if
    there are no images, and for arrays that are too large or not finite."""
    arrays = read_entries(path, ("images",), optional=tuple(optional))
    return {name: _checked_input(path, name, values) for name, values in arrays.items()}


def _checked_input(path: Path, name: str, values: np.ndarray) -> Tensor:
    if values.dtype.kind not in "fiu" or values.size > _MOST_INPUT_VALUES:
        raise InputError(
            f'{path} holds {values.size} values of type {values.dtype} in "{name}"; give at most {_MOST_INPUT_VALUES} '
            "numbers."
        )
    if not np.isfinite(values).all():
        raise InputError(f'{path} holds NaN or infinity in "{name}"; give finite numbers.')
    return torch.from_numpy(values.astype(np.float32))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; prints one sentence and returns 2 for invalid input."""
    parser = argparse.ArgumentParser(
        prog="python -m dynamic_predictor.parity", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("name", metavar="NAME", help=", ".join(parity_names()))
    parser.add_argument("--input", type=Path, required=True, metavar="IN.npz")
    parser.add_argument("--output", type=Path, required=True, metavar="OUT.npz")
    parser.add_argument("--overrides", type=Path, metavar="FILE.json")
    options = parser.parse_args(arguments)
    try:
        overrides = read_json(options.overrides) if options.overrides else {}
        inputs = read_inputs(options.input, build_case(options.name).optional_inputs)
        images = inputs.pop("images")
        with atomic_file(options.output) as temporary, temporary.open("wb") as file:
            np.savez(file, **run_parity(options.name, images, overrides, inputs))  # type: ignore[arg-type]
    except InputError as error:
        print(f"parity: {error}", file=sys.stderr)
        return 2
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        print(
            f"parity: The memory is not enough for {options.name} and these images; use smaller images.",
            file=sys.stderr,
        )
        return 2
    return 0
