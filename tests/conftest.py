"""What tests of all areas share."""

from pathlib import Path

import pytest

_SHARED = Path(__file__).resolve().parents[1] / ".." / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with goldens, real clips and rendered scenes that lies beside the repository on developers' machines.

    Tests that need it are skipped where it is not, and the summary of the run says so.
    """
    if not _SHARED.is_dir():
        pytest.skip("NOT CHECKED: there is no ../shared (goldens, real clips, rendered scenes) beside this repository")
    return _SHARED.resolve()
