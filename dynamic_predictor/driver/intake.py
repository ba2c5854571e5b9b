"""Frames of a source brought to their size and stored in a workspace, checked on the way.

This is the only place where input is read: each frame once, one image in memory at a time, and each is written once.
"""

import threading
import time
from collections.abc import Iterator

import numpy as np

from dynamic_predictor.driver.sources import FrameSource, LiveSource
from dynamic_predictor.driver.workspace import StreamWorkspace
from scene.errors import InputError
from scene.frames import MIN_SIDE
from scene.images import fitted_size, resize_image
from scene.progress import Progress, ignore_progress
from scene.video import DecodedImage


class Intake:
    """Takes one source into one workspace, after the frames that the workspace has already.

    Frames whose long side exceeds `max_size` are shrunk to it by area means; none is enlarged; None keeps the size.
    """

    def __init__(
        self,
        source: FrameSource,
        workspace: StreamWorkspace,
        *,
        max_size: int | None,
        progress: Progress = ignore_progress,
    ) -> None:
        self._source, self._workspace, self._max_size, self._progress = source, workspace, max_size, progress
        self._first: np.ndarray | None = None
        self._changed = False

    def frames(self) -> Iterator[int]:
        """Stores frame after frame and yields their number whenever it has grown. A live source is read in a thread of
        its own, so that no frame is missed while the caller works, and Ctrl-C ends it without an exception. Raises
        `InputError` for frames of different or too small size, and when the disk is full."""
        if isinstance(self._source, LiveSource):
            yield from self._live_frames(self._source)
            return
        for image in self._source.images(skip=len(self._workspace)):
            self._store(image)
            if self._source.total:
                self._progress("reading frames", len(self._workspace), self._source.total)
            yield len(self._workspace)

    def finish(self) -> None:
        """Marks the workspace as complete. Raises `InputError` unless it has two frames that differ."""
        title, count = self._source.title, len(self._workspace)
        if count < 2:
            damage = f" ({self._source.ended.rstrip('.')})" if self._source.ended else ""
            found = ("no frame" if not count else "only one frame") + self._source.selection
            raise InputError(
                f"{title} has {found}{damage}; a scene needs at least two: give a video or a folder of images."
            )
        stored = self._workspace.frames()
        first = stored.rgb8(0).astype(np.int16)
        changed = self._changed or any(
            _differs(stored.rgb8(index), first, self._source.is_video) for index in range(count)
        )
        if not changed:
            raise InputError(
                f"All {count} frames of {title} are the same image, which allows no estimate of depth or motion; "
                "give a clip in which the camera or something else moves."
            )
        self._workspace.finish_frames()

    def _store(self, decoded: DecodedImage) -> None:
        image = decoded.pixels
        index, size = len(self._workspace), (image.shape[1], image.shape[0])
        expected = self._workspace.source_size or size
        name = self._source.frame_name(index)
        if size != expected:
            raise InputError(
                f"{name} is {size[0]}x{size[1]} but the first frame is {expected[0]}x{expected[1]}; all frames of a "
                "clip must have one size. Bring them to one, or give images that do not belong together to stillsplat "
                "depth --each."
            )
        width, height = fitted_size(*size, self._max_size)
        if min(width, height) < MIN_SIDE:
            raise InputError(
                f"{name} would be {width}x{height} pixels; frames need at least {MIN_SIDE} pixels on each side."
            )
        image = resize_image(image, width, height)
        self._workspace.append(decoded.time, image, position=decoded.position, source_size=size)
        if self._first is None:
            self._first = image.astype(np.int16)
        elif not self._changed:
            self._changed = _differs(image, self._first, self._source.is_video)

    def _live_frames(self, source: LiveSource) -> Iterator[int]:
        failure: list[BaseException] = []

        def read() -> None:
            try:
                for image in source.images():
                    self._store(image)
            except BaseException as error:
                failure.append(error)

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        seen = len(self._workspace)
        while True:
            alive = thread.is_alive()
            count = len(self._workspace)
            if count > seen:
                seen = count
                self._progress("live frames", count, source.total or count + 1)
                try:
                    yield count
                except KeyboardInterrupt:
                    source.stop()
            elif alive:
                try:
                    time.sleep(0.02)
                except KeyboardInterrupt:
                    source.stop()
            if not alive and len(self._workspace) == seen:
                break
        if failure:
            raise failure[0]


def _differs(image: np.ndarray, first: np.ndarray, coded: bool) -> bool:
    """Whether a frame differs from the first one (int16) by more than the coding noise of a video of one still image:
    measured, up to 0.41 gray levels on average and up to 7 in all but 0.1 % of the pixels. The noise may vary when
    the machine is busy."""
    difference = np.abs(image - first)
    if not coded:
        return bool(difference.any())
    return bool(difference.mean() > 0.5 or (difference > 10).mean() > 1e-3)
