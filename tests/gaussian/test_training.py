"""Whole runs on a tiny scene: a textured wall with a step in depth, seen by a sliding camera, with a moving square."""

from dataclasses import replace
from pathlib import Path

import diff_gaussian_rasterization as kernels
import numpy as np
import pytest
import torch

from gaussian.model_folder import load_model
from gaussian.optimizer import Edit
from gaussian.poses import correction_matrix
from gaussian.rendering import render
from gaussian.settings import TrainSettings
from gaussian.train_result import TrainResult
from gaussian.trainer import train
from gaussian.training_run import TrainingRun
from scene.camera import Camera
from scene.errors import InputError
from scene.gaussians import Gaussians
from scene.maps import StoredMaps
from scene.progress import ignore_progress
from scene.scene import Scene

WIDTH, HEIGHT, COUNT = 72, 48, 12


class MemoryFrames:
    def __init__(self, images: np.ndarray) -> None:
        self._images = images
        self.height, self.width = images.shape[1:3]
        self.names = [f"{index:05d}.png" for index in range(len(images))]
        self.timestamps = [index / 25 for index in range(len(images))]

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.rgb8(index).astype(np.float32) / 255

    def rgb8(self, index: int) -> np.ndarray:
        return self._images[index]


def cameras() -> list[Camera]:
    result = []
    for index in range(COUNT):
        pose = np.eye(4)
        pose[:2, 3] = 0.08 * (index - COUNT / 2), 0.05 * np.sin(index)
        result.append(Camera(WIDTH, HEIGHT, 60.0, 60.0, WIDTH / 2, HEIGHT / 2, pose))
    return result


def ray_depth(camera: Camera) -> np.ndarray:
    """Exact z depth: a wall at z = 4, on the right half of the world a step at z = 3."""
    u = (np.arange(WIDTH) + 0.5 - camera.cx) / camera.fx
    near = np.broadcast_to(u * 3.0 + camera.center[0] > 0.2, (HEIGHT, WIDTH))
    return np.where(near, 3.0, 4.0)


def make_scene(*, mover: bool = True, masked: bool = True) -> Scene:
    """Images by the exact formula, a red square of 14 pixels that crosses them, and its mask if `masked`."""
    all_cameras = cameras()
    images = np.zeros((COUNT, HEIGHT, WIDTH, 3), np.float32)
    masks, depths, confidences = (StoredMaps(COUNT, HEIGHT, WIDTH, np.float32) for _ in range(3))
    for index, camera in enumerate(all_cameras):
        depth = ray_depth(camera)
        points = camera.unproject(depth)
        x, y = points[..., 0], points[..., 1]
        images[index, ..., 0] = 0.5 + 0.3 * np.sin(5 * x) * np.cos(4 * y)
        images[index, ..., 1] = 0.5 + 0.3 * np.cos(7 * x + 2 * y)
        images[index, ..., 2] = 0.4 + 0.2 * np.sin(6 * y)
        mask = np.zeros((HEIGHT, WIDTH), np.float32)
        if mover:
            column = 4 + 4 * index
            images[index, 16:30, column : column + 14] = 0.9, 0.1, 0.1
            mask[16:30, column : column + 14] = float(masked)
        masks[index], depths[index], confidences[index] = mask, depth, np.ones_like(mask)
    frames = MemoryFrames(np.rint(images * 255).astype(np.uint8))
    return Scene(frames, all_cameras, masks, depths, confidences)


SETTINGS = TrainSettings(iterations=120, max_gaussians=2500, resolution_schedule=False, checkpoint_every=0)


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
        """Where points of a frame land in the next but two, against the truth; no choice of world changes it, and a
        turn that a shift makes up for counts little."""
        errors = []
        for index in range(COUNT - 3):
            points = np.concatenate([cameras()[0].unproject(ray_depth(cameras()[index])).reshape(-1, 3)[::37]])
            points -= cameras()[0].center
            wanted = true[index + 3] @ np.linalg.inv(true[index])
            got = found[index + 3].camera_from_world @ found[index].world_from_camera
            there, here = (points @ matrix[:3, :3].T + matrix[:3, 3] for matrix in (wanted, got))
            errors.append(np.linalg.norm(60 * (there[:, :2] / there[:, 2:] - here[:, :2] / here[:, 2:]), axis=1).mean())
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


