"""The recipe of CUT3R's training (Wang et al., CVPR 2025, section 3.4).

Long sequences are trained by truncated back-propagation through time: gradients flow through chunks of views, and an
optimizer step follows each chunk. Different from the official code, gradients of chunks are averaged over processes.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dynamic_predictor.cut3r.cameras import ray_map
from dynamic_predictor.cut3r.config import Cut3rConfig, official_arguments
from dynamic_predictor.cut3r.heads import ViewPrediction
from dynamic_predictor.cut3r.network import Cut3rNetwork, EncodedViews, SceneState
from dynamic_predictor.cut3r.roll import RollView, decode_view
from dynamic_predictor.das3r.official_layout import key_aliases
from dynamic_predictor.training.datasets.mixture import Mixture
from dynamic_predictor.training.datasets.samples import TrainingSample
from dynamic_predictor.training.processes import Process, gradient_sync
from dynamic_predictor.training.recipe import Update, Validation
from dynamic_predictor.training.sequences.point_regression import (
    SequencePredictions,
    regression_terms,
    summed_counts,
)
from dynamic_predictor.training.sequences.sequence_batches import (
    batches,
    steps_per_epoch,
    truth_of,
    validation_batches,
)
from dynamic_predictor.training.sequences.settings import Cut3rTrainingSettings
from dynamic_predictor.training.sequences.validation import validate
from scene.files.atomic import atomic_file

Result = TypeVar("Result")

_ENCODER = (
    "patch_embed.", "patch_embed_ray_map.", "masked_img_token", "masked_ray_map_token", "enc_blocks.",
    "enc_blocks_ray_map.", "enc_norm.", "enc_norm_ray_map.",
)  # fmt: skip
#: parameters in published checkpoints that no forward pass uses
_UNUSED = ("refinenet4.resConfUnit1.",)
#: parameters of the state before the first view, which chunks give no gradients
_BEFORE_CHUNKS = ("register_tokens.", "decoder_embed_state.", "pose_retriever.mem")


@dataclass(frozen=True)
class SequenceInput:
    """What the network is given of B sequences of V views: `images` (B, V, 3, H, W) in [-1, 1], `ray_maps` (B, V, H, W,
    6), `has_image` and `has_rays` (B, V) bool, and `reset` (B,) bool: views are unrelated. `masked_tokens`: some view
    of the step has rays, so that learned tokens stand for all that is missing."""

    images: Tensor
    ray_maps: Tensor
    has_image: Tensor
    has_rays: Tensor
    reset: Tensor
    masked_tokens: bool

    def views(self, begin: int, end: int) -> "SequenceInput":
        """Some of the views."""
        names = ("images", "ray_maps", "has_image", "has_rays")
        return SequenceInput(**{**vars(self), **{name: vars(self)[name][:, begin:end] for name in names}})


class RolledViews(nn.Module):
    """The network rolled over the views of sequences."""

    def __init__(self, network: Cut3rNetwork, settings: Cut3rTrainingSettings) -> None:
        super().__init__()
        self.network = network
        self._checkpointing = settings.gradient_checkpointing
        self._chunked = settings.chunk_views > 0
        self._trains_encoder = settings.freeze != "encoder"
        self._dtype = torch.bfloat16 if settings.precision == "bfloat16" else None

    def forward(self, views: SequenceInput, state: SceneState | None = None) -> tuple[SequencePredictions, SceneState]:
        """Predictions for views, and the state after them, detached. With a `state`, they continue sequences."""
        device = views.images.device.type
        with torch.autocast(device, self._dtype or torch.bfloat16, enabled=self._dtype is not None):
            encoded = [self._encoded(views, number) for number in range(views.images.shape[1])]
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self._chunked):
                initial = self.network.initial_state(len(views.images))
            predictions, current = [], state or initial
            for number, view in enumerate(encoded):
                flags = RollView(views.images[:, number], has_image=views.has_image[:, number], reset=views.reset)
                is_first = state is None and number == 0
                prediction, current = self._decoded(view, flags, current, initial, is_first)
                predictions.append(prediction)
        last = SceneState(current.features.detach(), current.memory.detach())
        return _stacked(predictions), last

    def _encoded(self, views: SequenceInput, number: int) -> EncodedViews:
        def encode(images: Tensor, ray_maps: Tensor) -> EncodedViews:
            return self.network.encode(
                images,
                ray_maps,
                views.has_image[:, number],
                views.has_rays[:, number],
                masked_tokens=views.masked_tokens,
            )

        with torch.set_grad_enabled(torch.is_grad_enabled() and self._trains_encoder):
            return self._saving_memory(encode, views.images[:, number], views.ray_maps[:, number])

    def _decoded(
        self, view: EncodedViews, flags: RollView, state: SceneState, initial: SceneState, is_first: bool
    ) -> tuple[ViewPrediction, SceneState]:
        def decode(view: EncodedViews, state: SceneState) -> tuple[ViewPrediction, SceneState]:
            rolled = decode_view(self.network, view, flags, state, initial, is_first=is_first)
            return rolled.prediction, rolled.state

        return self._saving_memory(decode, view, state)

    def _saving_memory(self, function: Callable[..., Result], *arguments: object) -> Result:
        if self._checkpointing and torch.is_grad_enabled():
            return cast(Result, checkpoint(function, *arguments, use_reentrant=False))
        return function(*arguments)


class Cut3rRecipe:
    """Training of `network` on sequences of `mixture`, tested on those of `test_mixture`."""

    unit = "sequences"
    # the encoder of ray maps and masked tokens take part where views have rays
    skips_parameters = True
    best_score = ""

    def __init__(
        self,
        network: Cut3rNetwork,
        mixture: Mixture,
        settings: Cut3rTrainingSettings,
        test_mixture: Mixture | None = None,
    ) -> None:
        self.network, self.settings = network, settings
        self._mixture, self._test_mixture = mixture, test_mixture

    def prepare(self, process: Process) -> nn.Module:
        self.network.to(process.device).train()
        frozen = _ENCODER if self.settings.freeze == "encoder" else ()
        if self.settings.chunk_views:
            frozen += _BEFORE_CHUNKS
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(not name.startswith(frozen) and not any(part in name for part in _UNUSED))
        return RolledViews(self.network, self.settings)

    def blocks(self) -> Iterable[nn.Module]:
        network = self.network
        return (*network.enc_blocks, *network.dec_blocks, *network.dec_blocks_state)

    def steps_per_epoch(self, processes: int) -> int:
        return steps_per_epoch(self._mixture, self.settings, processes)

    def batches(self, epoch: int, process: Process, *, first_step: int, workers: int) -> Iterator[list[TrainingSample]]:
        return batches(self._mixture, self.settings, epoch, process, first_step=first_step, workers=workers)

    def updates(self, model: nn.Module, parts: list[TrainingSample], process: Process) -> Iterator[Update]:
        masked = process.any(any(bool(part.rays_given.any()) for part in parts))
        inputs = [network_input(part, process.device, masked_tokens=masked) for part in parts]
        truths = [truth_of(part.to(process.device)) for part in parts]
        states: list[SceneState | None] = [None] * len(parts)
        first_cameras = [truth.world_from_camera[:, 0] for truth in truths]
        views = truths[0].valid.shape[1]
        size = self.settings.chunk_views or views
        begins = range(0, views, size)
        for chunk, begin in enumerate(begins):
            has_gradients = not self.settings.chunk_views or chunk >= len(begins) - self.settings.gradient_chunks
            pieces = [truth.views(begin, begin + size) for truth in truths]
            counts = summed_counts([piece.counts(by_kind=self.settings.by_kind) for piece in pieces], process)
            terms = {name: torch.zeros((), device=process.device) for name in counts}
            for number, piece in enumerate(pieces):
                with (
                    gradient_sync(model, has_gradients and number == len(pieces) - 1),
                    torch.set_grad_enabled(has_gradients),
                ):
                    predicted, states[number] = model(inputs[number].views(begin, begin + size), states[number])
                    found = regression_terms(
                        predicted,
                        piece,
                        alpha=self.settings.alpha,
                        by_kind=self.settings.by_kind,
                        first_camera=first_cameras[number],
                    )
                    shares = {name: (term.total / counts[name].clamp_min(1)).mean() for name, term in found.items()}
                    if has_gradients:
                        # DDP and FSDP average gradients over processes, but the loss is a sum
                        (torch.stack(list(shares.values())).sum() * process.world_size).backward()
                    terms = {name: terms[name] + share.detach() for name, share in shares.items()}
            values = process.summed(torch.stack(list(terms.values()))).tolist()
            yield Update(sum(values), dict(zip(terms, values, strict=True)), has_gradients)

    def validate(self, model: nn.Module, process: Process, *, workers: int) -> Validation | None:
        if self._test_mixture is None:
            return None
        feed = validation_batches(self._test_mixture, self.settings, process, workers=workers)

        def predict(part: TrainingSample) -> SequencePredictions:
            masked = bool(part.rays_given.any())
            return model(network_input(part, process.device, masked_tokens=masked))[0]

        return validate(self.network, predict, feed, process)

    def save(self, path: Path, state: dict[str, Tensor], **extras: object) -> None:
        state = {**state, **{alias: state[key] for alias, key in key_aliases(state).items()}}
        arguments = argparse.Namespace(model=official_model_string(self.network.config))
        with atomic_file(path) as temporary:
            torch.save({"args": arguments, "model": state, **extras}, temporary)


def official_model_string(config: Cut3rConfig) -> str:
    """The constructor call, as text, that the official code evaluates to build the network."""
    text = ", ".join(f"{name}={value!r}" for name, value in official_arguments(config).items())
    return f"ARCroco3DStereo(ARCroco3DStereoConfig({text}))"


def network_input(batch: TrainingSample, device: torch.device, *, masked_tokens: bool) -> SequenceInput:
    """What the network is given of a batch on the CPU."""
    sequences, views, _, height, width = batch.images.shape
    ray_maps = torch.zeros(sequences, views, height, width, 6)
    for sequence, view in batch.rays_given.nonzero().tolist():
        cameras = batch.world_from_camera[sequence].double().numpy()
        relative = np.linalg.inv(cameras[0]) @ cameras[view]
        intrinsics = batch.intrinsics[sequence, view].double().numpy()
        ray_maps[sequence, view] = torch.from_numpy(ray_map(intrinsics, relative, height, width, pixel_offset=0.5))
    given = SequenceInput(
        2 * batch.images - 1, ray_maps, batch.image_given, batch.rays_given, batch.is_single_view, masked_tokens
    )
    moved = {name: value.to(device) for name, value in vars(given).items() if isinstance(value, Tensor)}
    return replace(given, **moved)


def _stacked(predictions: Sequence[ViewPrediction]) -> SequencePredictions:
    def stacked(name: str) -> Tensor:
        return torch.stack([getattr(prediction, name) for prediction in predictions], dim=1)

    return SequencePredictions(
        stacked("world_points"),
        stacked("world_confidence"),
        stacked("pose"),
        stacked("self_points"),
        stacked("self_confidence"),
        stacked("color"),
    )
