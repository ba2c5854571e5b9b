"""Damage for files, and the check that a reader answers it with a result or one sentence, in little memory."""

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from scene.errors import InputError

#: a fuzz test is small: others look deeper with --hypothesis-seed and more examples
QUICK = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
_MEMORY = 1500 << 20
_NUMBERS = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\0\0\xc0\x7f", b"\x01\0\0\0" * 2]
_WORDS = [
    b"9" * 400,
    b"1e300",
    b"-1",
    b"nan",
    b"\xff\xfe",
    b"\\ud800",
    b"[" * 900,
    b"\0",
    b"\x1b[2J",
    b"1e-300",
    b"0" * 5000,
]


def damaged(content: bytes) -> st.SearchStrategy[bytes]:
    """`content` with one to four bytes, numbers or words replaced, inserted, removed or repeated, or cut off."""
    place = st.integers(0, max(len(content) - 1, 0))
    change = st.one_of(
        st.tuples(st.just("replace"), place, st.binary(min_size=1, max_size=4)),
        st.tuples(st.just("replace"), place, st.sampled_from(_NUMBERS)),
        st.tuples(st.just("insert"), place, st.sampled_from(_WORDS)),
        st.tuples(st.just("remove"), place, st.binary(min_size=1, max_size=16)),
        st.tuples(st.just("repeat"), place, st.binary(min_size=1, max_size=64)),
        st.tuples(st.just("cut"), place, st.just(b"")),
    )
    return st.lists(change, min_size=1, max_size=4).map(lambda changes: _changed(content, changes))


def _changed(content: bytes, changes: list[tuple[str, int, bytes]]) -> bytes:
    for kind, place, value in changes:
        head, tail = content[:place], content[place:]
        content = {
            "replace": head + value + tail[len(value) :],
            "insert": head + value + tail,
            "remove": head + tail[len(value) :],
            "repeat": head + tail[: len(value)] * 3 + tail,
            "cut": head,
        }[kind]
    return content


@contextmanager
def little_memory(limit: int = _MEMORY) -> Iterator[None]:
    """MemoryError for what takes more than `limit` bytes of memory beyond the present."""
    present = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (present + limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def result_or_sentence(read: Callable[[], Any]) -> Any:
    """What `read` returns, or None where it raises `InputError`, whose message must be one line; nothing else may be
    raised. Most readers say the message to people, so it must not be endless either."""
    try:
        with little_memory():
            return read()
    except InputError as error:
        assert 0 < len(str(error)) < 1000 and "\n" not in str(error).strip(), str(error)
        return None
