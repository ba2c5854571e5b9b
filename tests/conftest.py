"""What tests of all areas share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paths import SHARED
from tests.web_server import RangeServer, running_server

_SHARED = SHARED


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with goldens, real clips and rendered scenes that lies beside the repository on developers' machines.

    Tests that need it are skipped where it is not, and the summary of the run says so.
    """
    if not _SHARED.is_dir():
        pytest.skip("NOT CHECKED: there is no ../shared (goldens, real clips, rendered scenes) beside this repository")
    return _SHARED.resolve()


@pytest.fixture
def range_server() -> Iterator[RangeServer]:
    """A web server on this machine: put bytes into its `files` by path."""
    with running_server() as server:
        yield server
