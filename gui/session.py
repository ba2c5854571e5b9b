"""An optimization in a thread of its own: run, pause, step, save, stop."""

import threading
import time
from collections import deque
from typing import Literal

from gaussian.trainer import Trainer

Phase = Literal["running", "paused", "saving", "finished", "failed"]
#: seconds between two looks at what was asked for, while there is nothing to do
_IDLE = 0.03
#: the speed is that of the last seconds
_SPEED_SECONDS = 5.0


class TrainingSession:
    """Drives a `Trainer`. The methods may be called from any thread; none of them waits for the optimization, but
    `close`."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.error: BaseException | None = None
        self._paused = False
        self._phase: Phase = "running"
        self._steps = 0
        self._lock = threading.Lock()
        self._save, self._stop, self._closed, self._wake = (threading.Event() for _ in range(4))
        self._times: deque[tuple[float, int]] = deque(maxlen=4096)
        self._thread = threading.Thread(target=self._work, name="optimization")

    def start(self, *, paused: bool = False) -> None:
        """Starts the thread."""
        self._paused = paused
        self._thread.start()

    @property
    def phase(self) -> Phase:
        """What it is doing."""
        return "paused" if self._phase == "running" and self._paused else self._phase

    @property
    def is_over(self) -> bool:
        """Whether no iteration follows any more."""
        return self._phase != "running"

    @property
    def iterations_per_second(self) -> float:
        """Of the last five seconds; 0 while it pauses."""
        now = time.monotonic()
        recent = [moment for moment, _ in list(self._times) if now - moment < _SPEED_SECONDS]
        return len(recent) / max(now - recent[0], 0.2) if len(recent) > 1 and self.phase == "running" else 0.0

    def pause(self) -> None:
        """Stops after the running iteration."""
        self._paused = True

    def resume(self) -> None:
        """Goes on."""
        self._paused = False
        self._wake.set()

    def step(self) -> None:
        """One iteration, then pauses."""
        with self._lock:
            self._paused = True
            self._steps += 1
        self._wake.set()

    def save(self) -> None:
        """Writes a checkpoint after the running iteration."""
        self._save.set()
        self._wake.set()

    def stop(self) -> None:
        """Ends the optimization where it is: writes a checkpoint to go on from, and the model."""
        self._stop.set()
        self._wake.set()

    def close(self) -> None:
        """As `stop`, if it is not over yet; returns when everything is written. Errors are in `error`."""
        self._stop.set()
        self._closed.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _work(self) -> None:
        trainer = self.trainer
        try:
            while not self._stop.is_set() and self._goes_on():
                pass
            self._phase = "saving"
            if trainer.iteration < trainer.iterations:
                trainer.save()
            trainer.finish()
            self._phase = "finished"
            while not self._closed.is_set():
                trainer.advance(0)
                self._rest()
        except BaseException as error:  # the window shows it, and the command raises it
            self.error = error
            self._phase = "failed"

    def _goes_on(self) -> bool:
        """One iteration, or a rest; false at the end of the run."""
        trainer = self.trainer
        if self._save.is_set():
            self._save.clear()
            trainer.save()
        with self._lock:
            steps = self._steps > 0
            self._steps -= steps
        if self._paused and not steps:
            trainer.advance(0)
            self._rest()
            return True
        taken = trainer.advance()
        self._times.append((time.monotonic(), trainer.iteration))
        return taken > 0

    def _rest(self) -> None:
        self._wake.wait(_IDLE)
        self._wake.clear()
