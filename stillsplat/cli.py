"""The command line. Commands import heavy modules only when they run, so that help and errors appear at once."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from stillsplat import __version__
from stillsplat.commands import (
    batch,
    compare,
    convert,
    depth,
    evaluate,
    plate,
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
from terminal.exit_status import OK, exit_status
from terminal.option_parser import OptionParser

#: name -> (one line of help, the module with `add_arguments`, `run` and `EPILOG`)
_COMMANDS: dict[str, tuple[str, ModuleType]] = {
    "run": ("video in; splats, renders, scores and report out", run),
    "batch": ("many clips like run: resumable, on several processes or machines", batch),
    "predict": ("the predictor alone: cameras, motion masks and depth as a scene", predict),
    "poses": ("poses, depth and points of a clip of any length or of a live camera", poses),
    "depth": ("depth maps of images, a folder or a video", depth),
    "plate": ("the clip of a finished run at full size, without what moves", plate),
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
    options = argparse.Namespace(command=None)
    return exit_status(
        lambda: _run(arguments, options),
        interrupted=lambda: _interrupted_sentence(options),
        prefix="stillsplat: ",
        output=lambda: getattr(options, "output", None),
        resumes=True,
    )


def _run(arguments: Sequence[str] | None, options: argparse.Namespace) -> int:
    parser = _parser()
    parser.parse_args(arguments, options)
    if options.command is None:
        parser.print_help()
        return OK
    return _COMMANDS[options.command][1].run(options)


def _parser() -> argparse.ArgumentParser:
    parser = OptionParser(
        prog="stillsplat",
        description="From a video with moving things in it to a clean, static 3D Gaussian scene.",
    )
    parser.add_argument("--version", action="version", version=f"stillsplat {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, (summary, module) in _COMMANDS.items():
        command = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog=module.EPILOG,
        )
        module.add_arguments(command)
    return parser


def _interrupted_sentence(options: argparse.Namespace) -> str:
    output = getattr(options, "output", None)
    if options.command == "run" and output and (Path(output) / "run.json").exists():
        return f"Stopped; what was finished is in {output}, repeat the command with --resume to go on."
    if options.command == "poses" and output and Path(f"{output}.part").exists():
        return f"Stopped; what was finished is in {output}.part, repeat the command with --resume to go on."
    if options.command == "batch":
        return "Stopped; what was finished is kept, the same command continues."
    return "Stopped; nothing was written."
