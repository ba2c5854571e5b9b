"""One sentence and a status for every way in which a command ends."""

import errno
import os

import pytest

from scene.errors import InputError
from terminal.exit_status import exit_status


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (InputError("This is\nwrong \x1b[2J."), 2, "p: This is\\nwrong \\x1b[2J."),
        (KeyboardInterrupt(), 130, "p: Stopped."),
        (
            OSError(errno.ENOSPC, "No space", "OUT/a"),
            2,
            "p: The disk is full while writing OUT/a; make room",
        ),
        (OSError(errno.EACCES, "denied", "OUT/a"), 2, "p: OUT/a may not be read or written"),
        (OSError(errno.ENAMETOOLONG, "too long", "x" * 5000), 2, "xx cannot be used: file name too long; give another"),
        (RuntimeError("Could not determine home directory."), 2, "p: A path cannot be used: Could not determine home"),
        (MemoryError(), 2, "p: Less, please."),
    ],
)
def test_errors_that_a_person_can_correct(
    error: BaseException, status: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> int:
        raise error

    got = exit_status(work, interrupted=lambda: "Stopped.", prefix="p: ", less_memory="Less, please.")
    printed = capsys.readouterr().err
    assert got == status and sentence in printed and printed.count("\n") == 1 and len(printed) < 500


def test_bugs_are_not_hidden() -> None:
    def work() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        exit_status(work, interrupted=lambda: "")
    with pytest.raises(OSError, match="strange"):
        exit_status(lambda: os.strerror(0) and (_ for _ in ()).throw(OSError(99, "strange")), interrupted=lambda: "")
