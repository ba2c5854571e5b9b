"""The command line. Commands import heavy modules only when they run, so that help and errors appear at once."""

import argparse
import errno
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from scene.errors import InputError, is_out_of_memory
from stillsplat import __version__
from stillsplat.commands import (
    batch,
    compare,
    convert,
    depth,
    evaluate,
    poses,
    predict,
    predictors,
    report,
    run,
    share,
    version,
    view,
    weights,
)
from terminal.option_parser import OptionParser

OK, BUG, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


#: name -> (one line of help, the module with `add_arguments`, `run` and `EPILOG`)
_COMMANDS: dict[str, tuple[str, ModuleType]] = {
    "run": ("video in; splats, renders, scores and report out", run),
    "batch": ("many clips like run: resumable, on several processes or machines", batch),
    "predict": ("the predictor alone: cameras, motion masks and depth as a scene", predict),
    "poses": ("poses, depth and points of a clip of any length or of a live camera", poses),
    "depth": ("depth maps of images, a folder or a video", depth),
    "evaluate": ("score a run against truth or annotations", evaluate),
    "compare": ("several runs beside each other: scores, settings, camera paths, pictures", compare),
    "report": ("write OUT/report.html again", report),
    "convert": ("Gaussians from one file format to another, cropped, thinned out, turned, scaled", convert),
    "view": ("look into runs, scenes and splats in a browser; mend masks, make camera paths", view),
    "share": ("one self-contained page with the splats and the clip before and after", share),
    "predictors": ("list the dynamic predictors", predictors),
    "weights": ("list, fetch and check the official weights of the learned predictors", weights),
    "version": ("print the version", version),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status: 0 done, 2 an error that the user can correct (one sentence on
    standard error), 130 interrupted. Bugs give a traceback and status 1."""
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
        # SIGTERM is handled like Ctrl-C: with a checkpoint and without half-written files
        signal.signal(signal.SIGTERM, _interrupt)
    except ValueError:  # not in the main thread
        previous = None
    try:
        return _COMMANDS[options.command][1].run(options)
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


def _parser() -> argparse.ArgumentParser:
    parser = OptionParser(
        prog="stillsplat",
        description="From a video with moving things in it to a clean, static 3D Gaussian scene.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"stillsplat {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, (summary, module) in _COMMANDS.items():
        command = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog=module.EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
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
    if options.command == "batch":
        return "Stopped; what was finished is kept, the same command continues."
    return "Stopped; nothing was written."


def _sentence_for(error: BaseException, output: str | None) -> str | None:
    """One sentence for an error of the machine (memory, disk, permissions); None for other errors."""
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
