"""Published figures of other methods, for comparison in tables: those of benchmarks/published.json, with their sources.

docs/evaluation.md lists the differences between their protocols and ours.
"""

import functools
import sys
from pathlib import Path
from typing import Any

from scene.errors import InputError
from scene.files.json_files import read_json

#: in a checkout, and where an installation without one has it (see setup.py)
_PLACES = (
    Path(__file__).resolve().parents[2] / "benchmarks" / "published.json",
    Path(sys.prefix) / "share" / "stillsplat" / "published.json",
)


def published_figures(dataset: str, kind: str) -> dict[str, dict[str, float]]:
    """Method -> figures by column key, for a kind of figure ("pose", "mask", "depth scale", ...) of a data set."""
    for entry in _content()["figures"]:
        if (entry["dataset"], entry["kind"]) == (dataset, kind):
            return entry["methods"]
    return {}


def published_psnr(dataset: str) -> dict[str, dict[str, float]]:
    """Method -> clip -> PSNR of held-out frames in dB by DAS3R's protocol."""
    return _per_clip("psnr", dataset)


def published_region_similarity(dataset: str) -> dict[str, dict[str, float]]:
    """Method -> clip -> region similarity J of its motion masks, mean over the frames of the whole clip."""
    return _per_clip("region_similarity", dataset)


def _per_clip(kind: str, dataset: str) -> dict[str, dict[str, float]]:
    for entry in _content()[kind]:
        if entry["dataset"] == dataset:
            return {name: dict(zip(entry["clips"], row, strict=True)) for name, row in entry["methods"].items()}
    return {}


@functools.cache
def _content() -> dict[str, Any]:
    for place in _PLACES:
        if place.is_file():
            return read_json(place)
    raise InputError(f"{_PLACES[0]} is missing; restore it from the repository.")
