"""Options and exit status of a command, whose mistakes are one sentence like all others."""

import argparse
import re
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from scene.errors import InputError


class OptionParser(argparse.ArgumentParser):
    """An `ArgumentParser` that raises `InputError` for a mistake, instead of printing the usage and leaving.

    Values may begin with a minus sign if they are numbers, lists of numbers ("--offset -1,0,2") or axes ("--up -y").
    """

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._negative_number_matcher = re.compile(r"^-(\d|\.\d|[xyz]$)")

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message[:1].upper()}{message[1:].rstrip('.')}; see {self.prog} --help.")


def exit_status(work: Callable[[], int], *, interrupted: Callable[[], str], prefix: str = "") -> int:
    """The exit status of `work`; 2 after an `InputError`, 130 after Ctrl-C. Then the error's message or the sentence
    `interrupted()` is printed to standard error after `prefix`."""
    try:
        return work()
    except InputError as error:
        print(f"{prefix}{error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{prefix}{interrupted()}", file=sys.stderr)
        return 130
