"""Shares work among processes of this machine: one process per item, some of them at the same time.

A process of its own gives all memory back when its item is done, and when it dies, only its item is lost. When the
process that started them is killed, they end by themselves.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import NoReturn

from dynamic_predictor.evaluation.distribution import OnOutcome, Outcome, OutcomeFiles, Work, attempt, common_failure
from scene.errors import InputError

#: seconds in which a process that was told to stop may still save what it has
_GRACE = 60.0
_STOPPED = 130


@dataclass(frozen=True)
class LocalProcesses:
    """At most `jobs` processes at the same time, which share the cores; each sees one of `gpus`, if any are named."""

    jobs: int = 1
    gpus: tuple[str, ...] = ()
    #: folder of a log file per item, for what its process prints; None: it is printed here
    logs: Path | None = None
    is_first: bool = True

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise InputError(f"--jobs must be at least 1, not {self.jobs}.")

    def run(self, items: Sequence[str], work: Work, files: OutcomeFiles | None, done: OnOutcome) -> dict[str, Outcome]:
        """Does the items in processes; `work` is sent to them, so it must be picklable. When the first two fail for the
        same reason that the user can correct, the others fail with it untried, as with `attempt_all`."""
        if files is None:
            raise ValueError("processes exchange outcomes by files")
        outcomes: dict[str, Outcome] = {}

        def note(outcome: Outcome) -> None:
            outcomes[outcome.item] = outcome
            done(outcome)

        waiting: deque[str] = deque()
        for item in items:
            known = files.finished(item)
            if known is None:
                waiting.append(item)
            else:
                note(known)
        files.forget_unfinished(waiting)
        running: dict[int, tuple[SpawnProcess, str]] = {}
        try:
            while waiting or running:
                for place in range(self.jobs):
                    if place not in running and waiting:
                        item = waiting.popleft()
                        running[place] = (self._start(place, item, work, files), item)
                ended = wait([process.sentinel for process, _ in running.values()], timeout=1.0)
                for place, (process, item) in list(running.items()):
                    if process.sentinel in ended:
                        process.join()
                        del running[place]
                        note(_outcome(files, item, process.exitcode))
                reason = common_failure(outcomes.values()) if len(outcomes) == 2 else None
                while reason is not None and waiting:
                    outcome = Outcome(waiting.popleft(), failure=reason, is_input_error=True)
                    files.write(outcome)
                    note(outcome)
        finally:
            _stop([process for process, _ in running.values()])
        return outcomes

    def _start(self, place: int, item: str, work: Work, files: OutcomeFiles) -> SpawnProcess:
        log = None if self.logs is None else self.logs / files.path(item).with_suffix(".log").name
        process = multiprocessing.get_context("spawn").Process(target=_do, args=(item, work, files, log), name=item)
        variables = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(self._threads())}
        if self.gpus:
            variables["CUDA_VISIBLE_DEVICES"] = self.gpus[place % len(self.gpus)]
        with _environment(variables):  # before anything is imported in the new process
            process.start()
        return process

    def _threads(self) -> int:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, cores // self.jobs)


def _outcome(files: OutcomeFiles, item: str, exit_code: int | None) -> Outcome:
    outcome = files.read(item)
    if outcome is not None:
        return outcome
    if exit_code is not None and exit_code < 0:
        with suppress(ValueError):
            name = signal.Signals(-exit_code).name
            memory = "; the system does that when memory runs out" if name == "SIGKILL" else ""
            return Outcome(item, failure=f"Its process was ended by {name}{memory}. The same command continues.")
    return Outcome(item, failure=f"Its process ended with status {exit_code}. The same command continues.")


def _stop(processes: Sequence[SpawnProcess]) -> None:
    """Lets the processes save what they have, and waits for them."""
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(_GRACE)
        if process.is_alive():
            process.kill()
            process.join()


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _do(item: str, work: Work, files: OutcomeFiles, log: Path | None) -> None:
    """What a process does: one item, whose outcome it writes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one tells the others
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if log is not None:
        _print_into(log)
    try:
        outcome = attempt(work, item)
    except KeyboardInterrupt:
        os._exit(_STOPPED)
    if outcome.traceback:
        print(outcome.traceback, flush=True)
    files.write(outcome)


def _interrupt(number: int, frame: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: a second time would disturb what is being saved
    raise KeyboardInterrupt


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(_GRACE)
    os._exit(_STOPPED)


def _print_into(log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
