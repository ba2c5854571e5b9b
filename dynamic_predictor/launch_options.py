"""The options of launch.py under the names that users of DAS3R know, and what becomes of each."""

import argparse
import sys
from pathlib import Path
from typing import Any

from dynamic_predictor.driver.settings import PredictorChoice
from dynamic_predictor.predictor_options import predictor_options, title_of
from scene.errors import InputError
from scene.option import values_of
from terminal.option_parser import OptionParser
from terminal.options import add_optional, add_options, settings_from

#: the data set of `evaluation.datasets.co3d`
CO3D = "co3d"

_PREFIX = "predictor_option_"
MODES = ("train", "eval_pose", "eval_pose_custom", "eval_depth", "eval_mask", "eval_recon")

#: DAS3R's names of options that are fields of the predictor's settings
_FORMER_NAMES: dict[str, str] = {
    "scene_graph_type": "scene_graph",
    "n_iter": "iterations",
    "pose_schedule": "schedule",
    "flow_loss_start_epoch": "flow_loss_start",
    "flow_loss_thre": "flow_loss_limit",
    "pxl_thresh": "flow_pixel_limit",
    "depth_regularize_weight": "depth_regularization_weight",
    "motion_mask_thre": "flow_motion_threshold",
    "threshold": "motion_threshold",
    "window_size": "window",
}
#: how a shared option is spelled here where it is not by its own name
_NAMES_HERE = {"weights": "--pretrained"}
#: DAS3R's switches: the field and the value that they give it
_SWITCHES: dict[str, tuple[str, Any]] = {
    "not_shared_focal": ("shared_focal", False),
    "no_crop": ("crop", False),
    "not_batchify": ("loss_evaluation", "pair_by_pair"),
}

#: options of DAS3R that the evaluation refuses, each with the reason
_REFUSED = {
    "model": "the network is read from the checkpoint",
    "flow_loss_fn": "the flow loss is the smoothed absolute difference, the only kind that worked",
    "cananical_space_loss_weight": "it has no effect in DAS3R either",
    "sam2_mask_refine": "masks are scored as predicted; stillsplat run --refine-masks sam2 refines those of a scene",
    "save_pose_qualitative": "the scene that is written holds points and cameras; COLMAP's are in its sparse/0",
    "wandb": "curves are written for TensorBoard",
    **dict.fromkeys(("world_size", "local_rank", "dist_url"), "torchrun tells each process which one it is"),
    "cudnn_benchmark": "frames of a clip have one size, and the default is kept",
    **dict.fromkeys(
        (
            "train_criterion", "test_criterion", "train_dataset", "test_dataset", "accum_iter", "epochs",
            "weight_decay", "lr", "blr", "min_lr", "warmup_epochs", "amp", "fixed_eval_set", "resume", "num_workers",
            "eval_freq", "save_freq", "keep_freq", "print_freq", "test_batch_size", "num_save_visual", "eval_only",
            "pose_eval_freq", "save_best_pose",
        ),
        "it belongs to --mode=train",
    ),
}  # fmt: skip

#: options of DAS3R's own command lines that go on without effect, each with what to do instead
_NOTED = {
    "evaluate_davis": "the masks of the scenes are scored by --mode=eval_mask --eval_dataset=davis afterwards",
}

#: `evaluation.scores.depth.Alignment`, whose module loads torch
_ALIGNMENTS = (
    "none", "median", "scale", "scale_shift_least_squares", "scale_shift_least_absolute", "scale_shift_adam"
)  # fmt: skip

#: the same under the names of CUT3R's and StreamVGGT's evaluations
_OFFICIAL_ALIGNMENTS = {"metric": "none", "scale&shift": "scale_shift_adam"}

#: options that have no effect where scenes with true surfaces or cameras are scored by their own protocol, and why
_UNUSED_ON_BENCHMARKS = {
    "use_gt_mask": "its images have no annotated masks",
    "masks_from": "no masks are made or scored",
    "use_gt_focal": "true cameras are used by --mode=eval_recon --posed",
    "pose_eval_stride": "its protocol draws the images; --max_frames says how many",
    "layout": "only scores are written, no scenes",
    "overwrite": "only scores are written, anew every time",
    "depth_alignment": "its depth is placed by the cameras",
}

