"""StreamVGGT and VGGT as predictors: cameras, depth and confidence by the network; they have no motion masks."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dynamic_predictor.contract import Prediction, Views
from dynamic_predictor.networks.freed_memory import kept_freed_memory
from dynamic_predictor.networks.rigid_motions import inverse_rigid
from dynamic_predictor.streamvggt.attention_motion import clip_attention_masks
from dynamic_predictor.streamvggt.cache import CacheRules
from dynamic_predictor.streamvggt.cameras import decode_cameras
from dynamic_predictor.streamvggt.checkpoint import load_network
from dynamic_predictor.streamvggt.network import FrameOutputs, GeometryNetwork, Wanted
from dynamic_predictor.streamvggt.official import OFFICIAL, OURS, Conventions
from dynamic_predictor.streamvggt.preprocessing import Fitting, fit
from dynamic_predictor.streamvggt.settings import StreamVGGTSettings, VGGTSettings
from dynamic_predictor.streamvggt.streaming import Stream
from dynamic_predictor.streamvggt.weights import STREAMVGGT, VGGT
from dynamic_predictor.weights.entry import WeightsFile
from dynamic_predictor.weights.finding import require_weights
from scene.confidence import from_network
from scene.errors import InputError
from scene.maps import FrameMaps, StoredMaps, map_of_size
from scene.progress import Progress, StageClock, ignore_progress


class VGGTPredictor:
    """VGGT: all frames of a clip see each other. Keeps the contract of `dynamic_predictor.contract.Predictor`."""

    weights: WeightsFile = VGGT
    #: whether frames see only themselves and earlier ones
    is_causal = False

    def __init__(
        self,
        settings: VGGTSettings | None = None,
        *,
        device: str = "cpu",
        network: GeometryNetwork | None = None,
    ) -> None:
        """`network` is used instead of loading the weights."""
        self.settings = settings or VGGTSettings()
        self.device = torch.device(device)
        self._network = network

    @property
    def conventions(self) -> Conventions:
        return OFFICIAL if self.settings.strict_official else OURS

    @torch.no_grad()
    def predict(self, views: Views, *, progress: Progress = ignore_progress) -> Prediction:
        """The prediction for all views at once, at the size that the network sees. Raises `InputError` for missing or
        wrong weights and outputs that are not finite."""
        clock = StageClock()
        network = self._loaded()
        clock.note("weights")
        fitting = self._fitting(views)
        progress("network", 0, len(views))
        images = torch.stack([self._image(views, index, fitting) for index in range(len(views))])[None]
        with kept_memory(self.device):
            output = network(images, causal=False, wanted=self._wanted())
        progress("network", len(views), len(views))
        return self._prediction([output], len(views), fitting, clock)

    def attention_motion(self, views: Views, *, progress: Progress = ignore_progress) -> FrameMaps:
        """Motion masks of 0 and 1 from the attention across frames (VGGT4D), at the size of the views' frames; see
        `contract.AttentionPredictor`. A clip of any length is seen in windows of 32 frames."""
        network, fitting = self._loaded(), self._fitting(views)
        with kept_memory(self.device):
            return clip_attention_masks(
                network,
                lambda index: fitting.to_network(views.frames.rgb8(index)),
                len(views),
                lambda values: map_of_size(fitting.from_network(values), fitting.original),
                causal=self.is_causal,
                device=self.device,
                progress=progress,
            )

    def require(self) -> None:
        """As `contract.LearnedPredictor`."""
        if self._network is None:
            require_weights(self.weights, self.settings.weights)

    def _loaded(self) -> GeometryNetwork:
        if self._network is None:
            path = require_weights(self.weights, self.settings.weights)
            self._network = load_network(path, device=self.device, precision=self.settings.precision)
        return self._network

    def _wanted(self) -> Wanted:
        from_depth = self.settings.depth_from == "depth"
        return Wanted(depth=from_depth, points=not from_depth)

    def _fitting(self, views: Views) -> Fitting:
        how = self.settings.fit or self.conventions.fit
        return fit(views.frames.width, views.frames.height, how, self.settings.image_size)

    def _image(self, views: Views, index: int, fitting: Fitting) -> Tensor:
        return torch.from_numpy(fitting.to_network(views.frames.rgb8(index))).to(self.device)

    def _prediction(
        self, outputs: Iterable[FrameOutputs], count: int, fitting: Fitting, clock: StageClock
    ) -> Prediction:
        """The prediction of `count` views from `outputs`, each of one or more of them. Maps of long clips go to the
        disk."""
        width, height = fitting.resized
        z_depth, confidence = (StoredMaps(count, height, width, dtype=np.float32) for _ in range(2))
        world_from_camera, matrices, index = np.tile(np.eye(4), (count, 1, 1)), np.empty((count, 3, 3)), 0
        for output in outputs:
            camera_from_world, intrinsics = decode_cameras(output.camera[0].double().cpu(), fitting.size)
            depths, certainties = network_maps(output, camera_from_world)
            numbers = (depths, certainties, camera_from_world.numpy(), intrinsics.numpy())
            if not all(np.isfinite(values).all() for values in numbers):
                raise InputError(
                    f"{self.weights.name} gave values that are not finite; check the weights (stillsplat weights "
                    "check), or use --precision float32."
                )
            chosen = slice(index, index + len(depths))
            world_from_camera[chosen, :3] = inverse_rigid(camera_from_world).numpy()
            matrices[chosen] = intrinsics.numpy()
            for depth, certainty in zip(depths, certainties, strict=True):
                z_depth[index] = fitting.from_network(depth)
                confidence[index] = fitting.from_network(from_network(certainty))
                index += 1
        matrices[:, :2, 2] += np.asarray(fitting.corner) + self.conventions.principal_point
        clock.note("network")
        described = asdict(self.settings)
        if self.settings.weights is not None:
            described["weights"] = Path(self.settings.weights).name
        return Prediction(
            z_depth=z_depth,
            confidence=confidence,
            world_from_camera=world_from_camera,
            intrinsics=matrices,
            has_network_confidence=True,
            provenance={
                "settings": described,
                "model": self.weights.name,
                "network_size": [fitting.canvas[0], fitting.canvas[1]],
                "seconds": clock.seconds,
            },
        )


class StreamVGGTPredictor(VGGTPredictor):
    """StreamVGGT: each frame sees itself and what is kept of earlier ones. Keeps the contract of
    `dynamic_predictor.contract.OnlinePredictor`."""

    weights = STREAMVGGT
    is_causal = True
    settings: StreamVGGTSettings

    def __init__(
        self,
        settings: StreamVGGTSettings | None = None,
        *,
        device: str = "cpu",
        network: GeometryNetwork | None = None,
    ) -> None:
        """`network` is used instead of loading the weights."""
        super().__init__(settings or StreamVGGTSettings(), device=device, network=network)
        self._stream: Stream | None = None

    def predict(self, views: Views, *, progress: Progress = ignore_progress) -> Prediction:
        """The prediction of a clip of any length as a stream of its own. Raises as `step`."""
        return self._steps(Stream(self._loaded(), self.rules()), views, progress)

    def start(self) -> None:
        """Resets the state to that before the first view. Raises `InputError` for missing or wrong weights."""
        self._stream = Stream(self._loaded(), self.rules())

    def step(self, view: Views) -> Prediction:
        """The prediction of one more view, in the world of the first; updates the state. Raises `InputError` for a size
        other than that of the views before, too few tokens for it, and outputs that are not finite."""
        if self._stream is None:
            self.start()
        assert self._stream is not None
        return self._steps(self._stream, view, ignore_progress)

    def state(self) -> dict[str, np.ndarray]:
        """The state as arrays, from which `restore` continues to the same results."""
        stream = self._stream or Stream(self._loaded(), self.rules())
        return {**stream.state(), "rules": np.array(str(self.rules()))}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """The reverse of `state`. Raises `InputError` for a state that was made with another cache."""
        if str(state.get("rules")) != str(self.rules()):
            raise InputError(
                f"The stored state was made with {state.get('rules')} and cannot go on with {self.rules()}; use the "
                "same options of the cache."
            )
        stream = Stream(self._loaded(), self.rules())
        stream.restore(state)
        self._stream = stream

    def rules(self) -> CacheRules:
        """What the settings say about the cache."""
        settings = self.settings
        return CacheRules(
            policy=settings.cache,
            frames=settings.cache_frames,
            tokens=settings.cache_tokens,
            bits=settings.cache_bits or 0,
            shares_camera_cache=self.conventions.shares_camera_cache,
        )

    def _steps(self, stream: Stream, views: Views, progress: Progress) -> Prediction:
        clock, fitting = StageClock(), self._fitting(views)

        def outputs() -> Iterator[FrameOutputs]:
            for index in range(len(views)):
                progress("network", index, len(views))
                yield stream.step(self._image(views, index, fitting)[None], wanted=self._wanted())
            progress("network", len(views), len(views))

        with kept_memory(self.device):
            return self._prediction(outputs(), len(views), fitting, clock)


def network_maps(output: FrameOutputs, camera_from_world: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """z depth and the network's confidence, float32 (S, H, W), of one clip: of the depth, or else of the points as the
    cameras `camera_from_world` (S, 3, 4) see them, 0 behind them."""
    if output.depth is not None and output.depth_confidence is not None:
        return output.depth[0].cpu().numpy(), output.depth_confidence[0].cpu().numpy()
    assert output.points is not None and output.points_confidence is not None
    points = output.points[0].double().cpu()
    third = camera_from_world[:, 2, :3, None]  # the third row of the rotations, as columns
    z_depth = (points.flatten(1, 2) @ third).view(points.shape[:3]) + camera_from_world[:, 2, 3, None, None]
    return z_depth.clamp_min(0).float().numpy(), output.points_confidence[0].cpu().numpy()


def kept_memory(device: torch.device) -> AbstractContextManager[None]:
    """`kept_freed_memory` for networks on a CPU; does nothing on other devices."""
    return kept_freed_memory() if device.type == "cpu" else nullcontext()
