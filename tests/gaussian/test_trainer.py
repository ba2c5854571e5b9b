"""Whole runs on a small scene whose true images are known."""

import json
from dataclasses import replace
from pathlib import Path

import diff_gaussian_rasterization as kernels
import numpy as np
import pytest
import torch

from gaussian.model_folder import load_model
from gaussian.poses import correction_matrix
from gaussian.rendering import render
from gaussian.train_result import TrainResult
from gaussian.trainer import Trainer, train
from gaussian.training_run import TrainingRun
from scene.camera import Camera
from scene.errors import InputError
from scene.given_masks.opening import open_masks
from scene.progress import ignore_progress
from tests.gaussian.wall_scene import COUNT, HEIGHT, SETTINGS, WIDTH, cameras, make_scene, ray_depth


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(-10 * np.log10(((one - other) ** 2).mean()))


def test_static_scene_appears_without_the_mover() -> None:
    clean = make_scene(mover=False)
    result = train(make_scene(), SETTINGS, None)
    scores = [psnr(render(result.gaussians, result.cameras[k]).image, clean.frames[k]) for k in (2, 6, 9)]
    assert min(scores) > 27, scores
    assert len(result.history) == 3 and result.history[-1]["loss"] < result.history[0]["loss"]


def test_staticness_finds_what_the_mask_missed() -> None:
    clean = make_scene(mover=False)
    settings = replace(SETTINGS, iterations=300)
    blind = train(make_scene(masked=False), replace(settings, learn_staticness=False), None)
    learned = train(make_scene(masked=False), settings, None)

    def behind(result: TrainResult) -> float:
        errors = []
        for index in (3, 6, 8):
            part = np.s_[16:30, 4 + 4 * index : 18 + 4 * index]
            errors.append((render(result.gaussians, result.cameras[index]).image - clean.frames[index])[part] ** 2)
        return float(-10 * np.log10(np.mean(errors)))

    assert behind(learned) > behind(blind) + 2
    inside = [learned.static_weights[k][19:27, 7 + 4 * k : 15 + 4 * k].mean() for k in (3, 6, 8)]
    outside = [learned.static_weights[k][:10].mean() for k in (3, 6, 8)]
    assert max(inside) < 0.3 and min(outside) > 0.95


def test_refinement_recovers_a_disturbed_pose() -> None:
    scene = make_scene(mover=False)
    true = [camera.camera_from_world for camera in scene.cameras]
    rng = np.random.default_rng(3)
    disturbed = []
    for camera in scene.cameras:
        matrix = correction_matrix(np.concatenate([rng.normal(0, 0.8 / camera.fx, 3), np.zeros(3)]))
        disturbed.append(camera.moved(camera.world_from_camera @ matrix))
    scene.cameras = disturbed
    result = train(scene, replace(SETTINGS, iterations=600, refine_focal=False), None)

    def pixel_error(found: list[Camera]) -> float:
        """Mean distance in pixels between points of each frame projected into the third frame after it by the found and
        by the true cameras. It depends neither on the choice of the world nor on rotations that translations
        compensate."""
        errors = []
        for index in range(COUNT - 3):
            points = np.concatenate([cameras()[0].unproject(ray_depth(cameras()[index])).reshape(-1, 3)[::37]])
            points -= cameras()[0].center
            wanted = true[index + 3] @ np.linalg.inv(true[index])
            got = found[index + 3].camera_from_world @ found[index].world_from_camera
            true_points, found_points = (points @ matrix[:3, :3].T + matrix[:3, 3] for matrix in (wanted, got))
            difference = true_points[:, :2] / true_points[:, 2:] - found_points[:, :2] / found_points[:, 2:]
            errors.append(np.linalg.norm(60 * difference, axis=1).mean())
        return float(np.mean(errors))

    assert pixel_error(result.cameras) < 0.4 * pixel_error(disturbed)


@pytest.mark.parametrize("densification", ["mcmc", "adaptive"])
def test_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, densification: str) -> None:
    scene = make_scene()
    settings = replace(SETTINGS, iterations=60, densification=densification, checkpoint_every=25, test_every=5)  # type: ignore[arg-type]
    whole = train(scene, settings, tmp_path / "whole")

    class Stop(Exception):
        pass

    def stop_late(stage: str, done: int, total: int) -> None:
        if stage == "optimizing" and done == 37:
            raise Stop

    with pytest.raises(Stop):
        train(scene, settings, tmp_path / "parts", progress=stop_late)
    assert not (tmp_path / "parts/point_cloud").exists()
    parts = train(scene, settings, tmp_path / "parts", resume=True)
    for name, tensor in whole.gaussians.tensors().items():
        assert torch.equal(tensor, parts.gaussians.tensors()[name]), name
    for one, other in zip(whole.cameras, parts.cameras, strict=True):
        np.testing.assert_array_equal(one.world_from_camera, other.world_from_camera)
        assert one.fx == other.fx
    assert [entry["loss"] for entry in whole.history] == [entry["loss"] for entry in parts.history]
    assert whole.test_metrics == parts.test_metrics