#: the same where a few images of a scene are scored
_UNUSED_ON_VIEWS = {
    **{name: reason for name, reason in _UNUSED_ON_BENCHMARKS.items() if name != "overwrite"},
    "use_gt_focal": "the predictor finds the cameras",
    "full_seq": "all scenes are scored unless --seq_list chooses",
    "posed": "the predictor finds the cameras; --recon_protocol da3 has it",
}
#: the same where each image is predicted by itself
_UNUSED_ON_SINGLE_IMAGES = {
    "use_gt_mask": "masks change nothing about a single image",
    "use_gt_focal": "single images are predicted without it",
    "layout": "depth maps are saved, no scenes",
}


def parse_mode(arguments: list[str]) -> str:
    """The mode alone, since training has options of its own."""
    parser = OptionParser(prog="launch.py", add_help=False, allow_abbrev=False)
    parser.add_argument("--mode", choices=MODES)
    mode = parser.parse_known_args(arguments)[0].mode
    if mode is None and not {"-h", "--help"} & set(arguments):
        raise InputError(f"Say what to do with --mode: {', '.join(MODES)}.")
    return mode or "eval_pose"


def parse_options(arguments: list[str]) -> argparse.Namespace:
    """The options of an evaluation. Raises `InputError` for mistakes and for what is refused."""
    options, rest = _parser().parse_known_args(arguments)
    for name, reason in _NOTED.items():
        if f"--{name}" in rest:
            rest.remove(f"--{name}")
            print(f"--{name} has no effect here: {reason}.", file=sys.stderr)
    for word in rest:
        name = word.split("=", 1)[0].lstrip("-")
        if word.startswith("--") and name in _REFUSED:
            raise InputError(f"--{name} is not an option of --mode={options.mode}: {_REFUSED[name]}.")
    if rest:
        raise InputError(f"Unrecognized arguments: {' '.join(rest)}; see launch.py --help.")
    if options.use_gt_mask and options.use_pred_mask:
        raise InputError("--use_gt_mask and --use_pred_mask exclude each other; give one.")
    if options.use_gt_mask and options.masks_from is not None:
        raise InputError("--use_gt_mask and --masks_from both give motion masks; use only one of them.")
    for name, mode in (
        ("posed", "eval_recon"),
        ("dir_path", "eval_pose_custom"),
        ("depth_task", "eval_depth"),
        ("recon_protocol", "eval_recon"),
    ):
        if getattr(options, name) and options.mode != mode:
            raise InputError(f"--{name} is of --mode={mode}; leave it out of --mode={options.mode}.")
    if options.depth_alignment:
        names = [_OFFICIAL_ALIGNMENTS.get(name, name) for name in options.depth_alignment]
        options.depth_alignment = list(dict.fromkeys(names))
    return options


def refuse_unused_on_benchmarks(options: argparse.Namespace) -> None:
    """Raises `InputError` for an option that has no effect on data sets of `datasets.reconstruction`."""
    _refuse(options, _UNUSED_ON_BENCHMARKS)


def refuse_unused_on_views(options: argparse.Namespace) -> None:
    """Raises `InputError` for an option that has no effect where a few images of a scene are scored."""
    _refuse(options, _UNUSED_ON_VIEWS)


def refuse_unused_on_single_images(options: argparse.Namespace) -> None:
    """Raises `InputError` for an option that has no effect where each image is predicted by itself."""
    _refuse(options, _UNUSED_ON_SINGLE_IMAGES)


def _refuse(options: argparse.Namespace, unused: dict[str, str]) -> None:
    parser = _parser()
    for name, reason in unused.items():
        if getattr(options, name) != parser.get_default(name):
            raise InputError(f"--{name} has no effect on {options.eval_dataset}: {reason}; leave it out.")


def given_predictor_options(options: argparse.Namespace) -> dict[str, Any]:
    """Fields of the predictor's settings that were chosen, by name."""
    found = {name: getattr(options, _PREFIX + name) for name in predictor_options()}
    chosen = {name: value for name, value in found.items() if value is not None}
    return chosen | {field: value for name, (field, value) in _SWITCHES.items() if getattr(options, name)}


def option_of(field: str) -> str:
    """The option that sets a field of the predictor's settings, for messages."""
    switches = {target: name for name, (target, _) in _SWITCHES.items()}
    former = {target: name for name, target in _FORMER_NAMES.items()}
    return _NAMES_HERE.get(field) or "--" + {**former, **switches}.get(field, field)


def predictor_choice(options: argparse.Namespace) -> dict[str, Any]:
    """The fields of `PredictorChoice`."""
    settings = settings_from(options, PredictorChoice, predictor_options=given_predictor_options(options))
    return values_of(settings, PredictorChoice)


