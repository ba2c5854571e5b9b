"""Options of a command, whose mistakes are one sentence like all others."""

import argparse
from typing import NoReturn

from scene.errors import InputError


class OptionParser(argparse.ArgumentParser):
    """An `ArgumentParser` that raises `InputError` for a mistake, instead of printing the usage and leaving."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message[:1].upper()}{message[1:].rstrip('.')}; see {self.prog} --help.")
