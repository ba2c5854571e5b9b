"""Output survives its reader, shows control characters, and writes what its encoding lacks."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from terminal.streams import LastingStream, one_line, printable
from tests.paths import ROOT


def test_control_characters_are_shown() -> None:
    assert printable("a\x1b[31mred\x07\tb\n") == "a\\x1b[31mred\\x07\tb\n"
    assert printable("\x9b31m \u202egpj.exe \ud800") == "\\x9b31m \\u202egpj.exe \\ud800"
    assert one_line("two\nlines\r") == "two\\nlines\\x0d"
    assert printable("漢 ✓ é") == "漢 ✓ é"


def test_an_encoding_without_the_characters() -> None:
    bytes_ = io.BytesIO()
    stream = LastingStream(io.TextIOWrapper(bytes_, encoding="ascii"))
    assert stream.write("ü漢✓\n") == 4
    stream.flush()
    assert bytes_.getvalue() == b"\\xfc\\u6f22\\u2713\n"


def _command(words: str, shell_end: str = "", **environment: str) -> "subprocess.CompletedProcess[str]":
    line = f"{sys.executable} -m stillsplat {words} {shell_end}"
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"], cwd=ROOT, capture_output=True, text=True, timeout=60,
        env={**os.environ, **environment}, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("end", ["| head -1", "2>&1 | head -1", ">&-", "2>&-", ">&- 2>&- <&-", "| true"])
def test_a_reader_that_goes(end: str) -> None:
    done = _command("weights list", end)
    assert done.returncode == 0 and "Traceback" not in done.stderr and "Exception" not in done.stderr, done.stderr


def test_an_ascii_terminal() -> None:
    done = _command("predict '/tmp/nowhere-ü漢' -o out", PYTHONIOENCODING="ascii")
    assert (
        done.returncode == 2 and "nowhere-\\xfc\\u6f22 does not exist" in done.stderr and done.stderr.count("\n") == 1
    )


@pytest.mark.parametrize("name", ["SIGHUP", "SIGTERM", "SIGINT"])
def test_signals_that_end_a_program(name: str, tmp_path: Path) -> None:
    program = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup around the tests would have it ignored
from terminal.exit_status import exit_status
def work():
    os.kill(os.getpid(), signal.Signals[sys.argv[1]])
    time.sleep(10)
sys.exit(exit_status(work, interrupted=lambda: "Stopped.", prefix="x: "))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, name], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (130, "x: Stopped.\n")


def test_nohup_stays_nohup() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        from terminal.exit_status import exit_status

        def work() -> int:
            os.kill(os.getpid(), signal.SIGHUP)
            return 0

        assert exit_status(work, interrupted=lambda: "Stopped.") == 0
    finally:
        signal.signal(signal.SIGHUP, before)
