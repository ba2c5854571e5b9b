"""Every raw download, prepared from a miniature folder and read back: geometry and colors of the exact scene."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dynamic_predictor.preparation.running import prepare_set
from dynamic_predictor.preparation.table import PREPARATIONS
from dynamic_predictor.training.datasets.mixtures import MIXTURES
from dynamic_predictor.training.datasets.training_set import open_training_set
from tests.dynamic_predictor.preparation.raw_folders import ARKIT_FROM_WORLD, COUNT, NEEDS, WRITERS
from tests.dynamic_predictor.training.datasets.exact_scene import EXACT, HEIGHT, WIDTH, colors, distance_to_surface

#: sets whose preparation changes the size of images, so that depth comes from a pixel nearby
_RESIZED = {"co3d", "wildrgbd", "scannetpp", "blendedmvs", "spring", "waymo"}
#: where depth is known for few pixels, and where 1 / 65.535 meters is the smallest step
_SPARSE, _COARSE = {"waymo"}, {"point_odyssey"}
#: where the principal point is in the middle
_CENTERED = {"megadepth", "omniobject3d"}
_SCENES = {"scannet": 2, "vkitti2": 2}


def test_all_sets_of_streamvggt_are_here() -> None:
    assert set(PREPARATIONS) == set(MIXTURES["streamvggt"].samples) == set(WRITERS)


@pytest.mark.parametrize("name", sorted(PREPARATIONS))
def test_prepared_set_is_exact(name: str, tmp_path: Path) -> None:
    for package in NEEDS.get(name, ()):
        pytest.importorskip(package, reason=f"NOT CHECKED: {name} needs {package}, which is not installed")
    WRITERS[name](tmp_path / "raw")
    result = prepare_set(name, PREPARATIONS[name], tmp_path / "raw", tmp_path / "out")
    assert result.failed == {} and result.earlier == [] and len(result.done) == _SCENES.get(name, 1)
    views = 3
    training_set = open_training_set(name, tmp_path / "out", max_views=views)
    for number in range(3):
        size = (WIDTH, HEIGHT) if name in _CENTERED else EXACT
        sample = training_set.sample(number % len(training_set), views, size, np.random.default_rng(number))
        valid = sample.valid.numpy()
        assert valid.mean() > (0.005 if name in _SPARSE else 0.4)
        points = sample.world_points().numpy()
        if name.startswith("arkitscenes"):
            points = points @ ARKIT_FROM_WORLD[:3, :3]  # its inverse, applied to rows
        distance = distance_to_surface(points)[valid]
        largest = 0.15 if name in _RESIZED else 0.02 if name in _COARSE else 0.01
        assert distance.max() < largest and distance.mean() < largest / 4
        # depth is neither too near nor too far on the whole
        assert abs(np.median(points[..., 1][valid & (points[..., 2] < 3)]) - 1) < 0.02
        if name != "hypersim":  # brightness is changed there
            shown = sample.images.permute(0, 2, 3, 1).numpy() * 255
            assert np.abs(shown - colors(points))[valid].mean() < 6
        if name == "vkitti2":
            assert sample.sky.any() and not (sample.sky & sample.valid).any()
        assert torch.isfinite(sample.images).all()


def test_lists_of_the_whole_set(tmp_path: Path) -> None:
    """Selected frames of objects; scale.json; only frames with poses."""
    WRITERS["wildrgbd"](tmp_path / "raw")
    prepare_set("wildrgbd", PREPARATIONS["wildrgbd"], tmp_path / "raw", tmp_path / "out")
    text = (tmp_path / "out" / "selected_seqs_train.json").read_text()
    assert "scenes/scene_000" in text and len(open_training_set("wildrgbd", tmp_path / "out", max_views=COUNT)) == 1
    WRITERS["scannet"](tmp_path / "scannet")
    prepare_set("scannet", PREPARATIONS["scannet"], tmp_path / "scannet", tmp_path / "prepared")
    for scene in ("scene0000_00", "scene0001_00"):
        images = sorted(path.stem for path in (tmp_path / "prepared" / "scans_train" / scene / "color").glob("*"))
        assert images == ["00000", "00001", "00003", "00004"]  # the third frame has no pose
