"""The command line. Options of a command, and what it works with, are imported only when that command is called, so
that help and mistakes answer at once."""

import argparse
import errno
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from scene.errors import InputError, is_out_of_memory
from stillsplat import __version__
from terminal.option_parser import OptionParser

OK, BUG, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def _run() -> ModuleType:
    from stillsplat.commands import run

    return run


def _predict() -> ModuleType:
    from stillsplat.commands import predict

    return predict


def _poses() -> ModuleType:
    from stillsplat.commands import poses

    return poses


def _depth() -> ModuleType:
    from stillsplat.commands import depth

    return depth


def _evaluate() -> ModuleType:
    from stillsplat.commands import evaluate

    return evaluate


def _report() -> ModuleType:
    from stillsplat.commands import report

    return report


def _predictors() -> ModuleType:
    from stillsplat.commands import predictors

    return predictors


def _weights() -> ModuleType:
    from stillsplat.commands import weights

    return weights


def _version() -> ModuleType:
    from stillsplat.commands import version

    return version


#: name -> (one line of help, the module with `add_arguments`, `run` and `EPILOG`)
_COMMANDS: dict[str, tuple[str, Callable[[], ModuleType]]] = {
    "run": ("video in; splats, renders, scores and report out", _run),
    "predict": ("the predictor alone: cameras, motion masks and depth as a scene", _predict),
    "poses": ("poses, depth and points of a clip of any length or of a live camera", _poses),
    "depth": ("depth maps of images, a folder or a video", _depth),
    "evaluate": ("score a run against truth or annotations", _evaluate),
    "report": ("write OUT/report.html again", _report),
    "predictors": ("list the dynamic predictors", _predictors),
    "weights": ("list, fetch and check the official weights of the learned predictors", _weights),
    "version": ("print the version", _version),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status: 0 done, 2 something that the user can mend (one sentence on standard
    error), 130 interrupted. Errors of our own come with a traceback and status 1."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser(next((word for word in given if word in _COMMANDS), None))
    try:
        options = parser.parse_args(given)
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
        return _COMMANDS[options.command][1]().run(options)
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


def _parser(called: str | None) -> argparse.ArgumentParser:
    """The parser, with the options of the command `called` alone."""
    parser = OptionParser(
        prog="stillsplat",
        description="From a video with moving things in it to a clean, static 3D Gaussian scene.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"stillsplat {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, (summary, load) in _COMMANDS.items():
        command = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name == called:
            module = load()
            command.epilog = module.EPILOG
            module.add_arguments(command)
    return parser


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
