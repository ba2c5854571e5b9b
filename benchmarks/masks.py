"""Motion masks of the weight-free predictor against annotations, beside published figures of methods without training.

    python benchmarks/masks.py FOLDER [FOLDER ...] [--max-frames 32] [--clips bear boat] [--half odd|even]
                               [--refine-masks sam2] [--json FILE] [--sheet FILE.jpg]

A FOLDER is one clip or has one folder per clip: frames in `images` or `rgb`, annotations in `annotations` or `mask`. In
clips without annotations nothing moves: every region there is a false one. Masks are scored at the size of the
annotations in all frames. Published figures are those of whole clips. With --json, clips that the file has already are
not predicted again, so that a long run can be continued. --refine-masks scores what a network with weights makes of
them.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dynamic_predictor.contract import Views
from dynamic_predictor.evaluation.published import published_region_similarity
from dynamic_predictor.evaluation.scores.masks import score_masks
from dynamic_predictor.geometric.predictor import GeometricPredictor
from dynamic_predictor.mask_refinement.choice import create_segmenter
from dynamic_predictor.mask_refinement.contract import VideoSegmenter
from dynamic_predictor.mask_refinement.refining import refined_masks
from dynamic_predictor.networks.devices import resolved_device
from scene.errors import InputError
from scene.frames import MemoryFrames
from scene.images import fitted_size, read_image, resize_image, write_jpeg

#: methods of the published table
METHODS = ("FST", "NLC", "ELM", "TIS", "ARP")
#: smallest share of the picture that counts as a false region
FALSE_REGION = 0.001


@dataclass(frozen=True)
class ClipFiles:
    """The files of one clip; no `annotations` where nothing moves."""

    name: str
    images: list[Path]
    annotations: list[Path]


def find_clips(folders: Sequence[Path], most: int) -> list[ClipFiles]:
    """The clips in or at the `folders`, with at most `most` frames each (0: all). Raises `InputError` if there are
    none."""
    clips = []
    for folder in folders:
        for place in [folder, *sorted(path for path in folder.glob("*") if path.is_dir())]:
            images = _files(place, ("images", "rgb"))
            if images:
                annotations = _files(place, ("annotations", "mask"))
                clips.append(ClipFiles(place.name, images[: most or None], annotations[: most or None]))
            elif place is not folder and place.name == "clean":
                clips.append(ClipFiles(f"{folder.name}/clean", sorted(place.iterdir())[: most or None], []))
    if not clips:
        raise InputError(f"There is no clip in {', '.join(map(str, folders))}: a clip has a folder images or rgb.")
    return clips


def _files(place: Path, names: Sequence[str]) -> list[Path]:
    return next((sorted((place / name).iterdir()) for name in names if (place / name).is_dir()), [])


def false_regions(mask: np.ndarray) -> int:
    """Number of connected regions of `mask` (H, W) bool that are larger than `FALSE_REGION` of the picture."""
    count, _, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    return int((statistics[1:count, cv2.CC_STAT_AREA] > FALSE_REGION * mask.size).sum())


def score_clip(
    clip: ClipFiles, max_size: int, segmenter: VideoSegmenter | None = None
) -> tuple[dict[str, float], list[np.ndarray]]:
    """The figures of one clip, and pictures of three of its frames with their masks (H, W, 3). With a `segmenter`,
    those of refined masks."""
    first = read_image(clip.images[0])
    width, height = fitted_size(first.shape[1], first.shape[0], max_size)
    frames = MemoryFrames(np.stack([resize_image(read_image(path), width, height) for path in clip.images]))
    begin = time.process_time()
    prediction = GeometricPredictor().predict(Views(frames))
    motion = prediction.motion
    assert motion is not None
    if segmenter is not None:
        motion = refined_masks(frames, motion, segmenter).masks
    seconds = time.process_time() - begin
    masks = [motion[index] > 0.5 for index in range(len(frames))]
    figures = {
        "seconds": round(seconds, 1),
        "share": float(np.mean(masks)),
        "false_regions_per_frame": float(np.mean([false_regions(mask) for mask in masks])),
    }
    truth = [read_image(path).max(axis=2) > 127 for path in clip.annotations]
    if truth:
        tall, wide = truth[0].shape
        scaled = [
            cv2.resize(motion[index], (wide, tall), interpolation=cv2.INTER_LINEAR) > 0.5 for index in range(len(truth))
        ]
        scores = score_masks(zip(scaled, truth, strict=True))
        figures |= {"j_mean": scores.j_mean, "f_mean": scores.f_mean}
        figures["false_regions_per_frame"] = float(
            np.mean([false_regions(found & ~right) for found, right in zip(scaled, truth, strict=True)])
        )
    chosen = np.unique(np.linspace(0, len(frames) - 1, 5).astype(int)[1:-1])
    return figures, [outlined(frames.rgb8(int(index)), masks[index]) for index in chosen]


def outlined(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The uint8 `image` with the masked pixels reddened and the border of the mask in green."""
    picture = image.copy()
    picture[mask] = picture[mask] // 2 + np.array([120, 0, 0], np.uint8)
    border = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    picture[border] = (0, 255, 0)
    return picture


