"""CUT3R as a predictor: online, one view after the other, or the same loop over a clip."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from dynamic_predictor.attention_motion.motion_masks import masks_of_clip
from dynamic_predictor.contract import Prediction, Views
from dynamic_predictor.cut3r.attention_motion import clip_attention_motion
from dynamic_predictor.cut3r.checkpoint import load_network
from dynamic_predictor.cut3r.config import HeadType
from dynamic_predictor.cut3r.global_alignment import align_starts
from dynamic_predictor.cut3r.network import Cut3rNetwork
from dynamic_predictor.cut3r.online import OnlineState, OnlineView, advance, start_state
from dynamic_predictor.cut3r.query import VirtualView, query_view
from dynamic_predictor.cut3r.settings import Cut3rSettings
from dynamic_predictor.das3r.global_alignment.settings import AlignmentSettings
from dynamic_predictor.das3r.preprocessing import InputGeometry, input_geometry
from dynamic_predictor.networks.freed_memory import kept_freed_memory
from dynamic_predictor.weights.entry import WeightsFile
from dynamic_predictor.weights.finding import require_weights
from scene.camera import Camera
from scene.confidence import from_network
from scene.errors import InputError, is_out_of_memory
from scene.frames import Frames
from scene.maps import FrameMaps, StoredMaps
from scene.progress import Progress, StageClock, ignore_progress

#: the side of the images that each model was trained for
_SIZES: dict[HeadType, int] = {"dpt": 512, "linear": 224}


class Cut3rPredictor:
    """CUT3R (Wang et al., CVPR 2025). Keeps the contract of `dynamic_predictor.contract.OnlinePredictor`; the state has
    about 4 MB whatever the length of the clip. The unit is the meter as far as the network knows it."""

    def __init__(
        self,
        weights: WeightsFile,
        head_type: HeadType,
        settings: Cut3rSettings | None = None,
        *,
        device: str = "cpu",
        network: Cut3rNetwork | None = None,
    ) -> None:
        """`weights`: the published file, with heads of `head_type`; `device`: "cpu" or "cuda". `network`: a loaded one,
        used instead of the file."""
        self._weights = weights
        self._head_type: HeadType = head_type
        self.settings = settings or Cut3rSettings()
        self.device = torch.device(device)
        self._given = network
        self._loaded: Cut3rNetwork | None = None
        self._state: OnlineState | None = None

    @property
    def needs_whole_clip(self) -> bool:
        """The settings ask for what `step` cannot do, so that only `predict` may be used."""
        return self.settings.needs_whole_clip is not None

    def start(self) -> None:
        """Resets the state to that before the first view. Raises `InputError` for missing or wrong weights, and for
        settings that need the whole clip."""
        if self.settings.needs_whole_clip is not None:
            raise InputError(
                f"CUT3R cannot take one frame after the other with {self.settings.needs_whole_clip}, which needs the "
                "whole clip; leave it out."
            )
        self._network()
        self._state = None

    def step(self, view: Views) -> Prediction:
        """The prediction of one more view, at the size of its frame, in the world of the first one; updates the state.

        All views must have one size. Raises `InputError` for another size, wrong weights and too little memory.
        """
        if len(view) != 1:
            raise ValueError(f"a step takes one view, not {len(view)}")
        if self._state is None:
            self.start()
        with self._running(view.frames):
            geometry = self._geometry(view.frames)
            found, self._state = self._advance(view.frames, 0, geometry, self._state)
            kept = _KeptViews(view.frames, geometry)
            kept.add(found)
        return self._prediction(view, kept)

    def state(self) -> dict[str, np.ndarray]:
        """The state as arrays, from which `restore` continues to the same results, bit for bit on the same machine.
        Empty before the first view."""
        return {} if self._state is None else self._state.arrays()

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """The reverse of `state`. Raises `InputError` for that of another network."""
        self.start()
        if state:
            self._state = OnlineState.from_arrays(state, self._network(), self.device)

    def predict(self, views: Views, *, progress: Progress = ignore_progress) -> Prediction:
        """The prediction for the views of a clip of any length: the results of `step` for one after the other, of which
        only the maps are kept. The state is afterwards that after the clip, so that it can be queried.

        With `revisits`, further passes follow, of which the last one, with the frozen state, gives the result; with
        `global_alignment`, see `global_alignment`. Raises `InputError` as `step`.
        """
        clock = StageClock()
        with self._running(views.frames):
            geometry = self._geometry(views.frames)
            self._network()
            clock.note("weights")
            if self.settings.global_alignment and len(views) > 1:
                prediction = self._aligned(views, geometry, progress)
            else:
                prediction = self._rolled(views, geometry, progress)
        clock.note("network")
        prediction.provenance["seconds"] = clock.seconds
        return prediction

    def attention_motion(self, views: Views, *, progress: Progress = ignore_progress) -> FrameMaps:
        """Motion masks of 0 and 1 from the attention within frames that know of each other by the state (the statistics
        of VGGT4D), at the size of the views' frames; see `contract.AttentionPredictor`. The state of the stream is left
        alone."""
        geometry, network = self._geometry(views.frames), self._network()
        with self._running(views.frames):
            maps = clip_attention_motion(
                network,
                lambda index: geometry.prepare(views.frames.rgb8(index)),
                len(views),
                state_update=self.settings.state_update,
                device=self.device,
                autocast=self._autocast,
                progress=progress,
            )
        size = geometry.width, geometry.height
        return masks_of_clip(list(maps), size, lambda values: geometry.to_frame(values, outside=None))

    def query(self, camera: Camera) -> VirtualView:
        """What the state after the views until now says about a virtual `camera` in the world of the clip; the state
        does not change. Raises `InputError` before the first view, and as `query_view`."""
        if self._state is None:
            raise InputError("There is nothing to look at yet: predict some frames before asking for a virtual view.")
        return query_view(self._network(), self._state.scene, camera, self._state.world_from_segment)

    def _rolled(self, views: Views, geometry: InputGeometry, progress: Progress) -> Prediction:
        """Passes over the clip, of which the last one is kept."""
        count, passes, state = len(views), 1 + self.settings.revisits, None
        kept = _KeptViews(views.frames, geometry)
        for number in range(passes):
            is_last = number == passes - 1
            for index in range(count):
                found, state = self._advance(
                    views.frames, index, geometry, state, update=not (is_last and self.settings.revisits)
                )
                if is_last:
                    kept.add(found)
                progress("frames", number * count + index + 1, passes * count)
        self._state = state
        return self._prediction(views, kept)

    def _aligned(self, views: Views, geometry: InputGeometry, progress: Progress) -> Prediction:
        settings = self.settings
        # pairs of CUT3R are in meters, so that their scales are about 1
        alignment = AlignmentSettings(
            mean_pair_scale=1.0,
            flow_loss_weight=0.0,
            temporal_smoothing_weight=0.0,
            final_learning_rate=1e-6,
            shared_focal=not settings.strict_official,
            strict_official=settings.strict_official,
        )
        aligned = align_starts(
            self._network(),
            lambda index: self._image(views.frames, index, geometry),
            len(views),
            alignment,
            autocast=self._autocast,
            progress=progress,
        )
        kept = _KeptViews(views.frames, geometry)
        first_from_world = np.linalg.inv(aligned.world_from_camera[0])
        for index, camera in enumerate(aligned.cameras()):
            moved = camera.moved(first_from_world @ camera.world_from_camera)
            kept.add(OnlineView(moved, aligned.z_depth[index], aligned.confidence[index]))
        return replace(self._prediction(views, kept), warnings=list(aligned.warnings))

    def _advance(
        self,
        frames: Frames,
        index: int,
        geometry: InputGeometry,
        state: OnlineState | None,
        *,
        update: bool = True,
    ) -> tuple[OnlineView, OnlineState]:
        network = self._network()
        with torch.inference_mode(), self._autocast():
            state = state or start_state(network, geometry.height, geometry.width)
            return advance(network, self._image(frames, index, geometry), state, self.settings, update=update)

    def _image(self, frames: Frames, index: int, geometry: InputGeometry) -> torch.Tensor:
        return torch.from_numpy(geometry.prepare(frames.rgb8(index)))[None].to(self.device)

    def _prediction(self, views: Views, kept: "_KeptViews") -> Prediction:
        cameras = kept.cameras
        if views.focal is not None:
            cameras = [replace(camera, fx=views.focal, fy=views.focal) for camera in cameras]
        weights = None if self._given is not None else self._weights_path().name
        return Prediction(
            z_depth=kept.z_depth,
            confidence=kept.confidence,
            world_from_camera=np.stack([camera.world_from_camera for camera in cameras]),
            intrinsics=np.stack([camera.intrinsics for camera in cameras]),
            motion=views.motion_masks,
            is_metric=True,
            has_network_confidence=True,
            provenance={
                "settings": {**asdict(self.settings), "weights": weights, "focal": views.focal},
                "network_size": [kept.geometry.width, kept.geometry.height],
            },
        )

    def _geometry(self, frames: Frames) -> InputGeometry:
        size = self.settings.image_size or _SIZES[self._head_type]
        return input_geometry(frames.width, frames.height, size=size, crop=self.settings.crop)

    def require(self) -> None:
        """As `contract.LearnedPredictor`."""
        if self._given is None and self._loaded is None:
            self._weights_path()

    def _weights_path(self) -> Path:
        return require_weights(self._weights, self.settings.weights)

    def _network(self) -> Cut3rNetwork:
        if self._loaded is None:
            network = self._given or load_network(self._weights_path(), head_type=self._head_type)
            network.half_rotary = self.settings.strict_official
            self._loaded = network.to(self.device)
        return self._loaded

    def _autocast(self) -> AbstractContextManager[object]:
        """The context in which encoder and decoders run."""
        enabled = self.settings.precision == "bfloat16" and self.device.type == "cuda"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    @contextmanager
    def _running(self, frames: Frames) -> Iterator[None]:
        """Turns too little memory into a sentence."""
        try:
            with kept_freed_memory() if self.device.type == "cpu" else nullcontext():
                yield
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise InputError(
                f"The memory is not enough for CUT3R on frames of {frames.width}x{frames.height}; use a smaller "
                "--max-size or the predictor cut3r-224."
            ) from error


class _KeptViews:
    """Cameras and maps of views at the size of their frames; the maps of long clips are kept in files. What was cropped
    before the network has no depth."""

    def __init__(self, frames: Frames, geometry: InputGeometry) -> None:
        self.geometry = geometry
        self.cameras: list[Camera] = []
        self.z_depth = StoredMaps(len(frames), frames.height, frames.width, dtype=np.float32)
        self.confidence = StoredMaps(len(frames), frames.height, frames.width)

    def add(self, view: OnlineView) -> None:
        index, geometry = len(self.cameras), self.geometry
        self.cameras.append(geometry.frame_camera(view.camera))
        self.z_depth[index] = geometry.to_frame(view.z_depth, outside=0.0, nearest=True)
        known = from_network(view.confidence)
        self.confidence[index] = geometry.to_frame(known, outside=0.0, nearest=True)
