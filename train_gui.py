#!/usr/bin/env python3
"""Optimizes the static Gaussians of a scene folder: train_gui.py -s SCENE -m MODEL --iter N [--gui]."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import terminal.own_python  # noqa: F401 - first, so that any Python may start this

# isort: split
from gaussian.settings import TrainSettings
from scene.errors import InputError
from terminal.exit_status import exit_status
from terminal.option_parser import OptionParser
from terminal.options import add_options, settings_from
from viewer.settings import ViewerSettings

#: long side of the frames of a project, as 3DGS takes them
PROJECT_SIZE = 1600

if TYPE_CHECKING:
    from dynamic_predictor.evaluation.given_poses import GivenPoses
    from dynamic_predictor.evaluation.scores.poses import PoseScores
    from gaussian.train_result import TrainResult
    from scene.progress import Progress
    from scene.scene import Scene


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0 done, 2 an error that the user can fix, 130 interrupted."""
    options = argparse.Namespace()

    def interrupted() -> str:
        saved = (Path(options.model) / "checkpoint.pt").exists()
        sentence = "a checkpoint is saved; continue with --resume." if saved else "nothing was optimized yet."
        return f"Interrupted: {sentence}"

    return exit_status(lambda: _train(_parser().parse_args(arguments, options)), interrupted=interrupted)


def _parser() -> argparse.ArgumentParser:
    parser = OptionParser(prog="train_gui.py", description=__doc__)
    parser.add_argument(
        "-s",
        "--scene",
        "--source_path",
        required=True,
        metavar="SCENE",
        help="folder of a scene, ours or DAS3R's, or a project of COLMAP or nerfstudio",
    )
    parser.add_argument("-m", "--model", "--model_path", required=True, metavar="MODEL", help="folder for the model")
    parser.add_argument("--resume", action="store_true", help="continues from the checkpoint in MODEL")
    parser.add_argument("--overwrite", action="store_true", help="replaces the model in MODEL")
    parser.add_argument("--gui", action="store_true", help="with a window; without a display it goes on without one")
    parser.add_argument("--eval_pose", "--eval-pose", action="store_true", help="prints ATE and RPE of the cameras")
    parser.add_argument(
        "--gt-poses",
        "--gt_poses",
        metavar="FILE",
        help="true poses: TUM, pred_traj.txt of DAS3R, or a folder of a rendered scene; only compared",
    )
    parser.add_argument(
        "--annotations", metavar="DIR", help="masks of moving things, used only to score held-out frames"
    )
    parser.add_argument(
        "--fixed-cameras",
        "--keep-cameras",
        dest="fixed_cameras",
        action="store_true",
        help="same as --no-refine-cameras and --no-refine-focal",
    )
    parser.add_argument("-i", "--images", metavar="NAME", help="folder of the images in a COLMAP project")
    parser.add_argument(
        "--max-size", type=int, metavar="PIXELS", help=f"of a project, long side at most (default: {PROJECT_SIZE})"
    )
    add_options(parser, TrainSettings)
    add_options(parser, ViewerSettings)
    return parser


