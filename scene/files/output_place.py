"""Checks, before the work, whether a command may write its output folder."""

import os
from collections.abc import Callable
from pathlib import Path

from scene.errors import InputError


def check_output_folder(
    folder: Path,
    *,
    holds: str,
    is_ours: Callable[[Path], bool],
    overwrite: bool,
    elsewhere: str = "another place",
    remedy: str | None = None,
) -> None:
    """Raises `InputError` unless `folder` is free, empty, or with `overwrite` an output that may be replaced.

    `holds`: what the command writes, for the message ("a scene"). `is_ours`: whether an existing folder is such an
    output; any other folder is never replaced. `elsewhere`: where the user can write instead ("another --output_dir").
    `remedy`: what the user can do about an existing output, where that is more than to overwrite it.
    """
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise InputError(f"{folder} exists and is not a folder; choose {elsewhere}.")
    if not any(folder.iterdir()):
        return
    if not is_ours(folder):
        raise InputError(f"{folder} holds other things than {holds} and is not replaced; choose {elsewhere}.")
    if not overwrite:
        raise InputError(f"{folder} exists already; {remedy or f'choose {elsewhere} or add --overwrite'}.")
