"""Reading Sintel from a small folder in its layout."""

import struct
from pathlib import Path

import numpy as np
import pytest

from dynamic_predictor.evaluation.datasets.registry import open_dataset
from scene.errors import InputError
from tests.dynamic_predictor.evaluation.datasets.dataset_files import (
    HEIGHT,
    WIDTH,
    check_depth,
    poses,
    write_image,
    write_mask,
)


@pytest.fixture
def sintel(tmp_path: Path) -> Path:
    root = tmp_path / "sintel" / "training"
    for index, pose in enumerate(poses(4), start=1):
        stem = f"frame_{index:04d}"
        write_image(root / "final" / "alley_2" / f"{stem}.png")
        folder = root / "camdata_left" / "alley_2"
        folder.mkdir(parents=True, exist_ok=True)
        matrix = np.array([[50.0, 0, 15.5], [0, 50, 8.5], [0, 0, 1]])
        content = struct.pack("<f", 202021.25) + matrix.tobytes() + np.linalg.inv(pose)[:3].tobytes()
        (folder / f"{stem}.cam").write_bytes(content)
        folder = root / "depth" / "alley_2"
        folder.mkdir(parents=True, exist_ok=True)
        depth = np.full((HEIGHT, WIDTH), 3.25, "<f4")
        depth[0] = 0
        (folder / f"{stem}.dpt").write_bytes(struct.pack("<fii", 202021.25, WIDTH, HEIGHT) + depth.tobytes())
        if index < 4:
            write_mask(root / "dynamic_label_perfect" / "alley_2" / f"{stem}.png")
    return tmp_path


def test_sintel(sintel: Path) -> None:
    dataset = open_dataset("sintel", sintel)
    assert len(dataset.clip_names()) == 14 and dataset.clip_names(all_clips=True) == ["alley_2"]
    clip = dataset.clip("alley_2")
    assert clip.world_from_cameras is not None and np.allclose(clip.world_from_cameras, poses(4))
    # the middle of 32x18 pixels, with centers at +0.5
    assert clip.intrinsics is not None and np.allclose(clip.intrinsics[0], [[50, 0, 16], [0, 50, 9], [0, 0, 1]])
    check_depth(clip, 3.25)
    assert clip.annotated_frames() == [0, 1, 2]
    assert clip.motion_masks and clip.motion_masks[2][:, :8].min() == 1 and clip.motion_masks[2][:, 8:].max() == 0
    part = clip.select([2, 3])
    assert part.annotated_frames() == [0] and part.motion_masks and part.motion_masks[0].mean() == 0.25
    assert np.allclose(part.world_from_cameras, poses(4)[2:]) and part.images == clip.images[2:]  # type: ignore[arg-type]
    assert part.timestamps == pytest.approx([2 / 24, 3 / 24])


def test_sintel_without_truth(sintel: Path) -> None:
    write_image(sintel / "sintel/training/final/cave_9/frame_0001.png")
    clip = open_dataset("sintel", sintel).clip("cave_9")
    assert clip.world_from_cameras is clip.z_depths is clip.motion_masks is None and clip.annotated_frames() == []


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("camdata_left/alley_2/frame_0002.cam", b"1234", "not a camera file of Sintel"),
        ("camdata_left/alley_2/frame_0002.cam", struct.pack("<f21d", 202021.25, *[np.nan] * 21), "not finite"),
        ("depth/alley_2/frame_0004.dpt", struct.pack("<fii", 202021.25, 1 << 30, 1 << 30), "damaged"),
        ("depth/alley_2/frame_0004.dpt", b"", "not a depth file of Sintel"),
    ],
)
def test_damaged_files_of_sintel(sintel: Path, file: str, content: bytes, sentence: str) -> None:
    (sintel / "sintel" / "training" / file).write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        clip = open_dataset("sintel", sintel).clip("alley_2")
        assert clip.z_depths is not None
        clip.z_depths[3]


def test_missing_camera(sintel: Path) -> None:
    (sintel / "sintel/training/camdata_left/alley_2/frame_0002.cam").unlink()
    with pytest.raises(InputError, match="frame_0002.cam is missing"):
        open_dataset("sintel", sintel).clip("alley_2")
