"""The time that a run is said to take."""

import re

import numpy as np

from scene.frames import MemoryFrames
from stillsplat.estimate import estimated_time
from stillsplat.settings import RunSettings

FRAMES = MemoryFrames(np.zeros((100, 288, 512, 3), np.uint8))
SMALL, LARGE = (512, 288), (3840, 2160)


def _most(sentence: str) -> float:
    """The larger of the two numbers of the sentence, in minutes."""
    found = re.search(r"about [\d.]+ to ([\d.]+) (seconds|minutes|hours)", sentence)
    assert found is not None, sentence
    return float(found[1]) * {"seconds": 1 / 60, "minutes": 1.0, "hours": 60.0}[found[2]]


def test_the_plate_takes_its_time_from_the_size_of_the_input():
    small, large = (estimated_time(FRAMES, size, RunSettings(input="clip.mp4")) for size in (SMALL, LARGE))
    assert "cameras, masks and depth, optimization and plate" in small
    assert _most(large) > 1.5 * _most(small)


def test_without_a_plate_the_size_of_the_input_does_not_matter():
    settings = RunSettings(input="clip.mp4", plate=False)
    assert estimated_time(FRAMES, SMALL, settings) == estimated_time(FRAMES, LARGE, settings)
    assert "plate" not in estimated_time(FRAMES, LARGE, settings)


def test_the_second_pass_takes_time():
    with_it, without = (
        _most(estimated_time(FRAMES, SMALL, RunSettings(input="clip.mp4", plate=False, second_pass=second)))
        for second in (True, False)
    )
    assert with_it > without
