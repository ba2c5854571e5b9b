"""One training step: predictions, gradients of the loss, trainable parameters."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dynamic_predictor.das3r.network import TwoViewNetwork, ViewPrediction
from dynamic_predictor.training.processes import Process, gradient_sync
from dynamic_predictor.training.two_view.losses import ViewTruth, motion_losses, pair_losses
from dynamic_predictor.training.two_view.pair_batches import PairBatch
from dynamic_predictor.training.two_view.settings import TrainingSettings

_ENCODER = ("patch_embed.", "enc_blocks.", "enc_norm.")
_POINT_HEADS = ("downstream_head1.", "downstream_head2.")
_MASK_HEADS = ("downstream_head_dynamic_mask1.", "downstream_head_dynamic_mask2.")
#: parameters in published checkpoints that no forward pass uses
_UNUSED = ("mask_token", "refinenet4.resConfUnit1.")


class PairPredictions(nn.Module):
    """The network applied to a batch of pairs and, with `settings.symmetrize`, the same pairs with swapped images; each
    image is encoded once. In training without `settings.learn_points` only motion probabilities are computed."""

    def __init__(self, network: TwoViewNetwork, settings: TrainingSettings) -> None:
        super().__init__()
        self.network = network
        self._symmetrize = settings.symmetrize
        self._learns_points = settings.learn_points
        self._dtype = torch.bfloat16 if settings.precision == "bfloat16" else None

    def forward(
        self, images1: Tensor, images2: Tensor
    ) -> tuple[ViewPrediction, ViewPrediction] | tuple[Tensor, Tensor]:
        """Predictions for images (B, 3, H, W) in [-1, 1] of B pairs, or of 2B pairs with the swapped ones last."""
        count = len(images1)
        with torch.autocast(images1.device.type, self._dtype or torch.bfloat16, enabled=self._dtype is not None):
            encoded = self.network.encode(torch.cat([images1, images2]))
            order = torch.arange(2 * count, device=images1.device)
            swapped = order.roll(count)
            if not self._symmetrize:
                order, swapped = order[:count], swapped[:count]
            view1, view2 = encoded.select(order), encoded.select(swapped)
            layers1, layers2 = self.network.decode(view1, view2)
        if self.network.training and not self._learns_points:
            return self.network.predict_motion(1, layers1, view1), self.network.predict_motion(2, layers2, view2)
        return self.network.predict_view(1, layers1, view1), self.network.predict_view(2, layers2, view2)


def pair_truths(batch: PairBatch, *, symmetrize: bool) -> tuple[ViewTruth, ViewTruth]:
    """The ground truth for the predictions of `PairPredictions` for `batch`."""
    first, second = batch.truths
    return (_joined(first, second), _joined(second, first)) if symmetrize else (first, second)


def _joined(one: ViewTruth, two: ViewTruth) -> ViewTruth:
    return ViewTruth(**{name: torch.cat([value, vars(two)[name]]) for name, value in vars(one).items()})


def accumulate_gradients(
    model: nn.Module, parts: Sequence[PairBatch], settings: TrainingSettings, process: Process
) -> float:
    """Adds the gradients of one step to those of `model` (a `PairPredictions`, possibly sharded or wrapped in DDP) and
    returns the loss of all `parts` on all processes as one batch."""
    truths = [pair_truths(part, symmetrize=settings.symmetrize) for part in parts]
    counts = torch.tensor(
        [[float(truth.known_motion().sum()) for truth in pair] for pair in truths], device=process.device
    ).sum(dim=0)
    counts = process.summed(counts).clamp_min(1)
    loss = torch.zeros((), device=process.device)
    for number, (part, pair) in enumerate(zip(parts, truths, strict=True), start=1):
        with gradient_sync(model, number == len(parts)):
            predictions = model(*part.images)
            if settings.learn_points:
                terms = pair_losses(predictions, pair, settings.alpha)
                names = [name for name in terms if name.startswith("weighted_")]
            else:
                # confidence measures the accuracy of points, so it is no weight if points are not learned
                terms = motion_losses(predictions, pair)
                names = list(terms)
            objective = torch.stack([terms[name].total / counts[int(name[-1]) - 1] for name in names]).sum()
            # DDP and FSDP average gradients over processes, but the loss is a sum
            (objective * process.world_size).backward()
        loss += objective.detach()
    return float(process.summed(loss))


def select_trainable(network: TwoViewNetwork, settings: TrainingSettings) -> list[nn.Parameter]:
    """Sets `requires_grad` of all parameters, and the dropout, by `settings`; returns the trainable parameters."""
    frozen: tuple[str, ...] = ()
    if settings.freeze == "encoder":
        frozen = _ENCODER
    elif settings.freeze == "encoder_and_3d_predictor":
        frozen = tuple(name for name, _ in network.named_parameters() if not name.startswith(_MASK_HEADS))
    if not settings.learn_points:
        frozen += _POINT_HEADS
    trainable = []
    for name, parameter in network.named_parameters():
        learns = not name.startswith(frozen) and not any(part in name for part in _UNUSED)
        parameter.requires_grad_(learns)
        if learns:
            trainable.append(parameter)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = settings.mask_dropout
    return trainable
