"""The commands of the scripts in this folder: download and prepare published data sets."""

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from dynamic_predictor.evaluation.datasets.fetching import (
    Archive,
    ArchivePart,
    PublishedDataset,
    ask_for_consent,
    fetch_dataset,
)
from terminal.exit_status import exit_status
from terminal.progress_bars import ProgressBars

DAVIS = PublishedDataset(
    title="DAVIS 2017, training and validation, 480p",
    license="CC BY-NC 4.0 (no commercial use)",
    cite="Pont-Tuset et al., The 2017 DAVIS Challenge on Video Object Segmentation; Perazzi et al., CVPR 2016",
    page="https://davischallenge.org/davis2017/code.html",
    archives=(
        Archive(
            "images and annotations",
            (ArchivePart("https://data.vision.ee.ethz.ch/csergi/share/davis/DAVIS-2017-trainval-480p.zip"),),
        ),
    ),
)

SINTEL = PublishedDataset(
    title="MPI Sintel, training part",
    license="CC BY 3.0, (c) Blender Foundation | durian.blender.org; see the page for the ground truth",
    cite="Butler, Wulff, Stanley and Black, A naturalistic open source movie for optical flow evaluation, ECCV 2012",
    page="http://sintel.is.tue.mpg.de",
    archives=(
        Archive("images", (ArchivePart("http://files.is.tue.mpg.de/sintel/MPI-Sintel-training_images.zip"),)),
        Archive(
            "depth and cameras",
            (ArchivePart("http://files.is.tue.mpg.de/jwulff/sintel/MPI-Sintel-depth-training-20150305.zip"),),
        ),
        Archive("optical flow", (ArchivePart("http://files.is.tue.mpg.de/sintel/MPI-Sintel-training_extras.zip"),)),
    ),
)

_POINT_ODYSSEY_FILES = (
    "https://huggingface.co/datasets/aharley/pointodyssey/resolve/3e6f11c3ebc49255d66c546d0e6bef772d63beed/"
)


def _point_odyssey_part(name: str, holds: str, sizes: Sequence[int]) -> Archive:
    endings = [f".part{letters}" for letters in ("aa", "ab", "ac", "ad")] if len(sizes) > 1 else [""]
    return Archive(
        holds,
        tuple(
            ArchivePart(f"{_POINT_ODYSSEY_FILES}{name}.tar.gz{ending}", size)
            for ending, size in zip(endings, sizes, strict=True)
        ),
    )


POINT_ODYSSEY = PublishedDataset(
    title="PointOdyssey 1.2",
    license="MIT (as its page on the hub states)",
    cite="Zheng et al., PointOdyssey: A Large-Scale Synthetic Dataset for Long-Term Point Tracking, ICCV 2023",
    page="https://huggingface.co/datasets/aharley/pointodyssey",
    archives=(
        _point_odyssey_part("sample", "sample clips", [3_324_284_510]),
        _point_odyssey_part("test", "test clips", [26_521_309_703]),
        _point_odyssey_part("val", "validation clips", [20_399_261_433]),
        _point_odyssey_part(
            "train", "training clips", [34_359_738_368, 34_359_738_368, 34_359_738_368, 31_254_171_521]
        ),
    ),
)
_POINT_ODYSSEY_PARTS = ("sample", "test", "val", "train")


def download_davis(folder: Path, arguments: Sequence[str] | None = None) -> int:
    """The command data/download_davis.py; returns its exit status."""
    options = _download_parser("download_davis.py", DAVIS, folder).parse_args(arguments)
    return _run(lambda bars: _fetch(DAVIS, options, bars), DAVIS, options.yes)


def download_sintel(folder: Path, arguments: Sequence[str] | None = None) -> int:
    """The command data/download_sintel.py; returns its exit status."""
    options = _download_parser("download_sintel.py", SINTEL, folder).parse_args(arguments)

    def fetch_and_label(bars: ProgressBars) -> None:
        from dynamic_predictor.evaluation.datasets.motion_labels import label_sintel

        _fetch(SINTEL, options, bars)
        label_sintel(options.to / "training", progress=bars)

    return _run(fetch_and_label, SINTEL, options.yes)


def download_pointodyssey(folder: Path, arguments: Sequence[str] | None = None) -> int:
    """The command data/download_pointodyssey.py; returns its exit status."""
    parser = _download_parser("download_pointodyssey.py", POINT_ODYSSEY, folder)
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=_POINT_ODYSSEY_PARTS,
        default=["train", "test", "sample"],
        help="default: train test sample",
    )
    parser.add_argument("--no-rearrange", action="store_true", help="keep the published files as they are")
    options = parser.parse_args(arguments)
    chosen = tuple(
        archive
        for part, archive in zip(_POINT_ODYSSEY_PARTS, POINT_ODYSSEY.archives, strict=True)
        if part in options.parts
    )

    dataset = replace(POINT_ODYSSEY, archives=chosen)

    def fetch_and_rearrange(bars: ProgressBars) -> None:
        _fetch(dataset, options, bars)
        if not options.no_rearrange:
            _rearrange(options.to, bars)

    return _run(fetch_and_rearrange, dataset, options.yes)


