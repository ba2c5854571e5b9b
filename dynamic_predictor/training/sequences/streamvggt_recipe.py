"""The recipes of StreamVGGT's training (Zhuo et al., 2025): distillation of a causal student from its bidirectional
teacher VGGT, and fine-tuning of VGGT's points.

The official fine-tuning freezes modules instead of their parameters, which has no effect; here the heads of cameras,
depth and tracks are frozen. It also compares predicted quaternions xyzw of camera from world with true ones wxyz of
world from camera; here both are wxyz of world from camera.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from zlib import crc32

import torch
from torch import Tensor, nn

from dynamic_predictor.networks.rigid_motions import inverse_rigid, rotation_from_xyzw
from dynamic_predictor.networks.transformer import TransformerBlock
from dynamic_predictor.streamvggt.network import FrameOutputs, GeometryNetwork, Wanted
from dynamic_predictor.training.datasets.mixture import Mixture
from dynamic_predictor.training.datasets.samples import TrainingSample
from dynamic_predictor.training.processes import Process, gradient_sync
from dynamic_predictor.training.recipe import Update, Validation
from dynamic_predictor.training.sequences.distillation import WEIGHTS, GeometryPredictions, distillation_terms
from dynamic_predictor.training.sequences.point_regression import (
    SequencePredictions,
    encoded_poses,
    regression_terms,
    summed_counts,
)
from dynamic_predictor.training.sequences.sequence_batches import (
    batches,
    steps_per_epoch,
    truth_of,
    validation_batches,
)
from dynamic_predictor.training.sequences.settings import VggtTrainingSettings
from dynamic_predictor.training.sequences.validation import validate
from scene.errors import InputError
from scene.files.atomic import atomic_file

_ENCODER = ("aggregator.patch_embed.", "aggregator.camera_token", "aggregator.register_token")
_OTHER_HEADS = ("camera_head.", "depth_head.", "track_head.")
#: parameters without gradients: no forward pass uses the first, and none pass through the first refinement of cameras,
#: which begins with the second
_UNUSED = ("aggregator.patch_embed.mask_token", "camera_head.empty_pose_tokens")
#: weights of points and poses in the loss of fine-tuning, and the largest loss of poses
_POINT_WEIGHT, _POSE_WEIGHT, _POSE_LIMIT = 2.0, 5.0, 0.3


class GeometryOfSequences(nn.Module):
    """The network applied to images of sequences."""

    def __init__(self, network: GeometryNetwork, settings: VggtTrainingSettings) -> None:
        super().__init__()
        self.network = network
        self._causal = settings.task == "distillation"
        self._wanted = Wanted(depth=self._causal, points=True)
        self._checkpointing = settings.gradient_checkpointing

    def forward(self, images: Tensor, query_points: Tensor | None) -> FrameOutputs:
        """Predictions for images (B, S, 3, H, W) in [0, 1] and tracks of points (B, N, 2) of the first one."""
        return self.network(
            images,
            causal=self._causal,
            query_points=query_points,
            wanted=self._wanted,
            checkpointing=self._checkpointing and torch.is_grad_enabled(),
        )


class _GeometryRecipe:
    """What both recipes share."""

    unit = "sequences"
    skips_parameters = False
    best_score = ""

    def __init__(
        self, network: GeometryNetwork, mixture: Mixture, settings: VggtTrainingSettings, test_mixture: Mixture | None
    ) -> None:
        self.network, self.settings = network, settings
        self._mixture, self._test_mixture = mixture, test_mixture

    def prepare(self, process: Process) -> nn.Module:
        self.network.to(process.device).train()
        _set_precision(self.network, self.settings)
        frozen = {"none": (), "encoder": _ENCODER, "all_but_points": (*_ENCODER, *_OTHER_HEADS)}[self.settings.freeze]
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(not name.startswith((*_UNUSED, *frozen, *self._unused())))
        return GeometryOfSequences(self.network, self.settings)

    def _unused(self) -> tuple[str, ...]:
        """Beginnings of the names of parameters that the loss does not depend on."""
        return ()

    def blocks(self) -> Iterable[nn.Module]:
        aggregator = self.network.aggregator
        blocks = [*aggregator.patch_embed.blocks, *aggregator.frame_blocks]
        for block in aggregator.global_blocks:
            # the aggregator calls the parts of these blocks, not the blocks
            assert isinstance(block, TransformerBlock)
            blocks += [block.attn, block.mlp]
        return blocks

    def steps_per_epoch(self, processes: int) -> int:
        return steps_per_epoch(self._mixture, self.settings, processes)

    def batches(self, epoch: int, process: Process, *, first_step: int, workers: int) -> Iterator[list[TrainingSample]]:
        return batches(self._mixture, self.settings, epoch, process, first_step=first_step, workers=workers)

    def validate(self, model: nn.Module, process: Process, *, workers: int) -> Validation | None:
        if self._test_mixture is None:
            return None
        feed = validation_batches(self._test_mixture, self.settings, process, workers=workers)

        def predict(part: TrainingSample) -> SequencePredictions:
            return _as_regression(model(part.images.to(process.device), None))

        return validate(self.network, predict, feed, process)

    def save(self, path: Path, state: dict[str, Tensor], **extras: object) -> None:
        with atomic_file(path) as temporary:
            torch.save({"model": state, **extras}, temporary)


class DistillationRecipe(_GeometryRecipe):
    """Training of the causal `network` on what the bidirectional `teacher` says about sequences of `mixture`."""

    def __init__(
        self,
        network: GeometryNetwork,
        teacher: GeometryNetwork,
        mixture: Mixture,
        settings: VggtTrainingSettings,
        test_mixture: Mixture | None = None,
    ) -> None:
        super().__init__(network, mixture, settings, test_mixture)
        self.teacher = teacher

    def prepare(self, process: Process) -> nn.Module:
        self.teacher.to(process.device).eval().requires_grad_(False)
        _set_precision(self.teacher, self.settings)
        return super().prepare(process)

    def _unused(self) -> tuple[str, ...]:
        return () if self.settings.query_points else ("track_head.",)

    def updates(self, model: nn.Module, parts: list[TrainingSample], process: Process) -> Iterator[Update]:
        count = float(
            process.summed(torch.tensor(float(sum(len(part.images) for part in parts)), device=process.device))
        )
        totals: dict[str, Tensor] = {}
        for number, part in enumerate(parts, start=1):
            points = query_points(part, self.settings.query_points) if self.settings.query_points else None
            part = part.to(process.device)
            points = points.to(process.device) if points is not None else None
            with torch.no_grad():
                lesson = self.teacher(part.images, causal=False, query_points=points)
            with gradient_sync(model, number == len(parts)):
                terms = distillation_terms(
                    _as_geometry(model(part.images, points)),
                    _as_geometry(lesson),
                    part.valid,
                    strict_official=self.settings.strict_official,
                )
                shares = {name: WEIGHTS[name] * term.sum() / count for name, term in terms.items()}
                # DDP and FSDP average gradients over processes, but the loss is a sum
                (torch.stack(list(shares.values())).sum() * process.world_size).backward()
            totals = {name: totals.get(name, 0) + share.detach() for name, share in shares.items()}
        yield _update(totals, process)


class PointRecipe(_GeometryRecipe):
    """Training of the points of the bidirectional `network` on the truth of sequences of `mixture`."""

    def _unused(self) -> tuple[str, ...]:
        return ("depth_head.", "track_head.")

    def updates(self, model: nn.Module, parts: list[TrainingSample], process: Process) -> Iterator[Update]:
        parts = [part.to(process.device) for part in parts]
        truths = [truth_of(part) for part in parts]
        counts = summed_counts([truth.counts(by_kind=False) for truth in truths], process)
        totals: dict[str, Tensor] = {}
        for number, (part, truth) in enumerate(zip(parts, truths, strict=True), start=1):
            with gradient_sync(model, number == len(parts)):
                predicted = _as_regression(model(part.images, None))
                terms = regression_terms(predicted, truth, alpha=self.settings.alpha, by_kind=False)
                points, poses = terms["world_points"], terms["poses"]
                shares = {
                    "world_points": _POINT_WEIGHT * (points.total / counts["world_points"].clamp_min(1)).mean(),
                    "poses": _POSE_WEIGHT * poses.mean.clip(max=_POSE_LIMIT) * poses.count / counts["poses"],
                }
                (torch.stack(list(shares.values())).sum() * process.world_size).backward()
            totals = {name: totals.get(name, 0) + share.detach() for name, share in shares.items()}
        yield _update(totals, process)


def query_points(batch: TrainingSample, count: int) -> Tensor:
    """Pixels (x, y) of the first view of each sequence, (B, count, 2), drawn from those with known depth, or from all
    if there are none. They depend on nothing but the names of the views."""
    points = []
    for index in range(len(batch.images)):
        known = batch.valid[index, 0]
        rows, columns = torch.where(known if bool(known.any()) else torch.ones_like(known))
        generator = torch.Generator().manual_seed(crc32("\n".join(batch.views[index]).encode()))
        chosen = torch.randint(len(rows), (count,), generator=generator)
        points.append(torch.stack([columns[chosen], rows[chosen]], dim=-1))
    return torch.stack(points).float()


def check_tracking(network: GeometryNetwork, settings: VggtTrainingSettings) -> None:
    """Raises `InputError` if points are tracked and images are too small for that."""
    if settings.task == "distillation" and settings.query_points:
        for width, height in settings.resolutions:
            try:
                network.check_tracking(height, width)
            except InputError as error:
                raise InputError(f"{error} Or train without tracks: --query_points 0.") from error


def _set_precision(network: GeometryNetwork, settings: VggtTrainingSettings) -> None:
    network.precision = torch.bfloat16 if settings.precision == "bfloat16" else torch.float32


def _update(totals: dict[str, Tensor], process: Process) -> Update:
    values = process.summed(torch.stack(list(totals.values()))).tolist()
    return Update(sum(values), dict(zip(totals, values, strict=True)))


def _as_geometry(outputs: FrameOutputs) -> GeometryPredictions:
    assert outputs.points is not None and outputs.points_confidence is not None
    assert outputs.depth is not None and outputs.depth_confidence is not None
    tracks = outputs.tracks
    return GeometryPredictions(
        outputs.points,
        outputs.points_confidence,
        outputs.depth,
        outputs.depth_confidence,
        outputs.camera,
        None if tracks is None else tracks.points,
        None if tracks is None else tracks.visibility,
        None if tracks is None else tracks.confidence,
    )


def _as_regression(outputs: FrameOutputs) -> SequencePredictions:
    assert outputs.points is not None and outputs.points_confidence is not None
    upper = torch.cat([rotation_from_xyzw(outputs.camera[..., 3:7]), outputs.camera[..., :3, None]], dim=-1)
    return SequencePredictions(outputs.points, outputs.points_confidence, encoded_poses(inverse_rigid(upper)))
