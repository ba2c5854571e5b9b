"""Motion masks from attention against the annotations of DAVIS: region similarity J and boundary accuracy F.

    python benchmarks/attention_masks.py --predictor monst3r --data-folder data [--clips dog camel] [--all-clips]

Needs the predictor's weights and the data set; without them it says so in one sentence and ends with status 2. Masks
are scored at the size of the annotations, in all annotated frames.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import cast

import numpy as np

from dynamic_predictor.contract import AttentionPredictor, Views
from dynamic_predictor.evaluation.datasets.clip import DatasetClip
from dynamic_predictor.evaluation.datasets.registry import open_dataset
from dynamic_predictor.evaluation.scores.masks import (
    MaskScores,
    score_masks,
    summarize_over_clips,
    summarize_over_frames,
)
from dynamic_predictor.evaluation.scores.scoring import annotated_masks
from dynamic_predictor.networks.devices import DEVICES
from dynamic_predictor.specs import create_predictor, predictor_spec, specs
from scene.errors import InputError
from scene.frames import ImageFolderFrames


def score_clip(predictor: AttentionPredictor, clip: DatasetClip) -> MaskScores:
    """The scores of the masks that the attention of `predictor` gives for one clip."""
    frames = ImageFolderFrames(clip.images)
    masks = predictor.attention_motion(Views(frames))
    annotations = annotated_masks(clip, frames.width, frames.height)

    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for index in clip.annotated_frames():
            yield masks[index] > 0.5, annotations[index] > 0.5

    return score_masks(pairs())


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the scores of every clip and their means; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--predictor", default="monst3r")
    parser.add_argument("--weights", help="file or folder with weights other than the official ones")
    parser.add_argument("--data-folder", type=Path, default=Path("data"))
    parser.add_argument("--clips", nargs="+", help="default: the eight clips of the DAS3R paper")
    parser.add_argument("--all-clips", action="store_true")
    parser.add_argument("--max-frames", type=int, default=0, help="first N frames of a clip; 0: all")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    try:
        results = _scores(options)
    except InputError as error:
        print(f"attention_masks.py: {error}", file=sys.stderr)
        return 2
    for title, summary in (
        ("mean over clips (DAVIS benchmark)", summarize_over_clips(list(results.values()))),
        ("mean over frames (DAS3R)", summarize_over_frames(list(results.values()))),
    ):
        print(f"{title:36s} J {summary.j_mean:.3f}, above 0.5 {summary.j_recall:.3f}; F {summary.f_mean:.3f}")
    if options.json is not None:
        scores = {name: asdict(score) for name, score in results.items()}
        options.json.write_text(json.dumps({"predictor": options.predictor, "clips": scores}, indent=2) + "\n")
    return 0


def _scores(options: argparse.Namespace) -> dict[str, MaskScores]:
    spec = predictor_spec(options.predictor)
    if spec.attention_motion is None:
        able = ", ".join(row.name for row in specs().values() if row.attention_motion is not None)
        raise InputError(f"No motion is found in the attention of {spec.name}; choose one of: {able}.")
    dataset = open_dataset("davis", options.data_folder)
    chosen = {} if options.weights is None else {"weights": options.weights}
    predictor = cast(AttentionPredictor, create_predictor(spec.name, device=options.device, **chosen))
    print(f"{spec.name}, masks from its attention ({spec.attention_motion}), every annotated frame of DAVIS")
    results = {}
    for name in options.clips or dataset.clip_names(all_clips=options.all_clips):
        clip = dataset.clip(name)
        clip = clip.select(range(len(clip.images))[: options.max_frames or None])
        begin = time.perf_counter()
        score = results[name] = score_clip(predictor, clip)
        seconds = (time.perf_counter() - begin) / len(clip.images)
        print(f"{name:36s} J {score.j_mean:.3f}, F {score.f_mean:.3f}, {seconds:.2f} s per frame", flush=True)
    return results


if __name__ == "__main__":
    sys.exit(main())