def sheet(rows: dict[str, list[np.ndarray]], columns: int = 2, width: int = 200) -> np.ndarray:
    """One picture (H, W, 3) of all clips: `columns` clips side by side, each with its frames `width` pixels wide."""
    strips = []
    for name, pictures in rows.items():
        small = [resize_image(picture, width, round(width * 9 / 16)) for picture in pictures]
        small += [np.zeros_like(small[0])] * (3 - len(small))
        strip = np.concatenate(small, axis=1)
        cv2.putText(strip, name, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
        strips.append(strip)
    strips += [np.zeros_like(strips[0])] * (-len(strips) % columns)
    return np.concatenate(
        [np.concatenate(strips[at : at + columns], axis=1) for at in range(0, len(strips), columns)], axis=0
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table and writes the sheet; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--clips", nargs="+", help="names of the clips; default: all")
    parser.add_argument("--half", choices=("odd", "even"), help="every second clip by name, from the first or second")
    parser.add_argument("--max-frames", type=int, default=32, help="first N frames of a clip; 0: all")
    parser.add_argument("--max-size", type=int, default=512)
    parser.add_argument("--refine-masks", metavar="NAME", help="sam2[:SIZE], see docs/mask_refinement.md")
    parser.add_argument("--json", type=Path, help="figures, read first and continued")
    parser.add_argument("--sheet", type=Path, help="JPEG with pictures of the clips that were predicted")
    options = parser.parse_args(arguments)
    try:
        clips = find_clips(options.folders, options.max_frames)
        segmenter = None
        if options.refine_masks is not None:
            segmenter = create_segmenter(options.refine_masks, resolved_device("auto"))
    except InputError as error:
        print(f"masks.py: {error}", file=sys.stderr)
        return 2
    clips = clips[{"odd": slice(0, None, 2), "even": slice(1, None, 2), None: slice(None)}[options.half]]
    clips = [clip for clip in clips if not options.clips or clip.name in options.clips]
    figures: dict[str, dict[str, float]] = {}
    if options.json is not None and options.json.is_file():
        figures = json.loads(options.json.read_text())
    published = published_region_similarity("davis")
    print(f"{'J, mean over frames':22s} {'ours':>5s} " + " ".join(f"{method:>5s}" for method in METHODS))
    pictures: dict[str, list[np.ndarray]] = {}
    for clip in clips:
        if clip.name not in figures:
            figures[clip.name], pictures[clip.name] = score_clip(clip, options.max_size, segmenter)
            if options.json is not None:
                options.json.write_text(json.dumps(figures, indent=1) + "\n")
        print(_row(clip.name, figures[clip.name], published), flush=True)
    scored = [clip.name for clip in clips if "j_mean" in figures[clip.name]]
    if scored:
        mean = {key: float(np.mean([figures[name][key] for name in scored])) for key in figures[scored[0]]}
        common = {
            method: {"mean": float(np.mean([row[name] for name in scored]))}
            for method, row in published.items()
            if all(name in row for name in scored)
        }
        print(_row("mean", mean, common))
    if options.sheet is not None and pictures:
        write_jpeg(options.sheet, sheet(pictures))
    return 0


def _row(name: str, figures: dict[str, float], published: dict[str, dict[str, float]]) -> str:
    others = [published.get(method, {}).get(name) for method in METHODS]
    columns = " ".join("    -" if value is None else f"{value:5.3f}" for value in others)
    ours = f"{figures['j_mean']:5.3f}" if "j_mean" in figures else "    -"
    return (
        f"{name:22s} {ours} {columns}   masked {100 * figures['share']:4.1f} %, "
        f"false regions {figures['false_regions_per_frame']:.1f} per frame, {figures['seconds']:.0f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
