"""Loss and mask IoU of a network on the test pairs, with example images."""

from collections.abc import Iterable

import numpy as np
import torch

from dynamic_predictor.das3r.network import ViewPrediction
from dynamic_predictor.training.processes import Process
from dynamic_predictor.training.recipe import Validation
from dynamic_predictor.training.two_view.losses import ViewTruth, validation_losses
from dynamic_predictor.training.two_view.pair_batches import PairBatch
from dynamic_predictor.training.two_view.settings import TrainingSettings
from dynamic_predictor.training.two_view.step import PairPredictions

_EXAMPLES = 4


@torch.inference_mode()
def validate(
    model: PairPredictions, batches: Iterable[PairBatch], settings: TrainingSettings, process: Process
) -> Validation:
    """Scores `model`, in evaluation mode, on the batches of all processes.

    The loss is that of the published validation; the score `mask_iou` is that of image 1, over all pixels of all pairs,
    at the threshold 0.5 (NaN if nothing moves); the examples show image, true and predicted motion.
    """
    network = model.network
    was_training = network.training
    network.eval()
    sums = torch.zeros(11, dtype=torch.float64, device=process.device)
    examples: list[np.ndarray] = []
    for batch in batches:
        batch = batch.to(process.device)
        count = len(batch.images[0])
        first, second = model(*batch.images)
        predictions = (_first(first, count), _first(second, count))
        terms = validation_losses(predictions, batch.truths)
        for index, name in enumerate(("points_1", "points_2", "motion_1", "motion_2")):
            sums[index] += terms[name].total.double()
            sums[4 + index] += terms[name].count
        assert predictions[0].motion is not None
        known = batch.truths[0].known_motion()
        found, true = (predictions[0].motion > 0.5) & known, (batch.truths[0].motion > 0.5) & known
        sums[8] += (found & true).sum()
        sums[9] += (found | true).sum()
        sums[10] += count
        for index in range(min(count, _EXAMPLES - len(examples))):
            examples.append(_example(batch.images[0][index], batch.truths[0], predictions[0], index))
    network.train(was_training)
    sums = process.summed(sums).cpu()
    loss = float((sums[:4] / sums[4:8].clamp_min(1)).sum())
    iou = float(sums[8] / sums[9]) if sums[9] > 0 else float("nan")
    images = np.concatenate(examples, axis=1) if examples else None
    return Validation(loss, int(sums[10]), {"mask_iou": iou}, images)


def _first(prediction: ViewPrediction, count: int) -> ViewPrediction:
    assert prediction.motion is not None
    return ViewPrediction(prediction.points[:count], prediction.confidence[:count], prediction.motion[:count])


def _example(image: torch.Tensor, truth: ViewTruth, prediction: ViewPrediction, index: int) -> np.ndarray:
    pixels = ((image.permute(1, 2, 0).cpu().numpy() + 1) * 127.5).clip(0, 255).astype(np.uint8)
    assert prediction.motion is not None
    rows = [pixels]
    for motion in (truth.motion[index].nan_to_num(0.5), prediction.motion[index]):
        gray = np.rint(motion.float().cpu().numpy() * 255).astype(np.uint8)
        rows.append(np.repeat(gray[..., None], 3, axis=2))
    return np.concatenate(rows)
