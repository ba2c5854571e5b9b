"""DAS3R and MonST3R as predictors: pairs of frames through the network, then global alignment."""

from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
import torch

from dynamic_predictor.attention_motion.motion_masks import maps_of_windows, masks_of_clip
from dynamic_predictor.contract import Prediction, Views
from dynamic_predictor.das3r.attention import pair_attention_motion
from dynamic_predictor.das3r.checkpoint import load_network
from dynamic_predictor.das3r.global_alignment.flow_term import FlowFunction
from dynamic_predictor.das3r.global_alignment.long_clip import LongAlignment, align_long_clip
from dynamic_predictor.das3r.global_alignment.pair_graph import graph_for_clip, pair_edges
from dynamic_predictor.das3r.global_alignment.predictions import PairPredictions
from dynamic_predictor.das3r.pairwise import predict_pairs
from dynamic_predictor.das3r.preprocessing import InputGeometry, input_geometry
from dynamic_predictor.das3r.settings import TwoViewSettings
from dynamic_predictor.optical_flow.estimation import create_optical_flow
from dynamic_predictor.stitching.chunk_windows import chunk_windows
from dynamic_predictor.weights.entry import WeightsFile
from dynamic_predictor.weights.finding import require_weights
from scene.confidence import from_network
from scene.frames import Frames, MemoryFrames
from scene.maps import FrameMaps, LoadedMaps, StoredMaps
from scene.progress import Progress, StageClock, ignore_progress


