"""Depth Anything 3 as a predictor: cameras, depth and confidence by the network; it has no motion masks."""

import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dynamic_predictor.contract import Prediction, Views
from dynamic_predictor.depth_anything3.checkpoint import find_model
from dynamic_predictor.depth_anything3.model import DepthAnything3, ImageWarning
from dynamic_predictor.depth_anything3.prediction import DepthAnything3Prediction
from dynamic_predictor.depth_anything3.settings import DepthAnything3Settings
from scene.progress import Progress, StageClock, ignore_progress


class DepthAnything3Predictor:
    """A published model by its name. Keeps the contract of `dynamic_predictor.contract.Predictor`."""

    def __init__(
        self,
        name: str,
        settings: DepthAnything3Settings | None = None,
        *,
        device: str = "cpu",
        seed: int = 0,
        model: DepthAnything3 | None = None,
    ) -> None:
        """`model` is used instead of loading the weights."""
        self.name = name
        self.settings = settings or DepthAnything3Settings()
        self.device = device
        self.seed = seed
        self._model = model

    def require(self) -> None:
        """As `contract.LearnedPredictor`."""
        if self._model is None:
            find_model(self.settings.weights or self.name)

    def predict(self, views: Views, *, progress: Progress = ignore_progress) -> Prediction:
        """The prediction for all views at once, at the size that the network sees. Known poses and intrinsics
        condition any-view models and fix the world and its unit; a known focal length gives the metric model its unit.

        Raises `InputError` for missing or wrong weights and too little memory.
        """
        frames, poses, intrinsics = views.frames, None, views.intrinsics
        images = [frames.rgb8(index) for index in range(len(views))]
        if views.world_from_camera is not None:
            poses = np.linalg.inv(views.world_from_camera)
        elif views.focal is not None:
            matrix = [[views.focal, 0.0, frames.width / 2], [0.0, views.focal, frames.height / 2], [0.0, 0.0, 1.0]]
            intrinsics = np.tile(np.array(matrix), (len(views), 1, 1))
        return self._predict(images, poses, intrinsics, progress)

    def predict_collection(self, images: Sequence[Path], *, progress: Progress = ignore_progress) -> Prediction:
        """As `predict`, for image files of any sizes."""
        return self._predict(images, None, None, progress)

    def _predict(
        self,
        images: Sequence[np.ndarray | Path],
        camera_from_world: np.ndarray | None,
        intrinsics: np.ndarray | None,
        progress: Progress,
    ) -> Prediction:
        clock, settings = StageClock(), self.settings
        model = self._loaded()
        clock.note("weights")
        progress("network", 0, len(images))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImageWarning)  # its sentences are among the prediction's warnings
            found = model.inference(
                list(images),
                extrinsics=camera_from_world,
                intrinsics=intrinsics,
                infer_gs=settings.infer_gs,
                use_ray_pose=settings.use_ray_pose,
                ref_view_strategy=settings.ref_view_strategy,
                process_res=settings.process_res,
                process_res_method=settings.process_res_method,
                export_feat_layers=settings.export_feat_layers,
            )
        clock.note("network")
        progress("network", len(images), len(images))
        described = {**asdict(settings), "seed": self.seed}
        if settings.weights is not None:
            described["weights"] = Path(settings.weights).name
        provenance = {"settings": described, "model": model.name, "seconds": clock.seconds}
        return as_prediction(found, provenance)

    def _loaded(self) -> DepthAnything3:
        if self._model is None:
            settings = self.settings
            self._model = DepthAnything3.from_pretrained(
                self.name if settings.weights is None else settings.weights,
                expected=None if settings.weights is None else self.name,
                device=self.device,
                precision=settings.precision,
                memory_budget=settings.memory_budget,
                seed=self.seed,
            )
        return self._model


def as_prediction(found: DepthAnything3Prediction, provenance: dict[str, Any]) -> Prediction:
    """A prediction with the names of the official package as a `contract.Prediction`."""
    poses = matrices = None
    if found.extrinsics is not None and found.intrinsics is not None:
        poses = np.stack([camera.world_from_camera for camera in found.cameras()])
        matrices = np.asarray(found.intrinsics, np.float64)
    return Prediction(
        z_depth=np.asarray(found.depth, np.float32),
        confidence=found.confidence(),
        world_from_camera=poses,
        intrinsics=matrices,
        is_metric=bool(found.is_metric),
        exportable=found.exportable(),
        has_network_confidence=True,
        provenance=provenance,
        warnings=tuple(found.warnings),
    )
