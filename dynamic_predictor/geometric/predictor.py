"""The weight-free predictor: cameras, depth and motion of a clip, each refined with the others in a few rounds."""

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dynamic_predictor.geometric.convergence import SETTLED_SHIFT, in_units_of, rigid_flow_shift
from dynamic_predictor.geometric.depth import DepthEstimate, estimate_depth
from dynamic_predictor.geometric.motion import estimate_motion
from dynamic_predictor.geometric.structure_from_motion import CameraEstimate, estimate_cameras
from dynamic_predictor.optical_flow.flow_field import FlowField
from scene.errors import InputError
from scene.frames import Frames
from scene.maps import FrameMaps
from scene.progress import Progress, ignore_progress
from scene.scene import Scene


@dataclass(frozen=True)
class GeometricSettings:
    """`rounds`: how often cameras, depth and motion are estimated at most, each time with the motion masks of the last
    round; fewer when the masks change nothing about the cameras that could be seen in the flow. `focal`: the focal
    length in pixels if it is known."""

    rounds: int = 2
    focal: float | None = None


class GeometricPredictor:
    """Optical flow, bundle adjustment, depth from flow, and motion by what flow they leave unexplained."""

    def __init__(self, settings: GeometricSettings | None = None, *, seed: int = 0) -> None:
        self.settings = settings or GeometricSettings()
        self.seed = seed

    def predict(self, frames: Frames, *, masks: FrameMaps | None = None, progress: Progress = ignore_progress) -> Scene:
        """The scene of at least two `frames`. With `masks` (1 = moves) there is no motion estimation: they hold for
        cameras and depth and are handed on as they are. Raises `InputError` for fewer than two frames and for masks
        whose number differs from that of the frames."""
        if len(frames) < 2:
            raise InputError(f"There is only {len(frames)} frame; cameras need at least two frames of a moving view.")
        if masks is not None and len(masks) != len(frames):
            raise InputError(
                f"There are {len(masks)} motion masks for {len(frames)} frames; give one mask for every frame."
            )
        flow = FlowField(frames)
        timings = {"cameras": 0.0, "depth": 0.0, "motion": 0.0}
        motion = masks
        cameras: CameraEstimate | None = None
        depth: DepthEstimate | None = None
        rounds = 1 if masks is not None else max(self.settings.rounds, 1)
        done = 0
        for _ in range(rounds):
            begin = time.perf_counter()
            found = estimate_cameras(
                flow, motion, focal=self.settings.focal, initial=cameras, seed=self.seed, progress=progress
            )
            timings["cameras"] += time.perf_counter() - begin
            if cameras is not None:
                found = in_units_of(found, cameras)
                if rigid_flow_shift(cameras, found) < SETTLED_SHIFT:
                    cameras = found
                    break
            cameras = found
            done += 1
            begin = time.perf_counter()
            # the last round's maps are as large as the clip
            depth = None
            # without the masks: the next masks are found by what even a depth of its own cannot explain
            depth = estimate_depth(flow, cameras.cameras, masks, progress=progress)
            timings["depth"] += time.perf_counter() - begin
            if masks is None:
                begin = time.perf_counter()
                motion = estimate_motion(flow, cameras.cameras, depth.z_depths, depth.confidences, progress=progress)
                timings["motion"] += time.perf_counter() - begin
        assert cameras is not None and depth is not None
        if masks is None:
            begin = time.perf_counter()
            depth.fill(frames, motion)
            timings["depth"] += time.perf_counter() - begin
        return Scene(
            frames=frames,
            cameras=cameras.cameras,
            motion_masks=motion,
            z_depths=depth.z_depths,
            confidences=depth.confidences,
            points=cameras.points,
            predictor="geometric",
            provenance=self._provenance(cameras, done, timings, masks is not None),
        )

    def _provenance(
        self, cameras: CameraEstimate, rounds: int, timings: dict[str, float], user_masks: bool
    ) -> dict[str, Any]:
        return {
            "settings": {**asdict(self.settings), "seed": self.seed},
            "rounds": rounds,
            "cameras": cameras.method,
            "has_translation": bool(cameras.has_translation),
            "median_reprojection_error_pixels": float(cameras.median_reprojection_error),
            "measured_cameras": int(np.count_nonzero(cameras.measured)),
            "motion_masks": "the user's" if user_masks else "estimated",
            "warnings": list(cameras.warnings),
            "seconds": {name: round(value, 2) for name, value in timings.items()},
            "seconds_cameras": {name: round(float(value), 2) for name, value in cameras.timings.items()},
        }