def _parser() -> argparse.ArgumentParser:
    parser = OptionParser(
        prog="launch.py",
        description="A dynamic predictor over a data set: scenes, camera paths, depth and masks, and their scores.",
        epilog="--mode=train has options of its own: launch.py --mode=train --help",
        allow_abbrev=False,
    )
    from dynamic_predictor.evaluation.datasets.point_map_scenes import POINT_MAP_DATASETS
    from dynamic_predictor.evaluation.datasets.reconstruction import RECONSTRUCTION_DATASETS
    from dynamic_predictor.evaluation.datasets.registry import DATASETS
    from dynamic_predictor.evaluation.engines import ENGINES

    parser.add_argument("--mode", choices=MODES, required=True, help="what is scored; scenes are made once for all")
    group = parser.add_argument_group("what is evaluated")
    add_options(parser, PredictorChoice, spelled=lambda item: [_NAMES_HERE.get(item.name, f"--{item.name}")])
    group.add_argument("--use_pred_mask", action="store_true", help="masks that the predictor finds; always so")
    group.add_argument("--use_gt_mask", action="store_true", help="annotated masks instead")
    group.add_argument("--masks_from", metavar="NAME", help="masks of another predictor, or attention[:NAME]")
    group.add_argument("--use_gt_focal", action="store_true", help="the true focal length instead of an estimate")
    group = parser.add_argument_group("on which clips")
    datasets = tuple(dict.fromkeys((*DATASETS, *RECONSTRUCTION_DATASETS, *POINT_MAP_DATASETS, CO3D)))
    group.add_argument("--eval_dataset", choices=datasets, default="sintel", help="default: sintel")
    group.add_argument("--data_folder", type=Path, default=Path("data"), help="where data sets lie; default: data")
    group.add_argument("--seq_list", nargs="+", metavar="CLIP", help="these clips")
    group.add_argument("--full_seq", action="store_true", help="all clips, not only those of published figures")
    group.add_argument("--pose_eval_stride", type=_positive, default=1, metavar="K", help="every K-th frame")
    group.add_argument(
        "--max_frames", type=_not_negative, metavar="N", help="first N frames; default: as published; 0: all"
    )
    group.add_argument(
        "--depth_task",
        choices=("video", "mono"),
        help="of --mode=eval_depth: whole clips, or each image by itself; default: video, of nyu mono",
    )
    group.add_argument(
        "--recon_protocol",
        choices=("da3", "cut3r"),
        help="of --mode=eval_recon: fused surfaces, or points; default: what the folder of the data set is made for",
    )
    group.add_argument("--posed", action="store_true", help="of --mode=eval_recon: true cameras go into the network")
    group.add_argument("--dir_path", metavar="PATH", help="of --mode=eval_pose_custom: folder of frames, or a video")
    group = parser.add_argument_group("results")
    group.add_argument(
        "--output_dir", type=Path, metavar="DIR", help="default: RESULTS_DIR/<task>/<data set>_<predictor>"
    )
    group.add_argument(
        "--results_dir", type=Path, default=Path("eval_results"), metavar="DIR", help="default: eval_results"
    )
    group.add_argument(
        "--layout", choices=("scene", "das3r"), default="scene", help="das3r: the files that DAS3R writes"
    )
    group.add_argument("--overwrite", action="store_true", help="replace scenes that were made with other settings")
    group.add_argument(
        "--depth_alignment",
        "--align",
        nargs="+",
        choices=(*_ALIGNMENTS, *_OFFICIAL_ALIGNMENTS),
        help="default: scale scale_shift_adam, of single images median",
    )
    group.add_argument("--silent", action="store_true", help="no progress bars")
    group = parser.add_argument_group("where it runs (also: torchrun --nproc_per_node N dynamic_predictor/launch.py)")
    group.add_argument("--engine", choices=ENGINES, default="auto", help="ray: clips are tasks of a Ray cluster")
    group.add_argument("--ray_address", metavar="HOST:PORT", help="of the cluster; default: this machine")
    former = {target: name for name, target in _FORMER_NAMES.items()}
    for name, option in predictor_options().items():
        flags = (f"--{former.get(name, name)}",)
        add_optional(parser, option.field, title=title_of(option), dest=_PREFIX + name, flags=flags)
    group = parser.add_argument_group("switches of das3r and monst3r, as DAS3R names them")
    for name, (field, value) in _SWITCHES.items():
        group.add_argument(f"--{name}", action="store_true", help=f"{field} = {value}")
    return parser


def _positive(text: str, least: int = 1) -> int:
    value = int(text)
    if value < least:
        raise argparse.ArgumentTypeError(f"{value} is not at least {least}")
    return value


def _not_negative(text: str) -> int:
    return _positive(text, 0)
