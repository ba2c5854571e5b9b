"""Tiny networks learn one generated scene by heart, within a minute on two cores."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dynamic_predictor.cut3r.network import Cut3rNetwork
from dynamic_predictor.streamvggt.network import GeometryNetwork
from dynamic_predictor.training.processes import Process
from dynamic_predictor.training.sequences.cut3r_recipe import Cut3rRecipe
from dynamic_predictor.training.sequences.fresh_weights import draw_weights
from dynamic_predictor.training.sequences.sequence_batches import open_mixture
from dynamic_predictor.training.sequences.settings import Cut3rTrainingSettings, VggtTrainingSettings
from dynamic_predictor.training.sequences.streamvggt_recipe import DistillationRecipe, PointRecipe
from dynamic_predictor.training.training_log import read_log
from dynamic_predictor.training.training_run import train
from tests.dynamic_predictor.cut3r.small_networks import MINIMAL as SMALL_CUT3R
from tests.dynamic_predictor.streamvggt.tiny_networks import MINIMAL as SMALL_VGGT
from tests.dynamic_predictor.training.sequences.generated_scenes import write_scenes

ALONE = Process(0, 1, torch.device("cpu"))
COMMON = {
    "samples": {"spring": 40},
    "least_views": 3,
    "views": 3,
    "crop_extra": 0,
    "color_jitter": 0.0,
    "batch_size": 1,
    "warmup_epochs": 0.5,
    "learning_rate": 2e-3,
    "least_learning_rate": 1e-5,
    "keep_every_epochs": 100,
}


@pytest.fixture
def small_root(tmp_path):
    return write_scenes(tmp_path / "data", scenes=1, frames=3)


def steps(folder, name: str = "loss") -> np.ndarray:
    return np.array([line[name] for line in read_log(folder) if "loss" in line])


@pytest.mark.slow
@pytest.mark.parametrize("chunk_views", [0, 1])
def test_cut3r(small_root, tmp_path, chunk_views):
    """Chunks train no encoder: it stays random, so that they learn less."""
    settings = Cut3rTrainingSettings(
        resolutions=((64, 48),),
        epochs=5,
        chunk_views=chunk_views,
        freeze="encoder" if chunk_views else "none",
        **COMMON,
    )
    network = Cut3rNetwork(SMALL_CUT3R)
    draw_weights(network, 0)
    mixture = open_mixture(settings.mixture, small_root, seed=0, augmentation=settings.augmentation)
    train(Cut3rRecipe(network, mixture, settings), tmp_path / "out", process=ALONE)
    curve = steps(tmp_path / "out")
    assert curve[-10:].mean() < (0.25 if chunk_views else 0.05) * curve[:3].mean()
    assert steps(tmp_path / "out", "poses")[-10:].mean() < 0.1


@pytest.mark.slow
def test_streamvggt_learns_from_a_teacher_that_has_learned_the_scene(small_root, tmp_path):
    settings = VggtTrainingSettings(resolutions=((56, 42),), query_points=16, epochs=4, **COMMON)
    mixture = open_mixture(settings.mixture, small_root, seed=0, augmentation=settings.augmentation)
    teacher, student = GeometryNetwork(SMALL_VGGT), GeometryNetwork(SMALL_VGGT)
    draw_weights(teacher, 1)
    draw_weights(student, 2)
    train(PointRecipe(teacher, mixture, replace(settings, task="points"), None), tmp_path / "teacher", process=ALONE)
    points = steps(tmp_path / "teacher", "world_points")
    assert points[-10:].mean() < 0.3 * points[:3].mean()
    train(DistillationRecipe(student, teacher, mixture, settings), tmp_path / "student", process=ALONE)
    curve, cameras = steps(tmp_path / "student"), steps(tmp_path / "student", "camera")
    assert curve[-10:].mean() < 0.05 * curve[:3].mean()
    assert cameras[-10:].mean() < 0.05 * cameras[:3].mean()
