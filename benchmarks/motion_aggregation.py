"""IoU of motion masks by the way in which the mask heads' outputs for many pairs are combined.

    python benchmarks/motion_aggregation.py SCENE [--frames 16] [--step 2] [--blur 4] [--noise 2.5] [--missed 0.3]

SCENE has rgb/ and mask/ (255 = moves). The outputs of the heads are simulated: true masks, blurred, shifted by 1.5
pixels, with spatially smooth noise; in a fraction `--missed` of the views the motion is barely detected. IoU is taken
over all frames.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from dynamic_predictor.das3r.global_alignment.motion_masks import fit_to_edges, motion_probability
from dynamic_predictor.das3r.global_alignment.official import OFFICIAL
from dynamic_predictor.das3r.global_alignment.pair_graph import pair_edges
from dynamic_predictor.das3r.global_alignment.predictions import PairPredictions


def simulated_head(mask: np.ndarray, options: argparse.Namespace, rng: np.random.Generator) -> np.ndarray:
    """The simulated motion probability (H, W) float32 of one view."""
    height, width = mask.shape
    logits = 6.0 * cv2.GaussianBlur(mask.astype(np.float32) * 2.0 - 1.0, (0, 0), options.blur)
    dx, dy = rng.normal(0.0, 1.5, 2)
    shift = np.array([[1.0, 0.0, dx], [0.0, 1.0, dy]], np.float32)
    logits = cv2.warpAffine(logits, shift, (width, height), borderMode=cv2.BORDER_REPLICATE)
    if rng.uniform() < options.missed:
        logits = np.where(logits > 0, 0.3 * logits - 2.1, logits)
    coarse = rng.standard_normal((height // 16, width // 16)).astype(np.float32)
    logits += options.noise * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return 1.0 / (1.0 + np.exp(-logits))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", type=Path)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--step", type=int, default=2)
    parser.add_argument("--blur", type=float, default=4.0)
    parser.add_argument("--noise", type=float, default=2.5)
    parser.add_argument("--missed", type=float, default=0.3)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    chosen = range(0, options.frames * options.step, options.step)
    images = [cv2.imread(str(options.scene / f"rgb/{k:05d}.jpg"))[..., ::-1] for k in chosen]
    truth = np.stack([cv2.imread(str(options.scene / f"mask/{k:05d}.png"), 0) > 127 for k in chosen])
    predictions = PairPredictions(pair_edges(options.frames, "swinstride-5-noncyclic"), *truth.shape[1:])
    points, confidence = np.ones((*truth.shape[1:], 3), np.float32), np.ones(truth.shape[1:], np.float32)
    for pair, edge in enumerate(predictions.edges.tolist()):
        outputs = [simulated_head(truth[frame], options, rng) for frame in edge]
        predictions.store(pair, points, confidence, points, confidence, *outputs)
    first = motion_probability(predictions, OFFICIAL).numpy()
    both = motion_probability(predictions).numpy()
    for name, probability in (
        ("first head", first),
        ("both heads", both),
        ("both heads, fitted to edges", fit_to_edges(both, images)),
    ):
        found = probability > 0.5
        print(f"{name:28s} IoU {(found & truth).sum() / (found | truth).sum():.3f}")


if __name__ == "__main__":
    main()
