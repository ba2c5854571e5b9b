"""Scores held-out frames of all scenes of a results folder by DAS3R's protocol: each scene is optimized without every
tenth frame, and renders of these frames are compared with the originals where the annotations mark no motion.

python -m stillsplat.scores.held_out_psnr --eval_dataset davis --results results/davis
"""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dynamic_predictor.evaluation.datasets.clip import DatasetClip
from dynamic_predictor.evaluation.datasets.registry import DATASETS, OpenDataset, open_dataset
from dynamic_predictor.evaluation.published import PUBLISHED_PSNR
from dynamic_predictor.evaluation.results_folder import ResultsFolder, file_name
from dynamic_predictor.evaluation.scores.scoring import annotated_masks
from dynamic_predictor.evaluation.tables import Column, Table, write_tables
from gaussian.settings import TrainSettings
from gaussian.trainer import train
from scene.errors import InputError
from scene.files.json_files import read_json
from scene.maps import FrameMaps
from scene.open_scene import is_scene, open_scene
from scene.progress import Progress, ignore_progress
from scene.scene import Scene
from terminal.option_parser import OptionParser, exit_status
from terminal.progress_bars import ProgressBars

_FIGURES = (
    Column("psnr_das3r", "psnr_das3r", 2, better="higher"),
    Column("psnr_static", "psnr_static", 2, better="higher"),
    Column("ssim_static", "ssim_static", 4, better="higher"),
    Column("gaussians", "Gaussians", 0, better=""),
    Column("seconds", "seconds", 0),
)


