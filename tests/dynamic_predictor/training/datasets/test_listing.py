"""Scenes, frames and overlaps as they are listed in processed folders."""

from pathlib import Path

import numpy as np
import pytest

from dynamic_predictor.training.datasets.listing import list_scenes
from dynamic_predictor.training.datasets.table import TRAINING_SETS
from scene.errors import InputError
from tests.dynamic_predictor.training.datasets.processed_folders import WRITERS


def test_frames_are_in_order_of_time(tmp_path: Path) -> None:
    WRITERS["uasol"](tmp_path / "uasol")  # frame0 to frame11: not the order of the alphabet
    (scene,) = list_scenes(TRAINING_SETS["uasol"], tmp_path / "uasol")
    assert [frame for _, frame in scene.frames] == [f"frame{number}" for number in range(12)]
    assert scene.runs == [("", 0, 12)]
    WRITERS["dynamic_replica"](tmp_path / "replica")
    folder = tmp_path / "replica" / "train" / "1a2b3c-3_obj" / "left" / "rgb"
    (folder / "0.03333.png").rename(folder / "0.0333333.png")  # more decimals than 0.1
    (scene,) = list_scenes(TRAINING_SETS["dynamic_replica"], tmp_path / "replica")
    assert [float(frame) for _, frame in scene.frames] == sorted(float(frame) for _, frame in scene.frames)
    WRITERS["scannetpp"](tmp_path / "scannetpp")
    (scene,) = list_scenes(TRAINING_SETS["scannetpp"], tmp_path / "scannetpp")
    assert scene.runs == [("DSC", 0, 12), ("frame", 12, 24)]  # without the frame that has no files
    WRITERS["mapfree"](tmp_path / "mapfree")
    (scene,) = list_scenes(TRAINING_SETS["mapfree"], tmp_path / "mapfree")
    assert scene.runs == [("dense0", 0, 12), ("dense1", 12, 24)]


def test_overlaps(tmp_path: Path) -> None:
    WRITERS["mp3d"](tmp_path)
    pairs = np.array([[0, 1, 0.5], [0, 2, 0.005], [0, 3, 1.0], [2, 0, 0.25], [0, 4, 0.75]])
    np.save(tmp_path / "17DRP5sb8fy" / "overlap.npy", pairs)
    (scene,) = list_scenes(TRAINING_SETS["mp3d"], tmp_path)
    assert scene.neighbors is not None and len(scene.neighbors) == 12
    frames, overlaps = scene.neighbors[0]
    assert frames.tolist() == [1, 4] and overlaps.tolist() == [0.5, 0.75]  # between 0.01 and 1
    assert scene.neighbors[2][0].tolist() == [0] and len(scene.neighbors[5][0]) == 0
    np.save(tmp_path / "17DRP5sb8fy" / "overlap.npy", np.array([[0, 12, 0.5]]))
    with pytest.raises(InputError, match="pairs of frames that do not exist"):
        list_scenes(TRAINING_SETS["mp3d"], tmp_path)


def test_overlaps_of_blendedmvs(tmp_path: Path) -> None:
    for package in ("h5py", "OpenEXR"):
        pytest.importorskip(package, reason=f"NOT CHECKED: BlendedMVS needs {package}, which is not installed")
    WRITERS["blendedmvs"](tmp_path)
    (scene,) = list_scenes(TRAINING_SETS["blendedmvs"], tmp_path)
    assert scene.neighbors is not None
    frames, overlaps = scene.neighbors[0]
    assert frames.tolist() == list(range(1, 12))
    assert overlaps == pytest.approx([0.3 + 0.04 * frame - 0.2 for frame in frames], abs=1e-6)
    (tmp_path / "new_overlap.h5").unlink()
    with pytest.raises(InputError, match="new_overlap.h5 is missing"):
        list_scenes(TRAINING_SETS["blendedmvs"], tmp_path)


def test_lists_that_are_damaged(tmp_path: Path) -> None:
    WRITERS["cop3d"](tmp_path / "cop3d")
    for text, message in (
        ('{"cat": [1]}', "has no scenes for cat"),
        ('{"cat": {"1_2_3": ["x"]}}', "something other than frame numbers for cat/1_2_3"),
        ('{"cat": {', "broken JSON"),
    ):
        (tmp_path / "cop3d" / "selected_seqs_train.json").write_text(text)
        with pytest.raises(InputError, match=message):
            list_scenes(TRAINING_SETS["cop3d"], tmp_path / "cop3d")
    (tmp_path / "megadepth").mkdir()
    path = tmp_path / "megadepth" / "megadepth_sets_64.npz"
    np.savez(path, scenes=np.array(["0001 0"]), images=np.array(["a.jpg"]), sets=np.array([[0, 0, 5]]))
    with pytest.raises(InputError, match="sets of scenes or images that it does not name"):
        list_scenes(TRAINING_SETS["megadepth"], tmp_path / "megadepth")
    WRITERS["arkitscenes_highres"](tmp_path / "arkit")
    metadata = tmp_path / "arkit" / "Training" / "40753679" / "scene_metadata.npz"
    arrays = dict(np.load(metadata))
    np.savez(metadata, **{**arrays, "trajectories": arrays["trajectories"][:3]})
    with pytest.raises(InputError, match="other numbers of cameras than of images"):
        list_scenes(TRAINING_SETS["arkitscenes_highres"], tmp_path / "arkit")
    WRITERS["omniobject3d"](tmp_path / "omni")
    (tmp_path / "omni" / "scale.json").write_text("{}")
    with pytest.raises(InputError, match="no positive scale for anise_001"):
        list_scenes(TRAINING_SETS["omniobject3d"], tmp_path / "omni")
