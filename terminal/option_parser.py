"""Options of a command, whose mistakes are one sentence like all others."""

import argparse
import re
from typing import Any, NoReturn

from scene.errors import InputError

_LONGEST_VALUE = 80


class OptionParser(argparse.ArgumentParser):
    """An `ArgumentParser` that raises `InputError` for a mistake, instead of printing the usage and leaving.

    Values may begin with a minus sign if they are numbers, lists of numbers ("--offset -1,0,2") or axes ("--up -y").
    """

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._negative_number_matcher = re.compile(r"^-(\d|\.\d|[xyz]$)")

    def error(self, message: str) -> NoReturn:
        message = re.sub(
            rf"'([^']{{{_LONGEST_VALUE}}})[^']+'", r"'\1...'", message, flags=re.DOTALL
        )  # a value of thousands of characters
        raise InputError(f"{message[:1].upper()}{message[1:].rstrip('.')}; see {self.prog} --help.")
