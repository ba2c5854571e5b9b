"""How long a run will take, said before the long part of it begins."""

import os

from dynamic_predictor.driver.settings import DriverSettings
from gaussian.settings import OptimizationSettings
from scene.frames import Frames
from scene.open_scene import is_scene
from stillsplat.settings import RunSettings

#: seconds of the weight-free predictor, which uses one core, for each frame, and in addition per million pixels: the 20
#: frames of the sample took 13 seconds at 256x145 and 26 at 480x272
_PREDICTING, _PREDICTING_PIXELS = 0.4, 7.0
#: seconds of one core for each iteration of the optimizer, per million pixels: the sample took 185 seconds on two cores
_OPTIMIZING = 0.5
#: seconds of one core for each frame of the second pass over the masks, per million pixels, beside its draft
_REFINING = 5.0
#: seconds of one core for each frame of the plate, and in addition per million pixels of the input: 100 frames of
#: 3840x2160 took 892 seconds on two cores
_PLATE, _PLATE_PIXELS = 1.5, 1.8
#: n cores are n to this power times as fast, up to `_MOST_CORES`: the sample took 115 seconds on two cores
_OF_CORES, _MOST_CORES = 0.8, 8


def estimated_time(frames: Frames, source_size: tuple[int, int], settings: DriverSettings) -> str:
    """One sentence for a clip of these frames: "about 2 to 4 minutes". `source_size`: width and height of the input,
    which the plate has."""
    pixels = frames.width * frames.height / 1e6
    speed = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, _MOST_CORES)
    seconds, alone, of_what = 0.0, 0.0, []
    is_given = is_scene(settings.input)
    if settings.spec.name == "geometric" and not is_given:
        alone += len(frames) * (_PREDICTING + _PREDICTING_PIXELS * pixels)
        of_what.append("cameras, masks and depth")
    if isinstance(settings, OptimizationSettings):
        seconds += _OPTIMIZING * settings.iterations * pixels
        of_what.append("optimization")
    if isinstance(settings, RunSettings):
        if settings.second_pass and settings.masks is None and not is_given:
            seconds += (_REFINING * len(frames) + _OPTIMIZING * settings.optimization().draft_iterations) * pixels
        if settings.plate:
            seconds += len(frames) * (_PLATE + _PLATE_PIXELS * source_size[0] * source_size[1] / 1e6)
            of_what.append("plate")
    seconds = alone + seconds / speed**_OF_CORES
    what = f"{len(frames)} frames of {frames.width}x{frames.height}"
    if not of_what:
        return f"{what}; how long it takes, the bars will show."
    rest = "" if settings.spec.name == "geometric" or is_given else f", without what {settings.spec.name} takes"
    return f"{what}: {_between(0.7 * seconds, 1.5 * seconds)} for {_listed(of_what)} on this machine{rest}."


def _listed(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _between(least: float, most: float) -> str:
    if most < 90:
        return f"about {max(5, round(least / 5) * 5)} to {max(10, round(most / 5) * 5)} seconds"
    if most < 90 * 60:
        return f"about {max(1, round(least / 60))} to {round(most / 60)} minutes"
    return f"about {least / 3600:.1f} to {most / 3600:.1f} hours"
