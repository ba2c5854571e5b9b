"""Steps of an online predictor: one frame at a time as it arrives, stored in chunks with the state after each.

Only the predictions of the unfinished chunk are in memory. What a stop leaves unfinished is stepped again from the
state after the last whole chunk, so that a resumed run gives what an uninterrupted one would have given.
"""

import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from dynamic_predictor.contract import OnlinePredictor, Prediction, Views
from dynamic_predictor.driver.workspace import StreamWorkspace, stacked
from scene.errors import InputError


class OnlineSteps:
    """The steps of one predictor through the frames of one workspace."""

    def __init__(
        self,
        predictor: OnlinePredictor,
        workspace: StreamWorkspace,
        view: Callable[[int], Views],
        stepped: Callable[[int, Views, Prediction], None],
    ) -> None:
        """`view`: a frame with what is known about it. `stepped` is called after each step."""
        self._predictor, self._workspace, self._view, self._stepped = predictor, workspace, view, stepped
        self._whole_chunks = workspace.stored_state() + 1
        self._unfinished: list[Prediction] = []
        #: the frame that the predictor's state is ready for; None: its state is not known
        self._next: int | None = None
        #: seconds of each step
        self.seconds = array("d")

    def is_whole(self, chunk: int) -> bool:
        """Whether a chunk and the state after it are stored."""
        return chunk < self._whole_chunks and self._workspace.has_chunk(chunk)

    def advance(self, chunk: int, start: int, stop: int) -> None:
        """Steps the frames of `chunk`, which begins at frame `start`, up to `stop`; none twice."""
        if self._next is None:
            self._enter(chunk)
            self._next = start
        while self._next < stop:
            # a step that is interrupted leaves a state that nothing is known about
            frame, self._next = self._next, None
            view = self._view(frame)
            begin = time.perf_counter()
            prediction = self._predictor.step(view)
            self.seconds.append(time.perf_counter() - begin)
            if len(prediction) != 1:
                raise ValueError(f"a step gave {len(prediction)} views")
            self._unfinished.append(prediction)
            self._next = frame + 1
            self._stepped(frame, view, prediction)

    def whole_chunk(self) -> Prediction:
        """The predictions since the chunk before, together."""
        return joined(self._unfinished)

    def store_state(self, chunk: int) -> None:
        """Marks `chunk` as whole, after it was written."""
        self._workspace.write_state(chunk, self._predictor.state())
        self._whole_chunks = chunk + 1
        self._unfinished.clear()

    def _enter(self, chunk: int) -> None:
        """Brings the predictor to the state after the chunk before."""
        self._unfinished.clear()
        if chunk == 0:
            self._predictor.start()
            return
        stored = self._workspace.read_state()
        if stored is None or stored[0] != chunk - 1:
            raise InputError(f"{self._workspace.folder} is damaged; start again with --overwrite.")
        self._predictor.restore(stored[1])


def joined(predictions: Sequence[Prediction]) -> Prediction:
    """Predictions in one world, of views in their order, as one."""
    first = predictions[0]
    motions = [prediction.motion for prediction in predictions]
    warnings = [sentence for prediction in predictions for sentence in prediction.warnings]
    return replace(
        first,
        z_depth=np.concatenate([stacked(prediction.z_depth) for prediction in predictions]),
        confidence=np.concatenate([stacked(prediction.confidence) for prediction in predictions]),
        world_from_camera=np.concatenate([prediction.poses() for prediction in predictions]),
        intrinsics=np.concatenate([np.asarray(prediction.intrinsics) for prediction in predictions]),
        motion=None
        if any(m is None for m in motions)
        else np.concatenate([stacked(m) for m in motions if m is not None]),
        warnings=tuple(dict.fromkeys(warnings)),
    )
