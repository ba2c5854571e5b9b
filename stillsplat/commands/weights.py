"""`stillsplat weights`: what official weights there are, where they lie, fetching and checking them."""

import argparse
import sys
from pathlib import Path

from scene.errors import InputError

EPILOG = """\
search path of weights; the first match is used:
  $STILLSPLAT_WEIGHTS     one or more folders
  weights/                in the working folder, then in the repository
  the Hugging Face cache  ($HF_HOME)
A file is found as NAME/FILE or under its official name (docs/weights.md).

examples:
  stillsplat weights list
  stillsplat weights get sea-raft-spring-m
  stillsplat weights check das3r
  stillsplat weights check my_download.pth --as monst3r
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    listing = actions.add_parser("list", help="every known file, its license and whether it is on this machine")
    listing.set_defaults(action_function=_list)

    get = actions.add_parser("get", help="show the license, ask, and download; resumes an interrupted download")
    get.add_argument("names", metavar="NAME", nargs="+", help="as `list` shows them")
    get.add_argument("--to", metavar="DIR", help="weights folder (default: $STILLSPLAT_WEIGHTS, else weights/)")
    get.add_argument("--yes", action="store_true", help="the license is accepted, do not ask")
    get.set_defaults(action_function=_get)

    check = actions.add_parser("check", help="size, SHA-256, keys, shapes and values of a file")
    check.add_argument("names", metavar="NAME|FILE", nargs="+", help="a name of the list, or a file")
    check.add_argument("--as", dest="claimed", metavar="NAME", help="what the file should be (default: recognize it)")
    check.set_defaults(action_function=_check)

    path = actions.add_parser("path", help="print where the file lies")
    path.add_argument("name", metavar="NAME")
    path.set_defaults(action_function=_path)


def run(options: argparse.Namespace) -> int:
    return options.action_function(options)


def _list(options: argparse.Namespace) -> int:
    from dynamic_predictor.weights.finding import find_weights
    from dynamic_predictor.weights.registry import all_weights
    from scene.files.downloading import format_bytes

    for entry in all_weights().values():
        size = f", {format_bytes(entry.size)}" if entry.size else ""
        print(f"{entry.name}  ({entry.system}{size})")
        print(f"  {entry.purpose}")
        print(f"  license: {entry.license}")
        print(f"  published: {entry.source}")
        print(f"  checked by: {entry.verification}")
        print(f"  here: {find_weights(entry) or 'no'}")
    return 0


def _get(options: argparse.Namespace) -> int:
    from dynamic_predictor.weights.fetching import fetch_weights
    from dynamic_predictor.weights.finding import kept_at
    from dynamic_predictor.weights.registry import weights_entry
    from terminal.progress_bars import ProgressBars

    for entry in [weights_entry(name) for name in options.names]:
        print(f"{entry.name}: {entry.purpose}\n  license: {entry.license}\n  from: {entry.source}")
        print(f"  checked by: {entry.verification}")
        print(f"  to: {kept_at(entry, options.to)}", flush=True)
        if not options.yes:
            _ask_for_consent()
        with ProgressBars() as bars:
            print(fetch_weights(entry, options.to, progress=bars))
    return 0


def _ask_for_consent() -> None:
    if not sys.stdin.isatty():
        raise InputError("The license cannot be confirmed without a terminal; repeat with --yes if you accept it.")
    if input("Download under this license? [y/N] ").strip().lower() not in {"y", "yes"}:
        raise InputError("Nothing was downloaded, the license was not accepted.")


def _check(options: argparse.Namespace) -> int:
    from dynamic_predictor.weights.checking import check_weights, recognize
    from dynamic_predictor.weights.finding import require_weights
    from dynamic_predictor.weights.registry import weights_entry
    from terminal.progress_bars import ProgressBars

    with ProgressBars() as bars:
        for name in options.names:
            file = Path(name)
            if file.is_file():
                entry = weights_entry(options.claimed) if options.claimed else recognize(file, bars)
            else:
                entry = weights_entry(name)
                file = require_weights(entry)
            report = check_weights(file, entry, bars)
            print(
                f"{report.path}: {report.name}, {report.tensors} tensors, {report.parameters} values; "
                f"right: {', '.join(report.checked)}"
                + ("" if "SHA-256" in report.checked else "; UNVERIFIED: no SHA-256")
            )
    return 0


def _path(options: argparse.Namespace) -> int:
    from dynamic_predictor.weights.finding import require_weights
    from dynamic_predictor.weights.registry import weights_entry

    print(require_weights(weights_entry(options.name)))
    return 0