def test_interrupt_saves_a_checkpoint_and_another_scene_is_refused(tmp_path: Path) -> None:
    import os
    import signal

    scene = make_scene()
    settings = replace(SETTINGS, iterations=40)

    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "optimizing" and done == 7:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(scene, settings, tmp_path, progress=interrupt)
    assert (tmp_path / "checkpoint.pt").exists()
    with pytest.raises(InputError, match="other settings"):
        train(scene, replace(settings, seed=5), tmp_path, resume=True)
    with pytest.raises(InputError, match="another scene"):
        train(make_scene(mover=False), settings, tmp_path, resume=True)
    (tmp_path / "checkpoint.pt").write_bytes(b"nonsense")
    with pytest.raises(InputError, match="damaged"):
        train(scene, settings, tmp_path, resume=True)


@pytest.mark.parametrize(("simd", "threads"), [("auto", 1), ("torch", 2)])
def test_pytorch_leaves_the_cores_to_the_kernels_while_they_train(simd: str, threads: int) -> None:
    """Unless the kernels run in PyTorch; afterwards, also after an error, it has its threads again."""
    seen: list[int] = []

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "optimizing":
            seen.append(torch.get_num_threads())
            raise ZeroDivisionError

    before, before_simd = torch.get_num_threads(), kernels.simd()
    kernels.set_simd(simd)
    torch.set_num_threads(2)
    try:
        with pytest.raises(ZeroDivisionError):
            train(make_scene(), replace(SETTINGS, iterations=2), None, progress=stop)
        assert seen == [threads]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
        kernels.set_simd(before_simd)


def test_a_run_that_ends_without_gaussians_says_so(tmp_path: Path) -> None:
    scene = make_scene(mover=False)
    assert scene.motion_masks is not None
    for index in range(COUNT):
        mask = np.ones((HEIGHT, WIDTH), np.float32)
        if index == 0:
            mask[:2, :3] = 0.49  # static enough for the first Gaussians, not for keeping them
        scene.motion_masks[index] = mask  # type: ignore[index]
    with pytest.raises(InputError, match="No Gaussian is left"):
        train(scene, replace(SETTINGS, iterations=60), tmp_path)
    with pytest.raises(InputError, match="No Gaussian is left"):
        train(scene, replace(SETTINGS, iterations=60), tmp_path, resume=True)


def test_a_scene_without_masks_is_taken_as_static_and_the_model_says_so(tmp_path: Path) -> None:
    scene = make_scene()
    for masks in (scene.motion_masks, None):
        scene.motion_masks = masks
        result = train(scene, replace(SETTINGS, iterations=2, test_every=5), tmp_path)
        description = json.loads((tmp_path / "settings.json").read_text())
        assert description["motion_masks"] == (masks is not None)
        assert result.test_metrics["masks"] == ("none" if masks is None else "motion masks of the scene")


def assert_equal(one: TrainResult, other: TrainResult) -> None:
    for name, tensor in one.gaussians.tensors().items():
        assert torch.equal(tensor, other.gaussians.tensors()[name]), name
    for first, second in zip(one.cameras, other.cameras, strict=True):
        np.testing.assert_array_equal(first.world_from_camera, second.world_from_camera)
        assert first.fx == second.fx
    np.testing.assert_array_equal(one.exposures, other.exposures)
    assert [entry["loss"] for entry in one.history] == [entry["loss"] for entry in other.history]
    for frame in range(COUNT):
        np.testing.assert_array_equal(one.static_weights[frame], other.static_weights[frame])


def test_interface_snapshots_and_checkpoints_do_not_change_the_result(tmp_path: Path) -> None:
    """Against the iterations themselves, without trainer."""
    settings = replace(SETTINGS, iterations=60, test_every=5, checkpoint_every=20)
    run = TrainingRun(make_scene(), settings)
    run.prepare(ignore_progress)
    for _ in range(60):
        run.advance()
    run.finish()

    whole = train(make_scene(), settings, tmp_path / "whole")
    trainer = Trainer(make_scene(), settings, tmp_path / "steps")
    taken = []
    while True:
        trainer.request_snapshot([1, 4])
        taken.append(trainer.advance(7))
        snapshot = trainer.snapshot
        assert snapshot is not None and sorted(snapshot.static_weights) == [1, 4]
        if not taken[-1]:
            break
        trainer.save()
    assert taken == [7] * 8 + [4, 0]
    steps = trainer.finish()
    assert trainer.finish() is steps and trainer.advance(3) == 0
    assert_equal(whole, steps)
    for name, tensor in run.gaussians.tensors().items():
        assert torch.equal(tensor, steps.gaussians.tensors()[name]), name
    assert [entry["loss"] for entry in run.history] == [entry["loss"] for entry in steps.history]


