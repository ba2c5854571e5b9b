"""An optimization in a browser while it goes on: the Gaussians as they are, every few seconds."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import numpy as np
import torch

from gaussian.trainer import Trainer
from scene.errors import InputError
from scene.gaussians import Gaussians
from stillsplat.results import flow_between
from viewer.result import Result
from viewer.result_viewer import ResultViewer
from viewer.server import VIEWER_OPTIONS, check_place
from viewer.settings import ViewerSettings

#: seconds between two pictures of the Gaussians
_PERIOD = 2.0


class TrainingView:
    """A context manager whose `watch` shows the optimization that it is given to. The optimization never waits for it,
    and follows what is painted on its masks.

    Raises `InputError` when the viewer's place is taken."""

    def __init__(self, settings: ViewerSettings, name: str, *, period: float = _PERIOD) -> None:
        check_place(settings.host, settings.port)
        self._settings, self._name, self._period = settings, name, period
        self._stop = threading.Event()
        #: None before the optimization begins
        self.viewer: ResultViewer | None = None

    def __enter__(self) -> "TrainingView":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.viewer is not None:
            self.viewer.close()

    @contextmanager
    def watch(self, trainer: Trainer) -> Iterator[None]:
        """Opens the viewer with the first Gaussians and keeps it up to date as long as the context lasts; it stays open
        with the last ones."""
        trainer.request_snapshot()
        trainer.advance(0)
        assert trainer.snapshot is not None
        gaussians, cameras = _finite(trainer.snapshot.gaussians), trainer.scene.cameras
        result = Result(self._name, Path(self._name), scene=trainer.scene, gaussians=gaussians, cameras=cameras)

        def paint(frame: int, region: np.ndarray, moves: bool | None) -> None:
            if self._stop.is_set():
                raise InputError("The optimization is over; mend its masks with stillsplat view.")
            trainer.paint(frame, region, moves)

        place = {"host": self._settings.host, "port": self._settings.port}
        self.viewer = ResultViewer([result], **place, flow=flow_between, paint=paint, options=VIEWER_OPTIONS)
        print(f"The viewer is at {self.viewer.url}", flush=True)
        thread = threading.Thread(target=self._follow, args=(trainer, self.viewer), name="training view", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(timeout=10.0)
            trainer.request_snapshot()
            trainer.advance(0)
            self._show(trainer, self.viewer)

    def wait(self) -> None:
        """Keeps the viewer open until Ctrl-C, after everything is on the disk."""
        if self.viewer is not None:
            print(f"All of it is on disk; the viewer stays open at {self.viewer.url} until Ctrl-C.", flush=True)
            self.viewer.wait()

    def _follow(self, trainer: Trainer, viewer: ResultViewer) -> None:
        shown = trainer.snapshot
        trainer.request_snapshot()
        while not self._stop.wait(self._period):
            if trainer.snapshot is not shown:
                shown = trainer.snapshot
                self._show(trainer, viewer)
                trainer.request_snapshot()

    def _show(self, trainer: Trainer, viewer: ResultViewer) -> None:
        snapshot = trainer.snapshot
        if snapshot is not None and len(gaussians := _finite(snapshot.gaussians)):
            words = f"iteration {snapshot.iteration} of {trainer.iterations}"
            viewer.show_splats(gaussians, words)


def _finite(gaussians: Gaussians) -> Gaussians:
    """Those Gaussians whose values are all finite."""
    count = len(gaussians)
    finite = torch.ones(count, dtype=torch.bool)
    for tensor in gaussians.tensors().values():
        finite &= tensor.detach().cpu().reshape(count, -1).isfinite().all(1)
    return gaussians if bool(finite.all()) else gaussians.select(finite)
