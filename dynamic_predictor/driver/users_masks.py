"""The motion masks that the settings name, and what `scene.json` records of where masks come from."""

from collections.abc import Callable, Sequence

from dynamic_predictor.driver.settings import DriverSettings
from dynamic_predictor.driver.sources import image_names
from scene.frames import Frames
from scene.given_masks.opening import GivenMasks, given_masks

Warn = Callable[[str], None]
#: the source of motion masks, as recorded in `scene.json`
GIVEN = "given by the user"


def users_masks(settings: DriverSettings, frames: Frames, positions: Sequence[int] | None, warn: Warn) -> GivenMasks:
    """The masks of the settings for the `frames`, which lie at `positions` of the input (None: it is a scene). Tells
    what a user should know about them."""
    assert settings.masks is not None
    found = given_masks(
        settings.masks,
        frames,
        positions=positions,
        names=frames.names if positions is None else image_names(settings.input),
        convention=settings.masks_convention or "auto",
        grow=settings.masks_grow or 0.0,
    )
    for sentence in found.warnings:
        warn(sentence)
    return found


def given_by(given: GivenMasks, others: str) -> str:
    """The source of masks that the user gave, as recorded in `scene.json`; `others`: that of the frames without one."""
    if given.is_complete:
        return f"{GIVEN} ({given.description})"
    return f"{GIVEN} ({given.description}) for {int(given.given.sum())} of {len(given.given)} frames; else {others}"


def grown_by(source: str, pixels: float | None) -> str:
    """The source of masks that were made larger by `pixels` (below 0: smaller), as recorded in `scene.json`."""
    if not pixels:
        return source
    return f"{source}, {'grown' if pixels > 0 else 'shrunk'} by {abs(pixels):g} pixels"
