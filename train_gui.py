"""Optimizes the static Gaussians of a scene folder: train_gui.py -s SCENE -m MODEL --iter N."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from scene.errors import InputError
from terminal.option_parser import OptionParser

_DONE, _BAD_INPUT, _INTERRUPTED = 0, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status: 0 done, 2 something that the user can mend, 130 interrupted."""
    options = argparse.Namespace()
    try:
        options = _parser().parse_args(arguments)
        return _train(options)
    except InputError as error:
        print(error, file=sys.stderr)
        return _BAD_INPUT
    except KeyboardInterrupt:
        saved = (Path(options.model) / "checkpoint.pt").exists()
        sentence = "a checkpoint is saved, go on with --resume." if saved else "nothing was optimized yet."
        print(f"Interrupted: {sentence}", file=sys.stderr)
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = OptionParser(prog="train_gui.py", description=__doc__)
    parser.add_argument(
        "-s", "--scene", "--source_path", required=True, metavar="SCENE", help="folder of a scene, ours or DAS3R's"
    )
    parser.add_argument(
        "-m", "--model", "--model_path", required=True, metavar="MODEL", help="folder that receives the model"
    )
    parser.add_argument("--iter", "--iterations", dest="iterations", type=int, default=4000, help="default: 4000")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="cpu", help="default: cpu")
    parser.add_argument("--seed", type=int, default=0, help="of every random choice; default: 0")
    parser.add_argument("--resume", action="store_true", help="goes on from the checkpoint in MODEL")
    parser.add_argument("--overwrite", action="store_true", help="replaces the model that is in MODEL")
    parser.add_argument("--test-every", type=int, default=0, metavar="K", help="holds out every K-th frame")
    parser.add_argument(
        "--protocol", choices=["none", "das3r"], default="none", help="das3r: holds out i + 5 mod 10 = 0"
    )
    parser.add_argument("--annotations", metavar="DIR", help="masks of what moves, for scoring held-out frames only")
    parser.add_argument(
        "--refine-test-cameras", action="store_true", help="moves held-out cameras by their own static pixels"
    )
    parser.add_argument("--densification", choices=["none", "adaptive", "mcmc"], help="how Gaussians are added")
    parser.add_argument("--max-gaussians", type=int, metavar="N", help="about how many at most")
    parser.add_argument("--sh-degree", type=int, choices=range(4), help="of the spherical harmonics")
    parser.add_argument("--keep-cameras", action="store_true", help="cameras and focal length stay as predicted")
    parser.add_argument("--gui", action="store_true", help="not in this release")
    return parser


def _train(options: argparse.Namespace) -> int:
    if options.gui:
        raise InputError("The window (--gui) comes with a later release; leave --gui out to optimize without one.")
    model_folder = Path(options.model)
    if model_folder.exists() and not model_folder.is_dir():
        raise InputError(f"{model_folder} is a file; give a folder for the model.")
    if (model_folder / "scene.json").exists():
        raise InputError(f"{model_folder} is a scene; give another folder for the model, such as {model_folder}_model.")
    if (model_folder / "settings.json").exists() and not (options.resume or options.overwrite):
        raise InputError(f"{model_folder} holds a model already; give --resume, --overwrite or another folder.")
    from gaussian.settings import TrainSettings

    chosen = {
        "iterations": options.iterations,
        "device": options.device,
        "seed": options.seed,
        "test_every": options.test_every,
        "protocol": options.protocol,
        "refine_test_cameras": options.refine_test_cameras,
    }
    for name in ("densification", "max_gaussians", "sh_degree"):
        if getattr(options, name) is not None:
            chosen[name] = getattr(options, name)
    if options.keep_cameras:
        chosen |= {"refine_cameras": False, "refine_focal": False}
    settings = TrainSettings(**chosen)
    from gaussian.trainer import train
    from scene.open_scene import open_scene
    from terminal.progress_bars import ProgressBars

    scene = open_scene(options.scene)
    annotations = None
    if options.annotations:
        from scene.masks import open_masks

        annotations = open_masks(options.annotations, scene.frames)
    with ProgressBars() as bars:
        result = train(scene, settings, model_folder, annotations=annotations, progress=bars, resume=options.resume)
    print(f"{len(result.gaussians)} Gaussians are in {model_folder}; look at them with: render.py -m {model_folder}")
    if result.test_frames:
        scores = result.test_metrics
        print(
            f"{len(result.test_frames)} held-out frames (cameras: {scores['cameras']}; masks: {scores['masks']}): "
            f"psnr_das3r {scores['psnr_das3r']:.2f} dB, psnr_static {scores['psnr_static']:.2f} dB, "
            f"ssim_static {scores['ssim_static']:.4f}"
        )
    return _DONE


if __name__ == "__main__":
    sys.exit(main())