def test_a_snapshot_stays_while_the_optimization_goes_on() -> None:
    trainer = Trainer(make_scene(), replace(SETTINGS, iterations=40), None)
    assert trainer.snapshot is None
    trainer.request_snapshot([2])
    assert trainer.advance(10) == 10
    snapshot = trainer.snapshot
    assert snapshot is not None and snapshot.iteration == 0  # what is asked before `advance` is answered at once
    before = {name: tensor.clone() for name, tensor in snapshot.gaussians.tensors().items()}
    trainer.advance(10)
    assert trainer.snapshot is snapshot
    assert all(torch.equal(before[name], tensor) for name, tensor in snapshot.gaussians.tensors().items())
    trainer.request_snapshot()
    assert trainer.advance(0) == 0
    assert trainer.snapshot is not snapshot and trainer.snapshot is not None and trainer.snapshot.iteration == 20


def test_a_stopped_run_is_a_model_and_can_be_continued(tmp_path: Path) -> None:
    settings = replace(SETTINGS, iterations=60)
    whole = train(make_scene(), settings, None)
    trainer = Trainer(make_scene(), settings, tmp_path)
    trainer.advance(25)
    trainer.save()
    stopped = trainer.finish()
    assert len(load_model(tmp_path).gaussians) == len(stopped.gaussians)
    assert (tmp_path / "point_cloud/iteration_25/point_cloud.ply").exists()
    assert_equal(whole, train(make_scene(), settings, tmp_path, resume=True))


def test_a_shorter_run_replaces_the_model_of_a_longer_one(tmp_path: Path) -> None:
    train(make_scene(), replace(SETTINGS, iterations=60), tmp_path)
    shorter = train(make_scene(), replace(SETTINGS, iterations=20, max_gaussians=1500), tmp_path)
    assert len(load_model(tmp_path).gaussians) == len(shorter.gaussians)


def test_what_is_painted_is_followed_kept_and_written(tmp_path: Path) -> None:
    """Painting the mover that the masks missed on some frames; elsewhere the weights stay."""
    settings = replace(SETTINGS, iterations=60, learn_staticness=True)
    trainer = Trainer(make_scene(masked=False), settings, tmp_path)
    trainer.advance(10)
    region = np.zeros((HEIGHT, WIDTH), bool)
    region[16:30, 16:30] = True
    trainer.paint(3, region, True)
    trainer.paint(4, ~region, False)
    trainer.advance(25)
    trainer.save()
    resumed = Trainer(make_scene(masked=False), settings, tmp_path, resume=True)
    for one in (trainer, resumed):
        one.request_snapshot([3, 4])
        one.advance(5)
        assert one.snapshot is not None
        weights = one.snapshot.static_weights
        assert weights[3][region].max() == 0 and weights[3][~region].mean() > 0.9
        assert weights[4][~region].min() == 1
    trainer.paint(4, np.ones_like(region), None)
    trainer.finish()
    frames = make_scene().frames
    masks = open_masks(tmp_path / "painted_masks", frames)
    np.testing.assert_array_equal(masks[3] > 0.5, region)
    assert max(masks[frame].max() for frame in range(COUNT) if frame != 3) == 0


def test_learning_rate_scale_of_zero_changes_nothing() -> None:
    trainer = Trainer(make_scene(), replace(SETTINGS, iterations=20, densification="none"), None)
    trainer.request_snapshot()
    trainer.advance(0)
    start = trainer.snapshot
    trainer.learning_rate_scale = 0.0
    trainer.request_snapshot()
    trainer.advance(5)
    trainer.request_snapshot()
    trainer.advance(0)
    assert start is not None and trainer.snapshot is not None and trainer.snapshot.iteration == 5
    for name, tensor in start.gaussians.tensors().items():
        torch.testing.assert_close(tensor, trainer.snapshot.gaussians.tensors()[name], rtol=0, atol=0)
    for one, other in zip(start.cameras, trainer.snapshot.cameras, strict=True):
        np.testing.assert_allclose(one.world_from_camera, other.world_from_camera, atol=1e-6)
