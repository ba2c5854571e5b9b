"""Standard output and error that outlive their reader, and show every character of a message as what it is."""

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

#: control characters except tab and newline, those that change the direction of writing, and halves of characters
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_BREAKS = {"\n": "\\n", "\t": "\\t"}
_LOST = (errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO, errno.ESHUTDOWN)


def printable(text: str) -> str:
    """`text`, which may come from a file, without characters that a terminal would obey: they are shown as `\\x1b`."""
    return _INVISIBLE.sub(_shown, text)


def one_line(text: str) -> str:
    """As `printable`, in one line."""
    return printable("".join(_BREAKS.get(letter, letter) for letter in text))


def _shown(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


class LastingStream:
    """A text stream that says nothing any more when its reader has gone (`| head`, a closed terminal), so that the work
    goes on, and that writes characters which its encoding lacks as `\\u2713`."""

    def __init__(self, stream: Any, *, escapes: bool = True) -> None:
        """`escapes`: `printable` is applied, which a display with colors and a cursor does itself."""
        self._stream, self._escapes = stream, escapes

    @property
    def unescaped(self) -> "LastingStream":
        """The same for a display that moves the cursor."""
        return LastingStream(self._stream, escapes=False)

    def write(self, text: str) -> int:
        shown = printable(text) if self._escapes else text
        try:
            self._stream.write(shown)
        except UnicodeEncodeError:
            encoding = getattr(self._stream, "encoding", None) or "ascii"
            self.write(shown.encode(encoding, "backslashreplace").decode(encoding))
        except (OSError, ValueError) as error:
            self._lose(error)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._lose(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _lose(self, error: Exception) -> None:
        """What is still to be written, also when the program ends, goes nowhere; a full disk is an error."""
        if isinstance(error, OSError) and error.errno not in _LOST:
            raise error
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


@contextmanager
def lasting_output() -> Iterator[None]:
    """Makes standard output and error `LastingStream`s for as long as the block lasts, and opens those that whoever
    started the program has closed, so that no other file is opened in their place."""
    _open_closed_descriptors()
    before = sys.stdout, sys.stderr
    for name, stream in zip(("stdout", "stderr"), before, strict=True):
        if stream is None:
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - as long as the program
        setattr(sys, name, stream if isinstance(stream, LastingStream) else LastingStream(stream))
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        if None not in before:
            sys.stdout, sys.stderr = before


def _open_closed_descriptors() -> None:
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