def make_sintel_labels(training_folder: Path, arguments: Sequence[str] | None = None) -> int:
    """The command data/sintel_motion_labels.py; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="sintel_motion_labels.py", description="Computes motion labels of Sintel from its flow, depth and cameras."
    )
    parser.add_argument(
        "--sintel", type=Path, default=training_folder, metavar="DIR", help="folder training/ of Sintel"
    )
    parser.add_argument("--threshold", type=float, default=0.1, metavar="PIXELS", help="default: 0.1")
    parser.add_argument("--save_dir", default="dynamic_label_perfect", metavar="NAME", help="subfolder for the labels")
    parser.add_argument("--continuous", action="store_true", help="write the difference of flow in place of a label")
    options = parser.parse_args(arguments)

    def label(bars: ProgressBars) -> None:
        from dynamic_predictor.evaluation.datasets.motion_labels import label_sintel

        threshold = None if options.continuous else options.threshold
        count = label_sintel(options.sintel, label_name=options.save_dir, threshold=threshold, progress=bars)
        bars.say(f"{count} labels are in {options.sintel / options.save_dir}.")

    return _run(label)


def rearrange_pointodyssey(folder: Path, arguments: Sequence[str] | None = None) -> int:
    """The command data/rearrange_pointodyssey.py; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="rearrange_pointodyssey.py", description="Rearranges PointOdyssey to one small file per frame."
    )
    parser.add_argument("--dataset", type=Path, default=folder, metavar="DIR")
    options = parser.parse_args(arguments)
    return _run(lambda bars: _rearrange(options.dataset, bars))


def prepare(arguments: Sequence[str] | None = None) -> int:
    """The command data/prepare.py; returns its exit status: 1 if some scenes failed."""
    from dynamic_predictor.preparation.running import PreparationResult, prepare_set
    from dynamic_predictor.preparation.table import PREPARATIONS

    parser = argparse.ArgumentParser(
        prog="prepare.py",
        description="Prepares the raw download of a training set; repeat the command to resume it.",
        epilog="\n".join(f"{name}: {row.structure}" for name, row in PREPARATIONS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dataset", choices=sorted(PREPARATIONS), metavar="DATASET", help=", ".join(PREPARATIONS))
    parser.add_argument("raw", type=Path, metavar="RAW", help="folder of the raw download")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the prepared set")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="default: one per core")
    parser.add_argument("--scenes", default="", metavar="A,B", help="prepare only these scenes")
    options = parser.parse_args(arguments)
    results: list[PreparationResult] = []

    def work(bars: ProgressBars) -> None:
        preparation = PREPARATIONS[options.dataset]
        scenes = [name for name in options.scenes.split(",") if name]
        result = prepare_set(
            options.dataset, preparation, options.raw, options.out, jobs=options.jobs, scenes=scenes, progress=bars
        )
        results.append(result)
        for scene, error in result.failed.items():
            bars.say(f"{scene} failed: {error}")
        counts = f"{len(result.done)} scenes prepared, {len(result.earlier)} before, {len(result.failed)} failed"
        bars.say(f"{counts}; they are in {options.out}.")

    return _run(work) or int(any(result.failed for result in results))


def _download_parser(name: str, dataset: PublishedDataset, folder: Path) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=name, description=f"Downloads {dataset.title}.")
    parser.add_argument("--to", type=Path, default=folder, metavar="DIR", help=f"default: {folder}")
    parser.add_argument("--yes", action="store_true", help="accept the license")
    parser.add_argument("--keep-archives", action="store_true", help="do not remove archives after unpacking")
    return parser


def _fetch(dataset: PublishedDataset, options: argparse.Namespace, bars: ProgressBars) -> None:
    fetch_dataset(dataset, options.to, keep_archives=options.keep_archives, progress=bars)
    bars.say(f"{dataset.title} is in {options.to}.")


def _rearrange(folder: Path, bars: ProgressBars) -> None:
    from dynamic_predictor.evaluation.datasets.rearrangement import rearrange

    done, left_out = rearrange(folder, progress=bars)
    bars.say(f"{done} clips are ready; {left_out} have no tracks and were skipped.")


def _run(work: Callable[[ProgressBars], None], dataset: PublishedDataset | None = None, accepted: bool = False) -> int:
    """Asks the user to accept the license of `dataset`, runs `work` and returns the `exit_status`."""

    def run() -> int:
        if dataset is not None:
            ask_for_consent(dataset, accepted=accepted)
        with ProgressBars() as bars:
            work(bars)
        return 0

    return exit_status(run, interrupted=lambda: "Stopped; repeat the command to resume.", prefix="data: ")
