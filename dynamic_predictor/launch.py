#!/usr/bin/env python3
"""A dynamic predictor over a data set, under the names that users of DAS3R know:

python dynamic_predictor/launch.py --mode=eval_pose --pretrained=FILE --eval_dataset=davis --output_dir=results/davis \
    --use_pred_mask
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Run as a script, the folder of this file is searched first, and its modules would hide others of the same name.
if __name__ == "__main__":
    _ROOT = str(Path(__file__).resolve().parents[1])
    sys.path[:] = [_ROOT, *(entry for entry in sys.path if entry and Path(entry).resolve() != Path(__file__).parent)]

import terminal.own_python  # noqa: F401 - first, so that any Python may start this

# isort: split
from dynamic_predictor.driver.settings import DEFAULT_PREDICTOR
from dynamic_predictor.launch_options import (
    CO3D,
    option_of,
    parse_mode,
    parse_options,
    predictor_choice,
    refuse_unused_on_benchmarks,
    refuse_unused_on_single_images,
    refuse_unused_on_views,
)
from scene.errors import InputError
from terminal.exit_status import BAD_INPUT, OK, SOME_FAILED, exit_status

if TYPE_CHECKING:
    from dynamic_predictor.evaluation.distribution import Engine

#: shared options that only some predictors have a setting for
_SETTINGS_OF_THEIR_OWN = ("weights", "strict_official")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one mode; returns the exit status: 0 done, 1 some clips failed, 2 bad input, 130 interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    trains = bool({"train", "--mode=train"} & set(given))
    less = "--batch_size" if trains else "--max_size or --max_frames"
    return exit_status(
        lambda: _run(given),
        interrupted=lambda: "Stopped; what was finished is kept, the same command continues.",
        prefix="launch.py: ",
        less_memory=f"The memory is not enough; use a smaller {less}.",
    )


def _run(arguments: list[str]) -> int:
    if parse_mode(arguments) == "train":
        from dynamic_predictor.training.command import main as train

        return train(arguments)
    return _evaluate(arguments)


def _evaluate(arguments: list[str]) -> int:
    options = parse_options(arguments)
    is_view_benchmark = _is_view_benchmark(options)
    is_benchmark = not is_view_benchmark and _is_benchmark(options)
    if options.mode == "eval_depth" and options.depth_task is None:
        options.depth_task = "mono" if options.eval_dataset == "nyu" else "video"
    if options.weights is not None:
        from dynamic_predictor.weights.registry import given_weights

        path = given_weights(options.weights)
        if path != Path(options.weights).expanduser():
            print(f"The weights are those in {path}.")
        options.weights = str(path)
    options.predictor = options.predictor or _predictor_of(options.weights)
    choice = predictor_choice(options)
    from dynamic_predictor.specs import predictor_spec, unknown_settings

    spec = predictor_spec(options.predictor)
    given = {**choice["predictor_options"], **{name: True for name in _SETTINGS_OF_THEIR_OWN if choice[name]}}
    scores_clips = not is_benchmark and not is_view_benchmark
    no_motion_stage = not scores_clips or options.use_gt_mask or not spec.cameras
    if options.masks_from is not None and scores_clips:
        no_motion_stage = not _masks_use_flow(spec.name, options.masks_from)
    if choice["flow"] is not None and no_motion_stage and not spec.flow:
        given["flow"] = choice["flow"]  # the motion stage has nothing to do
    if unknown := unknown_settings(spec.name, given):
        names = ", ".join(option_of(field) for field in unknown)  # the options instead of the fields
        raise InputError(f"{names}: the predictor {spec.name} has nothing of that kind; leave it out.")
    options.output_dir = _output_folder(options, spec.name)
    engine = _engine(options, is_benchmark)
    options.silent = options.silent or not engine.is_first
    if not engine.is_first:
        return _evaluate_into(options, choice, engine, is_view_benchmark, is_benchmark)
    from dynamic_predictor.evaluation.distribution import OneProcess
    from scene.files.locking import only_process

    # the other processes of this evaluation write to the folder already
    with only_process(options.output_dir, recovers=engine == OneProcess()):
        return _evaluate_into(options, choice, engine, is_view_benchmark, is_benchmark)


def _evaluate_into(
    options: argparse.Namespace,
    choice: dict[str, Any],
    engine: "Engine",
    is_view_benchmark: bool,
    is_benchmark: bool,
) -> int:
    from dynamic_predictor.specs import predictor_spec

    spec = predictor_spec(options.predictor)
    if is_view_benchmark:
        return _view_benchmark(options, choice, engine)
    if is_benchmark:
        return _benchmark(options, choice)
    if options.depth_task == "mono":
        refuse_unused_on_single_images(options)
        options.depth_alignment = options.depth_alignment or ["median"]
    elif options.mode == "eval_depth" and options.eval_dataset == "nyu":
        raise InputError("nyu has single images, no clips; leave out --depth_task video.")
    if options.use_gt_focal and not spec.known_focal:
        raise InputError(f"The predictor {spec.name} finds the focal length itself; leave out --use_gt_focal.")
    if not spec.cameras and options.mode != "eval_depth":
        raise InputError(f"The predictor {spec.name} finds no cameras; choose another one for --mode={options.mode}.")
    from dynamic_predictor.evaluation.distribution import OneProcess
    from dynamic_predictor.evaluation.harness import EvaluationSettings, evaluate, predict_folder
    from scene.progress import ignore_progress
    from terminal.progress_bars import ProgressBars

    if options.depth_alignment:
        choice["depth_alignments"] = tuple(options.depth_alignment)
    settings = EvaluationSettings(
        dataset=options.eval_dataset,
        output=options.output_dir,
        **choice,
        data_folder=options.data_folder,
        clips=tuple(options.seq_list) if options.seq_list else None,
        all_clips=options.full_seq,
        max_frames=options.max_frames,
        stride=options.pose_eval_stride,
        use_true_masks=options.use_gt_mask,
        masks_from=options.masks_from,
        use_true_focal=options.use_gt_focal,
        layout=options.layout,
        overwrite=options.overwrite,
        each_image_alone=options.depth_task == "mono",
    )
    with ProgressBars() as bars:
        progress = ignore_progress if options.silent else bars
        if options.mode == "eval_pose_custom":
            if options.dir_path is None:
                raise InputError("--mode=eval_pose_custom needs --dir_path: a folder of frames, or a video.")
            if options.use_gt_mask or options.use_gt_focal:
                raise InputError("--mode=eval_pose_custom has no truth; leave out --use_gt_mask and --use_gt_focal.")
            predict_folder(options.dir_path, settings.output, settings, progress=progress, warn=bars.warn)
            print(f"The scene is in {settings.output}; continue with: train_gui.py -s {settings.output} -m MODEL")
            return OK
        kind: Any = options.mode.removeprefix("eval_")
        several = None if engine == OneProcess() else engine
        report = evaluate(settings, kind, engine=several, progress=progress, say=bars.say, warn=bars.warn)
    if not engine.is_first:
        return OK  # the first process reports everything
    for table in report.tables:
        print(table)
    if report.without_truth:
        print(
            f"{len(report.without_truth)} of {report.clips} clips have no truth for --mode={options.mode}: "
            f"{', '.join(report.without_truth)}. Their scenes are in {settings.output}."
        )
    if report.tables:
        print(f"All figures are in {settings.output}.")
    if report.failures:
        names = ", ".join(report.failures)
        print(f"launch.py: {len(report.failures)} of {report.clips} clips failed: {names}.", file=sys.stderr)
        return BAD_INPUT if len(report.failures) == report.clips else SOME_FAILED
    return OK


def _output_folder(options: argparse.Namespace, predictor: str) -> Path:
    """The folder of all results: the one that was given, or one for each task, data set and predictor."""
    if options.output_dir is not None:
        return options.output_dir
    if options.mode == "eval_pose_custom":
        return Path("results/evaluation")
    depth = "monodepth" if options.depth_task == "mono" else "video_depth"
    task = {"eval_pose": "relpose", "eval_depth": depth, "eval_mask": "masks", "eval_recon": "mv_recon"}[options.mode]
    return options.results_dir / task / f"{options.eval_dataset}_{predictor}"


def _engine(options: argparse.Namespace, is_benchmark: bool) -> "Engine":
    from dynamic_predictor.evaluation.distribution import OneProcess
    from dynamic_predictor.evaluation.engines import chosen_engine

    engine = chosen_engine(options.engine, ray_address=options.ray_address, device=options.device)
    if engine != OneProcess() and (options.mode == "eval_pose_custom" or is_benchmark):
        what = "a single clip" if options.mode == "eval_pose_custom" else f"{options.eval_dataset} by this protocol"
        raise InputError(f"One process does {what}; start it without torchrun and --engine.")
    if engine != OneProcess():
        options.output_dir, options.data_folder = options.output_dir.resolve(), options.data_folder.resolve()
    return engine


def _is_view_benchmark(options: argparse.Namespace) -> bool:
    """Whether a few images of each scene are scored: on CO3Dv2, and on rooms by the protocol of CUT3R."""
    from dynamic_predictor.evaluation.datasets.point_map_scenes import POINT_MAP_DATASETS
    from dynamic_predictor.evaluation.datasets.reconstruction import RECONSTRUCTION_DATASETS

    name, protocol = options.eval_dataset, options.recon_protocol
    if name == CO3D and options.mode != "eval_pose":
        raise InputError(f"{name} has true cameras only; use --mode=eval_pose.")
    if name in POINT_MAP_DATASETS and options.mode != "eval_recon" and name not in RECONSTRUCTION_DATASETS:
        raise InputError(f"{name} is for --mode=eval_recon.")
    if options.mode == "eval_recon":
        if protocol == "cut3r" and name not in POINT_MAP_DATASETS:
            known = ", ".join(POINT_MAP_DATASETS)
            raise InputError(f"--recon_protocol cut3r is for {known}; leave it out, or choose one of them.")
        if protocol == "da3" and name in POINT_MAP_DATASETS and name not in RECONSTRUCTION_DATASETS:
            raise InputError(f"{name} has no surfaces to compare with; leave out --recon_protocol da3.")
        if protocol is None and name in POINT_MAP_DATASETS:
            made_for_da3 = (options.data_folder / name / "7Scenes").is_dir() or options.posed
            protocol = "da3" if name in RECONSTRUCTION_DATASETS and made_for_da3 else "cut3r"
    is_one = name == CO3D or protocol == "cut3r"
    if is_one:
        refuse_unused_on_views(options)
    return is_one


def _view_benchmark(options: argparse.Namespace, choice: dict[str, Any], engine: "Engine") -> int:
    from dynamic_predictor.evaluation.view_benchmarks import ViewBenchmarkSettings, run_co3d, run_point_maps
    from scene.progress import ignore_progress
    from terminal.progress_bars import ProgressBars

    settings = ViewBenchmarkSettings(
        dataset=options.eval_dataset,
        data_folder=options.data_folder,
        output=options.output_dir,
        **choice,
        names=tuple(options.seq_list) if options.seq_list else None,
        max_frames=options.max_frames or None,
        overwrite=options.overwrite,
    )
    run = run_co3d if options.eval_dataset == CO3D else run_point_maps
    with ProgressBars() as bars:
        progress = ignore_progress if options.silent else bars
        report = run(settings, engine=engine, progress=progress, say=bars.warn)
    if not engine.is_first:
        return OK
    if report.table:
        print(report.table)
        print(f"All figures are in {settings.output}.")
    if report.left_out:
        print(f"{len(report.left_out)} sequences are left out by the protocol.")
    if report.failures:
        count = len(report.failures) + len(report.scores)
        names = ", ".join(report.failures)
        print(f"launch.py: {len(report.failures)} of {count} scenes failed: {names}.", file=sys.stderr)
        return SOME_FAILED if report.scores else BAD_INPUT
    return OK


def _masks_use_flow(predictor: str, masks_from: str) -> bool:
    """Whether the masks of --masks_from change with --flow. Raises `InputError` for a source that has no masks."""
    from dynamic_predictor.driver.mask_source import mask_source
    from dynamic_predictor.driver.settings import DriverSettings

    return mask_source(DriverSettings("", predictor=predictor, masks_from=masks_from)).uses_flow


def _is_benchmark(options: argparse.Namespace) -> bool:
    """Whether the data set is one of scenes with true surfaces or cameras, which have a protocol of their own."""
    from dynamic_predictor.evaluation.datasets.reconstruction import RECONSTRUCTION_DATASETS

    if options.eval_dataset in RECONSTRUCTION_DATASETS:
        if options.mode not in ("eval_pose", "eval_recon"):
            raise InputError(f"{options.eval_dataset} is for --mode=eval_pose and --mode=eval_recon.")
        refuse_unused_on_benchmarks(options)
        return True
    if options.mode == "eval_recon":
        known = ", ".join(RECONSTRUCTION_DATASETS)
        raise InputError(f"--mode=eval_recon needs a data set with true surfaces; choose one of: {known}.")
    return False


def _benchmark(options: argparse.Namespace, choice: dict[str, Any]) -> int:
    from dynamic_predictor.evaluation.reconstruction_benchmark import BenchmarkSettings, run_benchmark
    from scene.progress import ignore_progress
    from terminal.progress_bars import ProgressBars

    settings = BenchmarkSettings(
        **choice,
        dataset=options.eval_dataset,
        data_folder=options.data_folder,
        output=options.output_dir,
        scenes=tuple(options.seq_list) if options.seq_list else None,
        all_scenes=options.full_seq,
        posed=options.posed,
        **({} if options.max_frames is None else {"max_frames": options.max_frames}),
    )
    kind = "recon" if options.mode == "eval_recon" else "pose"
    with ProgressBars() as bars:
        progress = ignore_progress if options.silent else bars
        report = run_benchmark(settings, kind, progress=progress, say=bars.warn)
    if report.table:
        print(report.table)
    if report.failures:
        count = len(report.failures) + len(report.scores)
        print(
            f"launch.py: {len(report.failures)} of {count} scenes failed: {', '.join(report.failures)}.",
            file=sys.stderr,
        )
        return SOME_FAILED if report.scores else BAD_INPUT
    return OK


def _predictor_of(weights: str | None) -> str:
    """The predictor that a file of weights belongs to; without one, the default."""
    if weights is None:
        return DEFAULT_PREDICTOR
    from dynamic_predictor.das3r.checkpoint import two_view_predictor
    from dynamic_predictor.specs import specs
    from dynamic_predictor.weights.checking import recognize
    from dynamic_predictor.weights.reading import read_checkpoint

    path = Path(weights)
    try:
        entry = recognize(path)
    except InputError:
        # networks of other sizes than the published ones, as --mode=train makes them
        found = two_view_predictor(read_checkpoint(path).tensors)
        if found is None:
            raise
        return found
    for spec in specs().values():
        if entry in spec.weights:
            return spec.name
    raise InputError(f"{path} holds the weights of {entry.name}, which is no predictor; name one with --predictor.")


if __name__ == "__main__":
    sys.exit(main())
