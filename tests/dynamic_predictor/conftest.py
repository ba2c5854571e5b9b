"""A small data set with truth, and launch.py with a predictor that knows the answers."""

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from dynamic_predictor.specs import registered
from scene.formats.tum import write_tum
from tests.dynamic_predictor.evaluation.known_answers import (
    COUNT,
    DEPTH,
    HEIGHT,
    ORACLE,
    WIDTH,
    Oracle,
    texture,
    true_poses,
    write,
)


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Oracle]]:
    """The predictor "oracle" in the table; `oracle.calls` holds the number of frames of each prediction."""
    monkeypatch.setattr(Oracle, "calls", [])
    with registered(ORACLE):
        yield Oracle


@pytest.fixture
def data_folder(tmp_path: Path) -> Path:
    """TUM with the clips "walk" (poses and depth) and "sit", DAVIS with "dog" (masks), NYU with two images."""
    root = tmp_path / "data"
    for name in ("walk", "sit"):
        folder = root / "tum" / name
        for index in range(COUNT):
            stamp = f"{1 + index / 10:.6f}"
            write(folder / "rgb_90" / f"{stamp}.png", texture(index))
            depth = np.full((HEIGHT, WIDTH), int(DEPTH * 5000), np.uint16)
            (folder / "depth").mkdir(exist_ok=True)
            cv2.imwrite(str(folder / "depth" / f"{stamp}.png"), depth)
        write_tum(folder / "groundtruth_90.txt", [1 + index / 10 for index in range(COUNT)], true_poses())
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:, : WIDTH // 2] = 255
    mask[: HEIGHT // 2] = 0
    for index in range(COUNT):
        write(root / "davis/DAVIS/JPEGImages/480p/dog" / f"{index:05d}.png", texture(index))
        write(root / "davis/DAVIS/Annotations/480p/dog" / f"{index:05d}.png", mask)
    for index in range(2):
        write(root / "nyu-v2/val/nyu_images" / f"{index}.png", texture(index))
        (root / "nyu-v2/val/nyu_depths").mkdir(exist_ok=True)
        np.save(root / "nyu-v2/val/nyu_depths" / f"{index}.npy", np.full((HEIGHT, WIDTH), DEPTH, np.float32))
    return root


@pytest.fixture
def launch(oracle: type[Oracle], data_folder: Path, tmp_path: Path) -> Callable[..., int]:
    """`launch("--mode=eval_pose", ...)` with the oracle, the small data sets and an output folder of its own."""
    from dynamic_predictor.launch import main

    def run(*arguments: str) -> int:
        fixed = ["--predictor=oracle", f"--data_folder={data_folder}", f"--output_dir={tmp_path / 'out'}", "--silent"]
        return main([*arguments, *(word for word in fixed if word.split("=")[0] not in " ".join(arguments))])

    return run
