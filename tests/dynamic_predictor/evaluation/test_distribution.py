"""Work over items in one process: failures stay alone, results are used again."""

from pathlib import Path

import pytest

from dynamic_predictor.evaluation.distribution import Outcome, OutcomeFiles, common_failure, for_each
from scene.errors import InputError
from tests.dynamic_predictor.evaluation.countable_work import CountableWork


def test_failures_do_not_stop_the_others(tmp_path: Path) -> None:
    work, seen = CountableWork(tmp_path), []
    found = for_each(["a", "refuse", "break", "bcd"], work, done=lambda outcome: seen.append(outcome.item))
    assert list(found) == seen == ["a", "refuse", "break", "bcd"]
    assert found["bcd"].value["length"] == 3 and found["bcd"].failure is None
    assert found["refuse"].failure == "refuse is not wanted." and found["refuse"].is_input_error
    assert found["break"].failure == "ZeroDivisionError: an error of ours" and "raise Zero" in found["break"].traceback
    with pytest.raises(ValueError, match="different names"):
        for_each(["a", "a"], work)


def test_a_reason_that_all_share_is_found_out_once() -> None:
    tried = []

    def work(item: str) -> None:
        tried.append(item)
        raise InputError("There are no weights.")

    found = for_each(["a", "b", "c", "d"], work)
    assert tried == ["a", "b"] and common_failure(found.values()) == "There are no weights."
    assert {outcome.failure for outcome in found.values()} == {"There are no weights."}
    assert common_failure([Outcome("a", failure="x", is_input_error=True)]) is None
    assert common_failure([Outcome("a"), Outcome("b")]) is None


def test_results_are_used_again_only_with_the_same_settings(tmp_path: Path) -> None:
    work = CountableWork(tmp_path / "notes")
    items = ["a/b", "a_b", "refuse"]
    with pytest.raises(FileNotFoundError):
        work("a/b")  # such a name is no file name
    items = ["a b", "a_b", "refuse"]
    for _ in range(2):
        found = for_each(items, work, files=OutcomeFiles(tmp_path / "out", {"seed": (0, 1)}))
        assert [found[item].failure is None for item in items] == [True, True, False]
    assert [work.times(item) for item in items] == [1, 1, 2]  # what failed is tried again
    for_each(items, work, files=OutcomeFiles(tmp_path / "out", {"seed": (0, 2)}))
    assert [work.times(item) for item in items] == [2, 2, 3]
    for_each(items, work, files=OutcomeFiles(tmp_path / "out", {"seed": (0, 2)}, resume=False))
    assert [work.times(item) for item in items] == [3, 3, 4]
    files = OutcomeFiles(tmp_path / "out", {"seed": (0, 2)})
    files.path("a_b").write_text("{broken")
    assert files.finished("a_b") is None and files.finished("a b") is not None
    assert files.path("a/b") != files.path("a_b")


def test_progress_counts_items(tmp_path: Path) -> None:
    counts = []
    for_each(
        ["a", "b"], CountableWork(tmp_path), progress=lambda stage, done, total: counts.append((stage, done, total))
    )
    assert counts == [("clips", 0, 2), ("clips", 1, 2), ("clips", 2, 2)]
