"""The values of `--shot`."""

from scene.errors import InputError

#: beside the number of a shot, counted from 1: each by itself; the longest; all frames as if they were one shot
ALL, LONGEST, WHOLE = "all", "longest", "whole"


def parsed_shot(text: str) -> str:
    """The value of `--shot`; raises `InputError` for another one."""
    if text in (ALL, LONGEST, WHOLE) or (text.isascii() and text.isdigit() and 0 < int(text[:9])):
        return text
    raise InputError(f'--shot is "{text}"; give the number of a shot, counted from 1, or {ALL}, {LONGEST} or {WHOLE}.')
