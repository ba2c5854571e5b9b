"""A tiny data set with tracks."""

from pathlib import Path

import pytest

from tests.dynamic_predictor.training.moving_square import write_clip


@pytest.fixture(scope="session")
def tracked_folder(tmp_path_factory) -> Path:
    """A folder with two clips in train/ and one in test/."""
    folder = tmp_path_factory.mktemp("tracked")
    for part, name, seed in (("train", "one", 0), ("train", "two", 1), ("test", "three", 2)):
        write_clip(folder / part / name, seed)
    return folder
