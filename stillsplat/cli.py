"""The command line. Imports nothing heavy before it knows what to do, so that help and mistakes answer at once."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from scene.errors import InputError, is_out_of_memory
from stillsplat import __version__
from stillsplat.commands.depth import add_depth_command
from stillsplat.commands.poses import add_poses_command
from stillsplat.commands.weights import add_weights_command
from terminal.option_parser import OptionParser

OK, BUG, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

_RUN_EPILOG = """\
what lies in OUT afterwards:
  report.html      look here first: images, plots, figures, settings in one file
  clean.mp4        the static scene along the camera's path
  compare.mp4      input, what moves, static scene side by side
  splats.ply       the Gaussians, for any 3DGS viewer
  renders/         the static scene at every input camera
  scene/           cameras, motion masks, depth, COLMAP model
  metrics.json     every figure with its protocol
  model/           settings, checkpoint and cameras of the optimization
  run.json         settings and times; what --resume needs

examples:
  stillsplat run walk.mp4 -o walk
  stillsplat run frames/ -o out --frames 0:200:2 --masks my_masks/
  stillsplat run dog/images -o dog --protocol das3r --annotations dog/annotations
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status: 0 done, 2 something that the user can mend (one sentence on standard
    error), 130 interrupted. Errors of our own come with a traceback and status 1."""
    parser = _parser()
    try:
        options = parser.parse_args(arguments)
    except InputError as error:
        _print_error(str(error))
        return BAD_INPUT
    if options.command is None:
        parser.print_help()
        return OK
    previous = signal.getsignal(signal.SIGTERM)
    try:
        # a polite kill ends like Ctrl-C: with a checkpoint and without half-written files
        signal.signal(signal.SIGTERM, _interrupt)
    except ValueError:  # not in the main thread
        previous = None
    try:
        return options.function(options)
    except InputError as error:
        _print_error(str(error))
        return BAD_INPUT
    except KeyboardInterrupt:
        _print_error(_interrupted_sentence(options))
        return INTERRUPTED
    except BrokenPipeError:
        return OK
    except (OSError, RuntimeError, MemoryError) as error:
        sentence = _sentence_for(error, getattr(options, "output", None))
        if sentence is None:
            raise
        _print_error(sentence)
        return BAD_INPUT
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)


def _run(options: argparse.Namespace) -> int:
    from stillsplat.settings import RunSettings

    settings = RunSettings(
        input=options.input,
        predictor=options.predictor,
        weights=options.weights,
        iterations=options.iterations,
        max_size=options.max_size,
        frames=options.frames,
        masks=options.masks,
        masks_from=options.masks_from,
        annotations=options.annotations,
        test_every=options.test_every,
        protocol=options.protocol,
        refine_test_cameras=options.refine_test_cameras,
        fov=options.fov,
        max_gaussians=options.max_gaussians,
        device=options.device,
        seed=options.seed,
    )
    from stillsplat.reconstruct import reconstruct

    with _bars() as bars:
        result = reconstruct(
            settings,
            options.output,
            resume=options.resume,
            overwrite=options.overwrite,
            progress=bars,
            warn=bars.warn,
        )
    from stillsplat.summary import print_run_summary

    print_run_summary(result)
    return OK


def _predict(options: argparse.Namespace) -> int:
    from stillsplat.settings import RunSettings

    settings = RunSettings(
        input=options.input,
        predictor=options.predictor,
        weights=options.weights,
        max_size=options.max_size,
        frames=options.frames,
        masks=options.masks,
        masks_from=options.masks_from,
        fov=options.fov,
        seed=options.seed,
    )
    from stillsplat.reconstruct import predict

    with _bars() as bars:
        predict(settings, options.output, overwrite=options.overwrite, progress=bars, warn=bars.warn)
    print(f"The scene is in {options.output}; go on with: stillsplat run {options.output} -o OUT")
    return OK


def _evaluate(options: argparse.Namespace) -> int:
    if options.truth is None and options.annotations is None:
        raise InputError("Give --truth SCENE or --annotations DIR to evaluate against.")
    from stillsplat.scores.evaluation import evaluate
    from stillsplat.summary import print_evaluation_summary

    with _bars() as bars:
        evaluation = evaluate(
            options.output, truth=options.truth, annotations=options.annotations, progress=bars, warn=bars.warn
        )
    print_evaluation_summary(Path(options.output), evaluation)
    return OK


def _report(options: argparse.Namespace) -> int:
    from stillsplat.report import write_report
    from stillsplat.run_folder import open_run

    folder = open_run(Path(options.output))
    write_report(folder)
    print(folder.report)
    return OK


def _predictors(options: argparse.Namespace) -> int:
    from dynamic_predictor.specs import available_predictors

    for entry in available_predictors().values():
        print(f"{entry.name}\n  {entry.description}\n  needs {entry.memory}")
        print(f"  weights: {entry.weights_license or 'none'}")
    return OK


def _version(options: argparse.Namespace) -> int:
    from stillsplat.scores.scoring import code_version

    print(code_version())
    return OK


def _parser() -> argparse.ArgumentParser:
    parser = OptionParser(
        prog="stillsplat",
        description="From a video with moving things in it to a clean, static 3D Gaussian scene.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"stillsplat {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")

    run = _add(commands, "run", "video in; splats, renders, scores and report out", _run, epilog=_RUN_EPILOG)
    _add_input(run)
    run.add_argument("-o", "--output", metavar="OUT", required=True, help="folder for all results; must not exist")
    _add_predictor(run)
    group = run.add_argument_group("optimization")
    group.add_argument("--iterations", type=int, metavar="N", help="optimizer steps (default: the optimizer's own)")
    group.add_argument("--max-gaussians", type=int, metavar="N", help="about how many Gaussians there are at most")
    group.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="cpu", help="default: cpu; cuda has not run on a GPU yet"
    )
    group = run.add_argument_group("scores")
    group.add_argument(
        "--annotations", metavar="DIR", help="annotated motion masks (white moves), used for scores only"
    )
    group.add_argument("--test-every", type=int, default=0, metavar="K", help="hold out every K-th frame")
    group.add_argument(
        "--protocol",
        choices=("none", "das3r"),
        default="none",
        help="das3r: first 50 frames, long side 512, frame i held out when (i + 5) mod 10 = 0, 4000 iterations",
    )
    group.add_argument(
        "--refine-test-cameras",
        action="store_true",
        help="move the cameras of held-out frames on their static pixels; the scores name it",
    )
    group = run.add_argument_group("an output folder that exists")
    group.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    group.add_argument("--overwrite", action="store_true", help="replace the results of an earlier run")

    predict = _add(commands, "predict", "the predictor alone: cameras, motion masks and depth as a scene", _predict)
    _add_input(predict)
    predict.add_argument("-o", "--output", metavar="SCENE", required=True, help="the scene folder; must not exist")
    _add_predictor(predict)
    predict.add_argument("--overwrite", action="store_true", help="replace an earlier scene")

    add_poses_command(commands)
    add_depth_command(commands)

    evaluate = _add(commands, "evaluate", "score a run against truth or annotations", _evaluate)
    evaluate.add_argument("output", metavar="OUT", help="output folder of stillsplat run")
    evaluate.add_argument("--truth", metavar="SCENE", help="a scene with complete truth (docs/scores.md)")
    evaluate.add_argument("--annotations", metavar="DIR", help="annotated motion masks, one per frame, white moves")

    report = _add(commands, "report", "write OUT/report.html again", _report)
    report.add_argument("output", metavar="OUT", help="output folder of stillsplat run")
    _add(commands, "predictors", "list the dynamic predictors", _predictors)
    add_weights_command(commands)
    _add(commands, "version", "print the version", _version)
    return parser


def _add(commands, name: str, summary: str, function, epilog: str | None = None) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(function=function)
    return parser


def _add_input(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="INPUT", help="video, folder of images, glob pattern or scene folder")
    group = parser.add_argument_group("input")
    group.add_argument("--frames", metavar="A:B:STEP", help="which frames of the input, counted from 0")
    group.add_argument("--max-size", type=int, default=512, metavar="PIXELS", help="long side at most (default: 512)")
    group.add_argument("--masks", metavar="DIR", help="your own motion masks (white moves), one per frame; they win")
    group.add_argument("--masks-from", metavar="NAME", help="motion masks of another predictor, for example das3r")
    group.add_argument("--fov", type=float, metavar="DEGREES", help="horizontal angle of view, where it is known")


def _add_predictor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--predictor", default="geometric", metavar="NAME", help="default: geometric (no weights)")
    parser.add_argument("--weights", metavar="PATH", help="file or folder with weights other than the official ones")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="same seed, same CPU: same result (default: 0)"
    )


def _bars():
    from terminal.progress_bars import ProgressBars

    return ProgressBars()


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _interrupted_sentence(options: argparse.Namespace) -> str:
    output = getattr(options, "output", None)
    if options.command == "run" and output and (Path(output) / "run.json").exists():
        return f"Stopped; what was finished is in {output}, repeat the command with --resume to go on."
    if options.command == "poses" and output and Path(f"{output}.part").exists():
        return f"Stopped; what was finished is in {output}.part, repeat the command with --resume to go on."
    return "Stopped; nothing was written."


def _sentence_for(error: BaseException, output: str | None) -> str | None:
    """One sentence for an error of the machine rather than of the program; None when it is ours."""
    import errno
    import shutil

    place = output or "the output"
    keep = "; make room and repeat the command with --resume, or choose another place."
    if is_out_of_memory(error):
        return "The memory of this machine is not enough; use a smaller --max-size or fewer --frames."
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"The disk is full while writing {error.filename or place}{keep}"
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return f"{error.filename or place} may not be read or written; check its permissions."
        return None
    # torch reports a failed write as a RuntimeError of its own
    text = str(error)
    if "PytorchStreamWriter" in text or "No space left" in text:
        return f"The disk is full while writing {place}{keep}"
    try:
        folder = next(parent for parent in (Path(place), *Path(place).absolute().parents) if parent.exists())
        if shutil.disk_usage(folder).free < 1 << 20:
            return f"The disk is full while writing {place}{keep}"
    except (OSError, StopIteration):
        pass
    return None


def _print_error(sentence: str) -> None:
    sys.stdout.flush()
    print(f"stillsplat: {sentence}", file=sys.stderr)