def test_held_out_frames_are_scored_and_never_trained_on(tmp_path: Path) -> None:
    scene = make_scene()
    spoiled = make_scene()
    for index in (5,):
        spoiled.frames._images[index] = 255 - spoiled.frames._images[index]  # type: ignore[attr-defined]
    settings = replace(SETTINGS, iterations=30, protocol="das3r")
    result, other = (train(which, settings, None, annotations=which.motion_masks) for which in (scene, spoiled))
    assert result.test_frames == [5] and result.test_cameras == "interpolated correction"
    for name, tensor in result.gaussians.tensors().items():
        assert torch.equal(tensor, other.gaussians.tensors()[name]), name
    assert result.test_metrics["psnr_static"] > other.test_metrics["psnr_static"] + 3
    # moving pixels count as perfect in DAS3R's protocol
    assert result.test_metrics["psnr_das3r"] > result.test_metrics["psnr_static"]
    refined = train(scene, replace(settings, refine_test_cameras=True), None, annotations=scene.motion_masks)
    assert refined.test_metrics["cameras"] == "optimized on static pixels"


def test_model_folder_holds_what_was_trained(tmp_path: Path) -> None:
    result = train(make_scene(), replace(SETTINGS, iterations=20), tmp_path / "model")
    model = load_model(tmp_path / "model")
    assert len(model.gaussians) == len(result.gaussians) and abs(model.frame_rate - 25) < 1e-6
    one = render(result.gaussians, result.cameras[4]).image
    np.testing.assert_allclose(render(model.gaussians, model.cameras[4]).image, one, atol=2e-3)
    (tmp_path / "model/cameras.json").write_text("{")
    with pytest.raises(InputError):
        load_model(tmp_path / "model")


@pytest.mark.parametrize(("simd", "threads"), [("auto", 1), ("torch", 2)])
def test_pytorch_leaves_the_cores_to_the_kernels_while_they_train(simd: str, threads: int) -> None:
    """Unless it does their work, and only until then, also if training is broken off."""
    seen: list[int] = []

    def break_off(stage: str, done: int, total: int) -> None:
        if stage == "optimizing":
            seen.append(torch.get_num_threads())
            raise ZeroDivisionError

    before, before_simd = torch.get_num_threads(), kernels.simd()
    kernels.set_simd(simd)
    torch.set_num_threads(2)
    try:
        with pytest.raises(ZeroDivisionError):
            train(make_scene(), replace(SETTINGS, iterations=2), None, progress=break_off)
        assert seen == [threads]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
        kernels.set_simd(before_simd)


def test_survey_counts_blending_weights() -> None:
    run = TrainingRun(make_scene(), replace(SETTINGS, iterations=5))
    run.prepare(ignore_progress)
    frames = [3, 7]
    survey = run.survey(frames, 1)
    alpha = sum(float(render(run.gaussians, run.cameras.camera(frame)).alpha.sum()) for frame in frames)
    assert abs(float(survey.shown.sum()) - alpha) < 1e-3 * alpha
    masked = sum(float(1 - run.static_weights[frame].mean()) for frame in frames) / 2
    assert abs(float(survey.static.sum()) / alpha - (1 - masked)) < 0.03
    assert (survey.static <= survey.shown + 1e-3).all() and float(survey.error.min()) >= 0


def test_unsupervised_gaussians_are_removed() -> None:
    run = TrainingRun(make_scene(), replace(SETTINGS, iterations=5))
    run.prepare(ignore_progress)
    before = len(run.gaussians)
    floaters = Gaussians(
        means=torch.tensor([[0.0, 0.0, -5.0], [0.0, 20.0, 4.0]]),
        log_scales=torch.full((2, 3), -3.0),
        rotations=torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(2, 1),
        logit_opacities=torch.full((2,), 2.0),
        sh_coefficients=torch.zeros(2, run.gaussians.sh_coefficients.shape[1], 3),
    )
    run.optimizer.apply(Edit(torch.arange(before), floaters))
    run.finish()
    # behind every camera, out of every image
    assert not any((run.gaussians.means == floater).all(dim=1).any() for floater in floaters.means)
    assert len(run.gaussians) > 0.8 * before


def test_a_run_that_ends_without_gaussians_says_so(tmp_path: Path) -> None:
    scene = make_scene(mover=False)
    assert scene.motion_masks is not None
    for index in range(COUNT):
        mask = np.ones((HEIGHT, WIDTH), np.float32)
        if index == 0:
            mask[:2, :3] = 0.49  # enough to begin with, not enough to be kept
        scene.motion_masks[index] = mask  # type: ignore[index]
    with pytest.raises(InputError, match="No Gaussian is left"):
        train(scene, replace(SETTINGS, iterations=60), tmp_path)
    with pytest.raises(InputError, match="No Gaussian is left"):
        train(scene, replace(SETTINGS, iterations=60), tmp_path, resume=True)
