"""Shares work among the processes that torchrun started, on one machine or several with one file system.

Item i belongs to process i modulo their number, so nothing is done twice. Processes meet through small files beside the
outcomes, without a process group: each writes a file that changes every second while it lives. Process 0 waits for the
others, names those whose file stops changing, and reads all outcomes.
"""

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dynamic_predictor.evaluation.distribution import OnOutcome, Outcome, OutcomeFiles, Work, attempt_all
from scene.errors import InputError
from scene.files.json_files import read_json, write_json

#: seconds between two changes of the file of a living process, and without a change after which it counts as ended
_BEAT, _PATIENCE = 1.0, 120.0


@dataclass(frozen=True)
class TorchrunProcesses:
    """This process, number `rank` of `world_size`."""

    rank: int
    world_size: int
    patience: float = _PATIENCE
    beat: float = _BEAT

    @staticmethod
    def from_environment(device: str = "auto") -> "TorchrunProcesses":
        """This process as torchrun's environment variables describe it, on the GPU of its local rank where there are
        GPUs and `device` ("auto", "cpu" or "cuda") allows it. `InputError` where a machine has too few of them."""
        environment = os.environ
        rank, world_size = int(environment.get("RANK", "0")), int(environment.get("WORLD_SIZE", "1"))
        local_rank = int(environment.get("LOCAL_RANK", str(rank)))
        if device != "cpu":
            import torch

            count = torch.cuda.device_count() if torch.cuda.is_available() else 0
            if count and local_rank >= count:
                raise InputError(
                    f"torchrun started more processes than this machine has GPUs ({count}); use "
                    f"--nproc_per_node {count}, or --device cpu."
                )
            if count:
                torch.cuda.set_device(local_rank)
        return TorchrunProcesses(rank, world_size)

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def own(self, items: Sequence[str], rank: int) -> list[str]:
        """The items of process `rank`."""
        return list(items[rank :: self.world_size])

    def run(self, items: Sequence[str], work: Work, files: OutcomeFiles | None, done: OnOutcome) -> dict[str, Outcome]:
        """Does the items of this process; process 0 then waits for the others and has the outcomes of all items."""
        if files is None:
            raise ValueError("processes exchange outcomes by files")
        meeting = _Meeting(files.folder, self)
        own = self.own(items, self.rank)
        with meeting.alive():
            files.forget_unfinished(own)
            meeting.say(started=True)
            outcomes = attempt_all(own, work, files, done)
            meeting.say(finished=True)
            if not self.is_first:
                meeting.wait_until_read()
                return outcomes
            for rank in range(1, self.world_size):
                ended = meeting.wait_for(rank)
                for item in self.own(items, rank):
                    outcome = files.finished(item) if ended == "absent" else files.read(item)
                    outcome = outcome or Outcome(item, failure=self._lost(rank, ended))
                    outcomes[item] = outcome
                    done(outcome)
            meeting.say(read=meeting.met)
        return outcomes

    def _lost(self, rank: int, ended: str) -> str:
        what = "never came" if ended == "absent" else "ended before this was finished"
        return f"Process {rank} of {self.world_size} {what}; the same command continues."


class _Meeting:
    """The files by which the processes of one run know each other.

    process_<rank>.json: {"process": a random name, "run": what process 0 calls the run, "beat", "started", "finished"}.
    Files of an earlier run have another "run"; process 0 says in "read" which processes it has heard, by random name.
    """

    def __init__(self, folder: Path, processes: TorchrunProcesses) -> None:
        self._folder, self._processes = folder, processes
        self._name = uuid.uuid4().hex
        self._state: dict[str, Any] = {"process": self._name, "started": False, "finished": False, "beat": 0}
        if processes.is_first:
            self._state |= {"run": self._name, "read": {}}
        self._lock = threading.Lock()
        #: random names of the processes that finished, by rank
        self.met: dict[str, str] = {}

    def say(self, **state: Any) -> None:
        """Changes the file of this process."""
        with self._lock:
            self._state |= state
            self._state["beat"] += 1
            if not self._processes.is_first:
                self._state["run"] = self._read(0).get("run")
            write_json(self._path(self._processes.rank), self._state)

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Changes the file of this process again and again as long as the block lasts."""
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(self._processes.beat):
                with suppress(InputError):  # a full disk shows where results are written
                    self.say()

        self.say()
        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            if not self._processes.is_first:
                self._path(self._processes.rank).unlink(missing_ok=True)

    def wait_for(self, rank: int) -> str:
        """Waits until process `rank` has finished: "finished"; or has stopped changing its file: "ended", or "absent"
        when it never began this run."""
        seen = {"ended": "absent"}

        def finished() -> bool:
            found = self._read(rank)
            if found.get("run") != self._name:
                return False
            seen["ended"] = "ended" if found.get("started") else "absent"
            if found.get("finished"):
                self.met[str(rank)] = found["process"]
                return True
            return False

        return "finished" if self._wait(finished, rank) else seen["ended"]

    def wait_until_read(self) -> None:
        """Waits until process 0 has read the outcomes of this one, or has ended itself."""

        def is_read() -> bool:
            return self._read(0).get("read", {}).get(str(self._processes.rank)) == self._name

        if not self._wait(is_read, 0):
            raise InputError("Process 0 ended before it read the results; the same command continues.")

    def _wait(self, condition: Callable[[], bool], rank: int) -> bool:
        """Whether `condition` became true before process `rank` stopped changing its file."""
        last, changed = None, time.monotonic()
        while not condition():
            content = self._read(rank)
            state = (content.get("process"), content.get("beat"))
            if state != last:
                last, changed = state, time.monotonic()
            elif time.monotonic() - changed > self._processes.patience:
                return False
            time.sleep(min(0.1, self._processes.beat))
        return True

    def _read(self, rank: int) -> dict[str, Any]:
        path = self._path(rank)
        try:
            return read_json(path)
        except InputError:  # not there yet, or removed at this moment
            return {}

    def _path(self, rank: int) -> Path:
        return self._folder / f"process_{rank}.json"
