"""The weight-free predictor: cameras, depth and motion of a clip, each refined with the others in a few rounds."""

import time
from dataclasses import asdict
from typing import Any

import numpy as np

from dynamic_predictor.contract import Prediction, Views
from dynamic_predictor.geometric.camera_choice import CLOSE_CHOICE
from dynamic_predictor.geometric.convergence import SETTLED_SHIFT, in_units_of, rigid_flow_shift
from dynamic_predictor.geometric.depth import DepthEstimate, estimate_depth
from dynamic_predictor.geometric.motion import MotionEstimate, estimate_motion
from dynamic_predictor.geometric.settings import GeometricSettings
from dynamic_predictor.geometric.structure_from_motion import CameraEstimate, estimate_cameras
from dynamic_predictor.optical_flow.estimation import create_optical_flow
from dynamic_predictor.optical_flow.flow_field import FlowField
from scene.errors import InputError
from scene.progress import Progress, ignore_progress
from scene.undistortion import UndistortedFrames, Undistortion, undistorted_masks


class GeometricPredictor:
    """Optical flow, bundle adjustment, depth from flow, and motion from the flow that cameras and depth do not explain.

    Keeps the contract of `dynamic_predictor.contract.Predictor`.
    """

    def __init__(self, settings: GeometricSettings | None = None, *, device: str = "cpu", seed: int = 0) -> None:
        """`device`: where a network for optical flow runs; everything else runs on the CPU."""
        self.settings = settings or GeometricSettings()
        self.device = device
        self.seed = seed

    def predict(self, views: Views, *, progress: Progress = ignore_progress) -> Prediction:
        """The prediction for at least two views of a clip of any length, at the size of its frames. The user's motion
        masks, where given, replace motion estimation. With `Views.find_lens` a lens that distorts is looked for; where
        there is one, the frames are undistorted for all that follows. Raises `InputError` for fewer than two frames."""
        frames, masks = views.frames, views.motion_masks
        if len(frames) < 2:
            raise InputError(f"There is only {len(frames)} frame; cameras need at least two frames of a moving view.")
        warnings: list[str] = []
        estimator = create_optical_flow(self.settings.flow, auto="dis", device=self.device, warn=warnings.append)
        flow = FlowField(frames, estimator, observed=views.observed)
        timings = {"cameras": 0.0, "depth": 0.0, "motion": 0.0}
        motion, focal, lens = masks, views.focal, None
        estimate: MotionEstimate | None = None
        cameras: CameraEstimate | None = None
        depth: DepthEstimate | None = None
        rounds = 1 if masks is not None else max(self.settings.rounds, 1)
        done = 0
        for _ in range(rounds):
            begin = time.perf_counter()
            found = estimate_cameras(
                flow,
                motion,
                focal=focal,
                initial=cameras,
                lens=views.find_lens and cameras is None,
                seed=self.seed,
                progress=progress,
            )
            if found.lens is not None:
                lens, preliminary = found.lens, found
                undistortion = Undistortion.of(lens, centered=True)
                frames = UndistortedFrames(frames, undistortion)
                observed = undistorted_masks(views.observed, undistortion)
                masks = motion = undistorted_masks(masks, undistortion)
                flow, focal = FlowField(frames, estimator, observed=observed), undistortion.pinhole.fx
                found = estimate_cameras(
                    flow, motion, focal=focal, initial=preliminary, seed=self.seed, progress=progress
                )
                warnings += preliminary.warnings
            timings["cameras"] += time.perf_counter() - begin
            if cameras is not None:
                # masks of a wrong first choice hide that it was close
                warnings += [CLOSE_CHOICE] if CLOSE_CHOICE in cameras.warnings else []
                found.warnings[:] = [sentence for sentence in found.warnings if sentence != CLOSE_CHOICE]
                found = in_units_of(found, cameras)
                if rigid_flow_shift(cameras, found) < SETTLED_SHIFT:
                    cameras = found
                    break
            cameras = found
            done += 1
            begin = time.perf_counter()
            # the last round's maps are as large as the clip
            depth = None
            # without the estimated masks, so that the next ones mark only flow that no depth of a pixel explains
            depth = estimate_depth(flow, cameras.cameras, masks, progress=progress)
            timings["depth"] += time.perf_counter() - begin
            if masks is None:
                begin = time.perf_counter()
                # the last round's maps are as large as the clip
                estimate = motion = None
                estimate = estimate_motion(flow, cameras.cameras, depth.z_depths, depth.confidences, progress=progress)
                motion = estimate.extent
                timings["motion"] += time.perf_counter() - begin
        assert cameras is not None and depth is not None
        if masks is None:
            begin = time.perf_counter()
            # with the whole extent: where flow is blurred over the border of an object, depth is wrong too
            depth.fill(flow.images, motion)
            timings["depth"] += time.perf_counter() - begin
            begin = time.perf_counter()
            assert estimate is not None
            motion = estimate.masks(flow.images, warnings)
            timings["motion"] += time.perf_counter() - begin
        return Prediction(
            z_depth=depth.z_depths,
            confidence=depth.confidences,
            world_from_camera=np.stack([camera.world_from_camera for camera in cameras.cameras]),
            intrinsics=np.stack([camera.intrinsics for camera in cameras.cameras]),
            motion=motion,
            points=cameras.points,
            lens=lens,
            provenance=self._provenance(cameras, views, done, timings),
            warnings=(*warnings, *cameras.warnings),
        )

    def _provenance(
        self, cameras: CameraEstimate, views: Views, rounds: int, timings: dict[str, float]
    ) -> dict[str, Any]:
        return {
            "settings": {**asdict(self.settings), "focal": views.focal, "seed": self.seed},
            "rounds": rounds,
            "cameras": cameras.method,
            "camera_model": "zoom" if cameras.zoom is not None else "pinhole",
            "has_translation": bool(cameras.has_translation),
            "median_reprojection_error_pixels": float(cameras.median_reprojection_error),
            "measured_cameras": int(np.count_nonzero(cameras.measured)),
            "seconds": {name: round(value, 2) for name, value in timings.items()},
            "seconds_cameras": {name: round(float(value), 2) for name, value in cameras.timings.items()},
        }
