"""Reading NYU Depth V2 from a small folder in its layout."""

from pathlib import Path

import numpy as np

from dynamic_predictor.evaluation.datasets.registry import open_dataset
from tests.dynamic_predictor.evaluation.datasets.dataset_files import HEIGHT, WIDTH, check_depth, write_image


def test_nyu(tmp_path: Path) -> None:
    root = tmp_path / "nyu-v2" / "val"
    for index in range(2):
        write_image(root / "nyu_images" / f"{index}.png")
        (root / "nyu_depths").mkdir(exist_ok=True)
        depth = np.full((HEIGHT, WIDTH), 1.75, np.float32)
        depth[0] = np.nan
        np.save(root / "nyu_depths" / f"{index}.npy", depth)
    dataset = open_dataset("nyu", tmp_path)
    assert dataset.clip_names() == ["val"]
    clip = dataset.clip("val")
    assert clip.single_images
    check_depth(clip, 1.75)