class TwoViewPredictor:
    """DAS3R (Xu et al., 2024) or MonST3R (Zhang et al., ICLR 2025): a network that looks at pairs of frames, and global
    alignment of what it predicts. Keeps the contract of `dynamic_predictor.contract.Predictor`."""

    def __init__(self, weights: WeightsFile, settings: TwoViewSettings | None = None, *, device: str = "cpu") -> None:
        """`weights`: the published file of "das3r" or "monst3r"; `device`: "cpu" or "cuda"."""
        self._weights = weights
        self.name = weights.name
        self.settings = settings or TwoViewSettings()
        self.device = torch.device(device)

    def require(self) -> None:
        """As `contract.LearnedPredictor`."""
        require_weights(self._weights, self.settings.weights)

    def predict(self, views: Views, *, progress: Progress = ignore_progress) -> Prediction:
        """The prediction for the views of a clip of any length, at the size of its frames. The user's motion masks,
        where given, replace those of the network in the alignment.

        Clips longer than a window of the settings are aligned window by window. DAS3R's mask heads find what moves;
        MonST3R has no motion masks (with `strict_official`: the flow that pairs of frames leave unexplained, as in its
        paper). A single view is predicted as a pair of equal frames. Raises `InputError` for missing or wrong weights,
        outputs that are not finite and too little memory.
        """
        if len(views) == 1:
            return self._single(views, progress)
        frames, masks, count = views.frames, views.motion_masks, len(views)
        settings, clock, warnings = self.settings, StageClock(), []
        weights = require_weights(self._weights, settings.weights)
        geometry = input_geometry(frames.width, frames.height, size=settings.image_size, crop=settings.crop)
        images = NetworkImages(frames, geometry)
        windows = chunk_windows(count, settings.window, settings.window_overlap)
        # loaded before the long work, so that missing weights are reported at once
        flow = self._flow(images, warnings)
        network = load_network(weights, mask_heads=self.name == "das3r")
        clock.note("weights")

        def predict_window(first: int, stop: int) -> PairPredictions:
            return predict_pairs(
                network,
                lambda index: images.prepared(first + index),
                self._edges(stop - first),
                geometry.height,
                geometry.width,
                device=self.device,
                batch_size=settings.batch_size,
                half_precision=settings.half_precision,
                progress=progress,
            )

        aligned = align_long_clip(
            count,
            predict_window,
            settings,
            window=settings.window,
            overlap=settings.window_overlap,
            flow=flow,
            motion_masks=None if masks is None else LoadedMaps(count, lambda index: geometry.to_network(masks[index])),
            images=images,
            intrinsics=None if views.focal is None else _network_intrinsics(geometry, views.focal),
            progress=progress,
        )
        clock.note("network and alignment")
        prediction = self._at_frame_size(frames, geometry, aligned, masks)
        prediction.provenance = {
            "settings": {**asdict(settings), "weights": weights.name, "focal": views.focal},
            "network_size": [geometry.width, geometry.height],
            "windows": aligned.windows,
            "window_errors": aligned.window_errors,
            "pairs": sum(len(self._edges(stop - first)) for first, stop in windows),
            "seconds": clock.seconds,
        }
        prediction.warnings = [*warnings, *aligned.warnings]
        return prediction

    def attention_motion(self, views: Views, *, progress: Progress = ignore_progress) -> FrameMaps:
        """Motion masks of 0 and 1 from the cross-attention between the views of a clip of any length (Easi3R), at the
        size of its frames; see `contract.AttentionPredictor`. Clips longer than a window of the settings are looked at
        window by window."""
        frames, count, settings = views.frames, len(views), self.settings
        if count == 1:
            return np.zeros((1, frames.height, frames.width), np.float32)
        weights = require_weights(self._weights, settings.weights)
        geometry = input_geometry(frames.width, frames.height, size=settings.image_size, crop=settings.crop)
        images = NetworkImages(frames, geometry)
        network = load_network(weights, mask_heads=self.name == "das3r")

        def window_maps(first: int, stop: int) -> np.ndarray:
            return pair_attention_motion(
                network,
                lambda index: images.prepared(first + index),
                self._edges(stop - first),
                geometry.height,
                geometry.width,
                device=self.device,
                batch_size=settings.batch_size,
                half_precision=settings.half_precision,
                progress=progress,
            )

        maps = maps_of_windows(chunk_windows(count, settings.window, settings.window_overlap), window_maps)
        size = geometry.width, geometry.height
        return masks_of_clip(maps, size, lambda values: geometry.to_frame(values, outside=None))

    def _single(self, views: Views, progress: Progress) -> Prediction:
        """One view as a pair of equal frames, as DAS3R evaluates single images: the mean of both depths."""
        twins = MemoryFrames(np.stack([views.frames.rgb8(0)] * 2))
        pair = self.predict(replace(views, frames=twins, motion_masks=None), progress=progress)
        assert pair.world_from_camera is not None and pair.intrinsics is not None
        mean = ((pair.z_depth[0] + pair.z_depth[1]) / 2).astype(np.float32)
        return replace(
            pair,
            z_depth=mean[None],
            confidence=pair.confidence[0][None],
            world_from_camera=pair.world_from_camera[:1],
            intrinsics=pair.intrinsics[:1],
            motion=views.motion_masks,
        )

    def _at_frame_size(
        self, frames: Frames, geometry: InputGeometry, aligned: LongAlignment, masks: FrameMaps | None
    ) -> Prediction:
        """Cameras and maps at the frames' size. What was cropped before the network has no depth."""
        count, height, width = len(frames), frames.height, frames.width
        z_depth = StoredMaps(count, height, width, dtype=np.float32)
        confidence = StoredMaps(count, height, width)
        found = aligned.motion_probabilities
        if masks is not None or (self.name == "monst3r" and self.settings.conventions.detects_motion_after_alignment):
            found = None
        motion = None if found is None else StoredMaps(count, height, width)
        for index in range(count):
            z_depth[index] = geometry.to_frame(aligned.z_depths[index], outside=0.0, nearest=True)
            known = from_network(aligned.confidences[index])
            confidence[index] = geometry.to_frame(known, outside=0.0, nearest=True)
            if found is not None and motion is not None:
                motion[index] = geometry.to_frame(found[index], outside=None)
        cameras = [geometry.frame_camera(camera) for camera in aligned.cameras()]
        return Prediction(
            z_depth=z_depth,
            confidence=confidence,
            world_from_camera=np.stack([camera.world_from_camera for camera in cameras]),
            intrinsics=np.stack([camera.intrinsics for camera in cameras]),
            motion=masks if masks is not None else motion,
        )

    def _edges(self, count: int) -> list[tuple[int, int]]:
        """Pairs of frames in a window of `count`."""
        conventions = self.settings.conventions
        return pair_edges(count, graph_for_clip(count, self.settings.scene_graph, conventions), conventions)

    def _flow(self, images: "NetworkImages", warnings: list[str]) -> FlowFunction | None:
        """Flow between frames at the network's size, for the alignment's flow term."""
        settings = self.settings
        if settings.iterations == 0 or (settings.flow_loss_weight == 0 and self.name == "das3r"):
            return None
        estimator = create_optical_flow(
            settings.flow,
            device=self.device.type,
            half_precision=settings.half_precision,
            warn=warnings.append,
        )
        between = estimator.between(images)
        return lambda source, target: between(source, target).displacement


class NetworkImages(Sequence[np.ndarray]):
    """Frames preprocessed for the network on access."""

    def __init__(self, frames: Frames, geometry: InputGeometry) -> None:
        self._frames, self._geometry = frames, geometry

    def __len__(self) -> int:
        return len(self._frames)

    def prepared(self, index: int) -> np.ndarray:
        """Float32 RGB (3, H, W) in [-1, 1]."""
        return self._geometry.prepare(self._frames.rgb8(index))

    def __getitem__(self, index):  # the type of a sequence's slices is of no use here
        """uint8 RGB (H, W, 3)."""
        values = self.prepared(index).transpose(1, 2, 0)
        return np.ascontiguousarray(np.rint((values * 0.5 + 0.5) * 255.0).astype(np.uint8))


def _network_intrinsics(geometry: InputGeometry, focal: float) -> np.ndarray:
    """The 3x3 intrinsics at the network's size of a frame with a known focal length."""
    of_frame = [[focal, 0.0, geometry.frame_width / 2], [0.0, focal, geometry.frame_height / 2], [0.0, 0.0, 1.0]]
    matrix = np.diag([*geometry.scale, 1.0]) @ of_frame
    matrix[:2, 2] -= (geometry.left, geometry.top)
    return matrix
