"""`stillsplat version`: version and revision."""

import argparse

EPILOG = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command has no options."""


def run(options: argparse.Namespace) -> int:
    from stillsplat.run_folder import code_version

    print(code_version())
    return 0
