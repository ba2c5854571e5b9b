"""Scores of a network on test sequences, with example images."""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn

from dynamic_predictor.training.datasets.samples import TrainingSample
from dynamic_predictor.training.processes import Process
from dynamic_predictor.training.recipe import Validation
from dynamic_predictor.training.sequences.point_regression import SequencePredictions, SequenceTruth, scale_errors
from dynamic_predictor.training.sequences.sequence_batches import truth_of

_EXAMPLES = 4


@torch.no_grad()
def validate(
    network: nn.Module,
    predict: Callable[[TrainingSample], SequencePredictions],
    batches: Iterable[TrainingSample],
    process: Process,
) -> Validation:
    """Scores `predict`, which uses `network`, in evaluation mode, on the batches of all processes.

    The loss is that of the published validation; its terms (see `scale_errors`), averaged over views, are the scores.
    The examples show image, true and predicted distance of points from the first camera, and the predicted colors.
    """
    was_training = network.training
    network.eval()
    totals: dict[str, Tensor] = {}
    counts: dict[str, Tensor] = {}
    examples: list[np.ndarray] = []
    samples = 0
    for part in batches:
        predicted = predict(part)
        truth = truth_of(part.to(process.device))
        samples += len(part.images)
        for name, term in scale_errors(predicted, truth).items():
            totals[name] = totals.get(name, 0) + term.total.double()
            counts[name] = counts.get(name, 0) + term.count.double()
        for index in range(min(len(part.images), _EXAMPLES - len(examples))):
            examples.append(_example(predicted, truth, index))
    network.train(was_training)
    loss, scores = 0.0, {}
    for name, total in totals.items():
        means = process.summed(total) / process.summed(counts[name]).clamp_min(1)
        loss += float(means.sum())
        scores[name] = float(means.mean())
    count = int(process.summed(torch.tensor(float(samples), device=process.device)))
    return Validation(loss, count, scores, np.concatenate(examples, axis=1) if examples else None)


def _example(predicted: SequencePredictions, truth: SequenceTruth, index: int) -> np.ndarray:
    """One view of a sequence, the last one, as rows of an image."""
    camera = truth.world_from_camera[index, 0]
    distance = (truth.points[index, -1] - camera[:3, 3]).norm(dim=-1) * truth.valid[index, -1]
    found = predicted.world_points[index, -1].norm(dim=-1)
    far = float(distance.max().clamp_min(1e-6))
    rows = [(truth.images[index, -1].permute(1, 2, 0) + 1) / 2]
    rows += [(values / far)[..., None].expand(-1, -1, 3) for values in (distance, found)]
    if predicted.colors is not None:
        rows.append((predicted.colors[index, -1] + 1) / 2)
    return (torch.cat(rows).clamp(0, 1) * 255).round().byte().cpu().numpy()