def _train(options: argparse.Namespace) -> int:
    from gaussian.model_folder import write_viewer_files
    from scene.model_place import folder_of_model, folder_of_rearranged

    options.scene = folder_of_rearranged(Path(options.scene))
    model_folder = Path(options.model).expanduser()
    if model_folder.exists() and not model_folder.is_dir():
        raise InputError(f"{model_folder} is a file; give a folder for the model.")
    if folder_of_model(model_folder) != model_folder:
        model_folder = folder_of_model(model_folder)
        options.model = str(model_folder)
        print(f"{model_folder.parent} is a scene with files of its own, so the model is in {model_folder}.")
    if (model_folder / "settings.json").exists() and not (options.resume or options.overwrite):
        raise InputError(f"{model_folder} holds a model already; give --resume, --overwrite or another folder.")
    fixed_cameras = {"refine_cameras": False, "refine_focal": False}
    settings = settings_from(options, TrainSettings, **(fixed_cameras if options.fixed_cameras else {}))
    from dynamic_predictor.networks.devices import resolved_device

    resolved_device(settings.device)  # refuses a GPU that is not there, before any work
    from gaussian.trainer import Trainer, train
    from scene.files.locking import only_process
    from terminal.progress_bars import ProgressBars

    with ProgressBars() as bars:
        scene = _open(options, settings, bars)
    if scene.motion_masks is None and not scene.provenance.get("given"):
        print(
            f"Warning: {options.scene} has no motion masks, so everything is taken as static and moving things end up "
            f"in the model; 'stillsplat run {options.scene}' makes masks first.",
            file=sys.stderr,
        )
    annotations = None
    if options.annotations:
        from scene.given_masks.opening import open_masks

        annotations = open_masks(options.annotations, scene.frames)
    truth = None
    if options.gt_poses:
        from dynamic_predictor.evaluation.given_poses import read_given_poses

        truth = read_given_poses(options.gt_poses, scene.frames.timestamps)
    elif options.eval_pose and not options.gui:
        print("--eval_pose needs true poses to compare with; give them with --gt-poses FILE.", file=sys.stderr)
    if truth is not None:
        print(_pose_scores("predicted", truth.score(scene.cameras)))
    viewer = settings_from(options, ViewerSettings)
    if viewer.viewer and options.gui:
        raise InputError("--gui and --viewer both show the optimization; give one of them.")
    windowed = options.gui and _can_open_a_window()
    with ExitStack() as stack:
        stack.enter_context(only_process(model_folder))
        view = None
        if viewer.viewer:
            from stillsplat.training_view import TrainingView

            view = stack.enter_context(TrainingView(viewer, model_folder.name))
        with ProgressBars() as bars:
            if windowed:
                from gui.controller import Controller
                from gui.window import show

                trainer = Trainer(
                    scene, settings, model_folder, annotations=annotations, progress=bars, resume=options.resume
                )
                controller = Controller(trainer, annotations=annotations, truth=truth, folder=model_folder)
                interrupted = show(controller, model_folder)
                if controller.session.error is not None:
                    raise controller.session.error
                if interrupted:
                    raise KeyboardInterrupt
                result = trainer.finish()
            else:
                watch = None if view is None else view.watch
                result = train(
                    scene,
                    settings,
                    model_folder,
                    annotations=annotations,
                    progress=bars,
                    resume=options.resume,
                    watch=watch,
                )
        write_viewer_files(model_folder, options.scene)
        _tell(result, truth, model_folder)
        if view is not None:
            view.wait()
    return 0


def _open(options: argparse.Namespace, settings: TrainSettings, progress: "Progress") -> "Scene":
    """The scene; a project gets depth and motion masks where it has none."""
    from scene.open_scene import open_scene
    from scene.projects.opening import ProjectChoice, is_project, open_project

    if not is_project(options.scene):
        for name in ("images", "max_size"):
            if getattr(options, name) is not None:
                raise InputError(f"--{name.replace('_', '-')} is for projects, which {options.scene} is not.")
        return open_scene(options.scene)
    if options.max_size is not None and options.max_size < 16:
        raise InputError(f"--max-size must be at least 16 pixels, not {options.max_size}.")
    from dynamic_predictor.driver.given_cameras import completed
    from dynamic_predictor.networks.devices import resolved_device
    from dynamic_predictor.optical_flow.estimation import create_optical_flow

    def warn(sentence: str) -> None:
        print(f"Warning: {sentence}", file=sys.stderr)

    scene = open_project(options.scene, ProjectChoice(options.max_size or PROJECT_SIZE, images=options.images))
    flow = create_optical_flow("auto", auto="dis", device=resolved_device(settings.device), warn=warn)
    return completed(scene, flow, progress=progress, warn=warn)


def _tell(result: "TrainResult", truth: "GivenPoses | None", model_folder: Path) -> None:
    if truth is not None:
        print(_pose_scores("refined", truth.score(result.cameras)))
    print(f"{len(result.gaussians)} Gaussians are in {model_folder}; look at them with: render.py -m {model_folder}")
    if result.test_frames:
        scores = result.test_metrics
        print(
            f"{len(result.test_frames)} held-out frames (cameras: {scores['cameras']}; masks: {scores['masks']}): "
            f"psnr_das3r {scores['psnr_das3r']:.2f} dB, psnr_static {scores['psnr_static']:.2f} dB, "
            f"ssim_static {scores['ssim_static']:.4f}"
        )


def _pose_scores(kind: str, scores: "PoseScores") -> str:
    return (
        f"{kind} cameras ({scores.frames} frames, sim3, units of the truth): ATE {scores.ate:.5f}, "
        f"RPE trans {scores.rpe_translation:.5f}, RPE rot {scores.rpe_rotation_degrees:.5f} deg"
    )


def _can_open_a_window() -> bool:
    """Whether --gui can be had; else a sentence says why not."""
    from gui.display import why_no_window

    reason = why_no_window()
    if reason is not None:
        print(f"{reason} The optimization goes on without a window.", file=sys.stderr)
    return reason is None


if __name__ == "__main__":
    sys.exit(main())