def score_held_out(
    results: Path,
    models: Path,
    dataset: OpenDataset,
    clips: Sequence[str],
    settings: TrainSettings,
    *,
    progress: Progress = ignore_progress,
    say: Callable[[str], None] = lambda sentence: None,
    warn: Callable[[str], None] = lambda sentence: None,
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Optimizes and scores the scenes of `clips`; returns the figures by clip, and the reasons of failures by clip.

    The model of a clip is saved in `models`/<clip>. A finished model is not optimized again; an interrupted one is
    resumed from its checkpoint. `say` and `warn` receive sentences for the user.
    """
    scores: dict[str, dict[str, Any]] = {}
    failures: dict[str, str] = {}
    for done, name in enumerate(clips):
        progress("clips", done, len(clips))
        try:
            model = models / file_name(name)
            if not _is_finished(model, settings):
                scene = open_scene(results / file_name(name))
                annotations = _annotations(scene, dataset.clip(name), _frames(results, name), settings)
                resume = (model / "checkpoint.pt").exists()
                say(f"{name}: {len(scene.frames)} frames of {scene.frames.width}x{scene.frames.height}")
                train(scene, settings, model, annotations=annotations, progress=progress, resume=resume)
            description = read_json(model / "settings.json")
            scores[name] = {**description["test_metrics"], **{k: description[k] for k in ("gaussians", "seconds")}}
        except InputError as error:
            failures[name] = str(error)
            warn(f"{name}: {error}")
    progress("clips", len(clips), len(clips))
    return scores, failures


def psnr_tables(dataset: str, scores: dict[str, dict[str, Any]], method: str) -> list[Table]:
    """A table of all figures by clip, and one of `psnr_das3r` by method and clip with published figures."""
    all_figures = Table(f"{dataset}: held-out frames, static by the annotations", "clip", _FIGURES)
    all_figures.rows = dict(scores)
    all_figures.add_mean()
    clips = sorted(scores)
    columns = [Column(clip, clip, 2, better="higher") for clip in clips]
    table = Table(
        f"{dataset}: psnr_das3r of held-out frames in dB, published figures of other methods and ours",
        "method",
        [*columns, Column("average", "average", 2, better="higher")],
    )
    published = PUBLISHED_PSNR.get(dataset, {})
    ours = {clip: float(score["psnr_das3r"]) for clip, score in scores.items()}
    for name, row in {**published, method: ours}.items():
        known = [row[clip] for clip in clips if clip in row]
        average = sum(known) / len(known) if len(known) == len(clips) else math.nan
        table.rows[name] = {**row, "average": average}
    return [all_figures, table]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status: 0 done, 1 some clips failed, 2 user error, 130 interrupted."""
    return exit_status(
        lambda: _run(_parser().parse_args(arguments)),
        interrupted=lambda: "Stopped; repeat the command to resume.",
        prefix="held_out_psnr: ",
    )


def _run(options: argparse.Namespace) -> int:
    results: Path = options.results
    if not results.is_dir():
        raise InputError(
            f"{results} does not exist; create its scenes: "
            f"python dynamic_predictor/launch.py --mode=eval_pose --eval_dataset={options.eval_dataset} "
            f"--output_dir={results}"
        )
    dataset = open_dataset(options.eval_dataset, options.data_folder)
    clips = options.clips or sorted(path.name for path in results.iterdir() if path.is_dir() and is_scene(path))
    if not clips:
        raise InputError(f"{results} holds no scenes.")
    settings = TrainSettings(
        iterations=options.iterations,
        protocol="das3r",
        refine_test_cameras=options.refine_test_cameras,
        seed=options.seed,
    )
    models = options.models or results.with_name(f"{results.name}_testing_psnr_{options.iterations}")
    with ProgressBars() as bars:
        scores, failures = score_held_out(
            results, models, dataset, clips, settings, progress=bars, say=bars.say, warn=bars.warn
        )
    if scores:
        print(write_tables(models, "psnr", psnr_tables(options.eval_dataset, scores, options.name)))
    if failures:
        print(f"held_out_psnr: {len(failures)} of {len(clips)} clips failed: {', '.join(failures)}.", file=sys.stderr)
        return 1 if scores else 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = OptionParser(
        prog="held_out_psnr", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--eval_dataset", choices=tuple(DATASETS), required=True)
    parser.add_argument("--results", type=Path, required=True, help="folder of scenes that launch.py wrote")
    parser.add_argument("--models", type=Path, help="default: RESULTS_testing_psnr_N beside it")
    parser.add_argument("--data_folder", type=Path, default=Path("data"), help="folder of the data sets; default: data")
    parser.add_argument("--clips", nargs="+", help="default: all scenes")
    parser.add_argument("--iterations", type=int, default=4000, help="default: 4000, as published figures use")
    parser.add_argument(
        "--refine-test-cameras", action="store_true", help="optimize cameras of held-out frames on static pixels"
    )
    parser.add_argument("--name", default="ours", help="name of the row in the table; default: ours")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def _is_finished(model: Path, settings: TrainSettings) -> bool:
    """Whether `model` was optimized with these settings and scored. Raises `InputError` for other settings."""
    path = model / "settings.json"
    if not path.exists():
        return False
    description = read_json(path)
    if TrainSettings.from_dict(description.get("settings", {})) != settings:
        raise InputError(f"{model} was optimized with other settings; remove it, or choose another --models.")
    return "test_metrics" in description


def _frames(results: Path, name: str) -> list[int] | None:
    """The frames of the clip that the scene was made from, where launch.py recorded them."""
    made_by = ResultsFolder(results).record(name).get("made_by", {})
    frames = made_by.get("frames")
    return [int(frame) for frame in frames] if isinstance(frames, list) else None


def _annotations(scene: Scene, clip: DatasetClip, frames: Sequence[int] | None, settings: TrainSettings) -> FrameMaps:
    """The annotated masks at the size of the scene. Raises `InputError` when a held-out frame has none."""
    count = len(scene.frames)
    positions = list(frames if frames is not None else range(count))
    if len(positions) != count or positions[-1] >= len(clip.images):
        raise InputError(
            f"The scene of {clip.name} has {count} frames, which do not match the frames of the clip in the data set."
        )
    part = clip.select(positions)
    annotated = set(part.annotated_frames())
    missing = [frame for frame in settings.test_frames(count) if frame not in annotated]
    if missing or not annotated:
        raise InputError(f"{clip.name} has no annotation of {f'frame {missing[0]}' if annotated else 'any frame'}.")
    return annotated_masks(part, scene.frames.width, scene.frames.height)


if __name__ == "__main__":
    sys.exit(main())
