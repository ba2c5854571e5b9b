"""Work shared by a real Ray on this machine."""

import importlib.util
from pathlib import Path

import pytest

from dynamic_predictor.evaluation.distribution import OutcomeFiles, for_each
from dynamic_predictor.evaluation.ray_tasks import RayTasks
from scene.errors import InputError
from tests.dynamic_predictor.evaluation.countable_work import CountableWork

HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="NOT CHECKED: ray is not installed (pip install 'stillsplat[ray]')")


@needs_ray
def test_failures_and_dead_workers_lose_nothing_else(tmp_path: Path) -> None:
    """A worker that is killed once is replaced; one that is killed again and again is named."""
    work = CountableWork(tmp_path / "notes")
    items = ["a", "refuse", "kill-once", "bcd", "kill-always", "break"]
    files = OutcomeFiles(tmp_path / "outcomes")
    found = for_each(items, work, RayTasks("local"), files=files)
    assert list(found) == items
    assert [found[item].value["length"] for item in ("a", "bcd", "kill-once")] == [1, 3, 9]
    assert found["refuse"].is_input_error and "ZeroDivisionError" in found["break"].traceback
    assert found["kill-always"].failure == "Ray lost it: its worker process died 2 times; the same command continues."
    assert [work.times(item) for item in items] == [1, 1, 2, 1, 2, 1]
    again = for_each(["a", "bcd", "kill-once"], work, RayTasks("local"), files=files)
    assert again["bcd"].value == found["bcd"].value and work.times("bcd") == 1
    with pytest.raises(InputError, match="Ray cannot be reached at 127.0.0.1:1:.*ray start --head"):
        for_each(["a"], work, RayTasks("127.0.0.1:1"))


@pytest.mark.skipif(HAS_RAY, reason="ray is installed")
def test_without_ray_one_sentence_says_what_to_install() -> None:
    with pytest.raises(InputError, match=r"needs the package ray; install it: .*pip install 'ray>=2.9'"):
        RayTasks()
