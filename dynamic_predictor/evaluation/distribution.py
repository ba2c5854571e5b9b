"""Runs independent pieces of work, such as the clips of a data set, and collects what became of each.

The engine decides where: here one after the other (`OneProcess`), in the processes of torchrun
(`torchrun_processes.TorchrunProcesses`), or as tasks of a Ray cluster (`ray_tasks.RayTasks`). A piece that fails
does not stop the others. Results are JSON files, so that another process, machine or run can read them.
"""

import hashlib
import re
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from scene.errors import InputError, is_out_of_memory
from scene.files.json_files import plain, read_json, write_json
from scene.progress import Progress, ignore_progress

#: does one piece of work, given by its name, and returns its result
Work = Callable[[str], Any]


@dataclass(frozen=True)
class Outcome:
    """What became of one piece of work."""

    item: str
    #: the result; after another process: as JSON keeps it
    value: Any = None
    #: one sentence; None: it succeeded
    failure: str | None = None
    #: the failure is the user's to correct (`InputError`)
    is_input_error: bool = False
    #: of an exception that nobody expected, as text
    traceback: str = ""


OnOutcome = Callable[[Outcome], None]


class OutcomeFiles:
    """The outcomes in a folder, one JSON file each; those of other settings are as good as absent."""

    def __init__(self, folder: Path, fingerprint: Any = None, *, resume: bool = True) -> None:
        """`fingerprint`: everything on which the results depend. With `resume` off, nothing is used again."""
        self.folder, self._fingerprint, self._resume = Path(folder), plain(fingerprint), resume

    def path(self, item: str) -> Path:
        """A file name that is unique, also where names differ only in characters that a file name cannot have."""
        readable = re.sub(r"[^A-Za-z0-9._-]", "_", item)[:80]
        return self.folder / f"{readable}-{hashlib.sha256(item.encode()).hexdigest()[:8]}.json"

    def write(self, outcome: Outcome) -> None:
        """Replaces the outcome of this item."""
        write_json(self.path(outcome.item), {"fingerprint": self._fingerprint, **plain(outcome)})

    def read(self, item: str) -> Outcome | None:
        """The outcome of an item; None when there is none of these settings."""
        path = self.path(item)
        try:
            record = read_json(path) if path.exists() else {}
        except InputError:
            return None  # damaged: done again
        if record.pop("fingerprint", None) != self._fingerprint or record.get("item") != item:
            return None
        return Outcome(**{name: record[name] for name in Outcome.__dataclass_fields__ if name in record})

    def finished(self, item: str) -> Outcome | None:
        """The outcome of an item that need not be done again: it succeeded, and results are used again."""
        found = self.read(item) if self._resume else None
        return found if found is not None and found.failure is None else None

    def forget_unfinished(self, items: Iterable[str]) -> None:
        """Removes the files of the items that will be done again."""
        for item in items:
            if self.finished(item) is None:
                self.path(item).unlink(missing_ok=True)


class Engine(Protocol):
    """Where the work is done."""

    @property
    def is_first(self) -> bool:
        """Whether this process has the outcomes of all items in the end and reports them."""
        ...

    def run(self, items: Sequence[str], work: Work, files: OutcomeFiles | None, done: OnOutcome) -> dict[str, Outcome]:
        """The outcomes by item; `done` is called for each of them."""
        ...


@dataclass(frozen=True)
class OneProcess:
    """Does everything here, one after the other, and keeps results as the objects that they are."""

    is_first: bool = True

    def run(self, items: Sequence[str], work: Work, files: OutcomeFiles | None, done: OnOutcome) -> dict[str, Outcome]:
        return attempt_all(items, work, files, done)


def for_each(
    items: Sequence[str],
    work: Work,
    engine: Engine | None = None,
    *,
    files: OutcomeFiles | None = None,
    done: OnOutcome = lambda outcome: None,
    progress: Progress = ignore_progress,
    stage: str = "clips",
) -> dict[str, Outcome]:
    """The outcome of `work` for each of `items`, in their order; `done` is called as soon as one is known.

    With `files`, outcomes are kept in them, and those that succeeded with the same settings are not repeated; engines
    other than `OneProcess` need them. In a process that is not the engine's first, the result has only the items of
    that process. Ray sends `work` to other processes, so it must be picklable.
    """
    if len(set(items)) != len(items):
        raise ValueError("items must have different names")
    count = 0

    def note(outcome: Outcome) -> None:
        nonlocal count
        count += 1
        progress(stage, count, len(items))
        done(outcome)

    progress(stage, 0, len(items))
    outcomes = (engine or OneProcess()).run(items, work, files, note)
    return {item: outcomes[item] for item in items if item in outcomes}


def attempt_all(items: Iterable[str], work: Work, files: OutcomeFiles | None, done: OnOutcome) -> dict[str, Outcome]:
    """Does the items one after the other. When the first two fail for the same reason that the user can correct, the
    reason does not depend on the item (missing weights, for example), and the others fail with it untried."""
    outcomes: dict[str, Outcome] = {}
    common: str | None = None
    for item in items:
        outcome = files.finished(item) if files is not None else None
        if outcome is None:
            outcome = attempt(work, item) if common is None else Outcome(item, failure=common, is_input_error=True)
            if files is not None:
                files.write(outcome)
        if outcome.is_input_error and len(outcomes) == 1 and common_failure([*outcomes.values(), outcome]):
            common = outcome.failure
        outcomes[item] = outcome
        done(outcome)
    return outcomes


def attempt(work: Work, item: str) -> Outcome:
    """The outcome of one piece of work; exceptions become failures."""
    try:
        return Outcome(item, work(item))
    except InputError as error:
        return Outcome(item, failure=str(error), is_input_error=True)
    except Exception as error:
        if is_out_of_memory(error):
            return Outcome(item, failure="The memory is not enough; use a smaller --max_size or --max_frames.")
        sentence = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return Outcome(item, failure=sentence, traceback=traceback.format_exc())


def common_failure(outcomes: Iterable[Outcome]) -> str | None:
    """The one reason for which two or more items failed, where none succeeded and the user can correct it."""
    found = list(outcomes)
    reasons = {outcome.failure for outcome in found}
    if len(found) > 1 and len(reasons) == 1 and all(outcome.is_input_error for outcome in found):
        return found[0].failure
    return None
