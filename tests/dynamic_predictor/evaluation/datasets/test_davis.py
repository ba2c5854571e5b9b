"""Reading DAVIS from a small folder in its layout."""

from pathlib import Path

import pytest

from dynamic_predictor.evaluation.datasets.registry import open_dataset
from scene.errors import InputError
from tests.dynamic_predictor.evaluation.datasets.dataset_files import (
    write_image,
    write_mask,
)


def test_davis(tmp_path: Path) -> None:
    root = tmp_path / "davis" / "DAVIS"
    for index in range(3):
        write_image(root / "JPEGImages/480p/dog" / f"{index:05d}.jpg")
        write_mask(root / "Annotations/480p/dog" / f"{index:05d}.png", value=38)
        write_image(root / "JPEGImages/480p/challenge" / f"{index:05d}.jpg")
    write_mask(root / "Annotations/480p/challenge/00000.png")
    dataset = open_dataset("davis", tmp_path)
    assert dataset.clip_names(all_clips=True) == ["challenge", "dog"] and "parkour" in dataset.clip_names()
    clip = dataset.clip("dog")
    assert clip.annotated_frames() == [0, 1, 2] and clip.motion_masks and clip.motion_masks[1].mean() == 0.25
    assert clip.world_from_cameras is None
    assert dataset.clip("challenge").annotated_frames() == [0]
    with pytest.raises(InputError, match="davis has no clip cat in .*; there are: challenge, dog"):
        dataset.clip("cat")
