"""Shares work as tasks of Ray (Moritz et al., OSDI 2018): a cluster that runs already, or this machine alone."""

import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dynamic_predictor.evaluation.distribution import OnOutcome, Outcome, OutcomeFiles, Work, attempt
from scene.errors import InputError
from scene.installing import pip_line

_ROOT = Path(__file__).resolve().parents[2]
#: how often Ray starts a task again whose worker process died
_RETRIES = 1
#: until nothing counts as answering at an address
_CONNECT_SECONDS = 10.0


@dataclass(frozen=True)
class RayTasks:
    """Tasks of one core each, and of one GPU each where the cluster has GPUs and `use_gpu` is set.

    All machines see the same files under the same paths. A worker process keeps its copy of the work from task to task,
    so that a network is loaded once per process.
    """

    #: of a cluster, for example "10.0.0.1:6379" or "auto"; None: that of the variable RAY_ADDRESS, else this machine
    address: str | None = None
    use_gpu: bool = True
    #: tasks at the same time at most; None: as many as the cluster has room for
    jobs: int | None = None
    #: each task in a worker process of its own, which gives all memory back; what it prints stays in Ray's logs
    fresh_processes: bool = False
    #: this process collects everything
    is_first: bool = True

    def __post_init__(self) -> None:
        _ray()

    def run(self, items: Sequence[str], work: Work, files: OutcomeFiles | None, done: OnOutcome) -> dict[str, Outcome]:
        """Does the items on the cluster; a worker that dies loses only its task, which is tried once more."""
        ray = _ray()
        outcomes: dict[str, Outcome] = {}

        def note(outcome: Outcome, *, is_new: bool = True) -> None:
            if files is not None and is_new:
                files.write(outcome)
            outcomes[outcome.item] = outcome
            done(outcome)

        waiting = []
        for item in items:
            known = files.finished(item) if files is not None else None
            if known is None:
                waiting.append(item)
            else:
                note(known, is_new=False)
        if not waiting:
            return outcomes
        own_start = not ray.is_initialized()
        if own_start:
            self._start(ray)
        tasks: dict[Any, str] = {}
        try:
            task = self._task(ray, work)
            jobs = len(waiting) if self.jobs is None else self.jobs
            while tasks or waiting:
                while waiting and len(tasks) < jobs:
                    item = waiting.pop(0)
                    tasks[task.remote(item)] = item
                ready, _ = ray.wait(list(tasks), num_returns=1, timeout=1.0)  # returns for Ctrl-C
                for reference in ready:
                    note(_outcome(ray, reference, tasks.pop(reference)))
        finally:
            for reference in tasks:  # Ctrl-C: the others are not begun
                with suppress(Exception):
                    ray.cancel(reference, force=True)
            if own_start:
                ray.shutdown()
        return outcomes

    def _start(self, ray: Any) -> None:
        # Workers find the modules of this repository. Their outputs are printed here
        environment = {"env_vars": {"PYTHONPATH": str(_ROOT)}}
        if os.environ.get("PYTHONPATH"):
            environment["env_vars"]["PYTHONPATH"] += os.pathsep + os.environ["PYTHONPATH"]
        _check_reachable(self.address)
        try:
            ray.init(
                address=self.address, runtime_env=environment, include_dashboard=None if self.address else False,
                logging_level="warning", log_to_driver=not self.fresh_processes,
            )  # fmt: skip
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise _unreachable(self.address, error) from error

    def _task(self, ray: Any, work: Work) -> Any:
        has_gpus = self.use_gpu and ray.cluster_resources().get("GPU", 0) >= 1
        options: dict[str, Any] = {
            "num_cpus": 1,
            "max_retries": _RETRIES,
            "max_calls": 1 if self.fresh_processes else 0,
        }
        if has_gpus:
            options["num_gpus"] = 1

        # a closure is sent to each worker process once, a parameter with every task
        def run(item: str) -> Outcome:
            return attempt(work, item)

        return ray.remote(**options)(run)


def _check_reachable(address: str | None) -> None:
    """Raises `InputError` where nothing answers at host:port; Ray itself tries for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        with socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS):
            pass
    except OSError as error:
        raise _unreachable(address, error) from None


def _unreachable(address: str | None, error: Exception) -> InputError:
    where = f"at {address}" if address else "on this machine"
    reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
    cause: BaseException | None = error
    while cause is not None:
        if "uthentication token" in str(cause):
            return InputError(
                f"Ray {where} wants its authentication token; set RAY_AUTH_MODE=token and, where the file of "
                "`ray start` is not there, RAY_AUTH_TOKEN."
            )
        cause = cause.__cause__
    return InputError(f"Ray cannot be reached {where}: {reason}; start it with `ray start --head`.")


def _outcome(ray: Any, reference: Any, item: str) -> Outcome:
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        if isinstance(error, ray.exceptions.OutOfMemoryError):
            reason = "its machine ran out of memory; use a smaller --max_size or --max_frames"
        elif isinstance(error, ray.exceptions.WorkerCrashedError | ray.exceptions.NodeDiedError):
            reason = f"its worker process died {_RETRIES + 1} times; the same command continues"
        else:
            reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"
        return Outcome(item, failure=f"Ray lost it: {reason}.")


def _ray() -> Any:
    """The package, where it is installed."""
    try:
        import ray  # type: ignore[import-not-found]
        import ray.exceptions  # type: ignore[import-not-found]
    except ImportError:
        raise InputError(f"--engine ray needs the package ray; install it: {pip_line('ray>=2.9')}") from None
    return ray
