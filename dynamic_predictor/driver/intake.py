"""Frames of a source brought to their size and stored in a workspace, checked on the way.

This is the only place where input is read: each frame once, one image in memory at a time, and each is written once.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np

from dynamic_predictor.driver.live_source import LiveSource
from dynamic_predictor.driver.settings import LivePolicy
from dynamic_predictor.driver.sources import FrameSource, ImageFiles, other_size
from dynamic_predictor.driver.workspace import StreamWorkspace
from scene.errors import InputError
from scene.frames import MIN_SIDE
from scene.images import fitted_size, resize_image, resize_layers
from scene.interruption import interruption_noted
from scene.media.decoding import DecodedImage
from scene.progress import Progress, ignore_progress

#: largest relative difference of width / height between frames of a stream that are one view at two resolutions
_SAME_SHAPE = 0.01
#: how often a waiting thread looks whether the other one is still there, in seconds
_LOOK = 0.1


class Intake:
    """Takes one source into one workspace, after the frames that the workspace has already.

    Frames whose long side exceeds `max_size` are shrunk to it by area means; none is enlarged; None keeps the size.

    Where a video or a live source changes its resolution but not its shape, later frames are brought to the first
    size; where it changes its shape, it ends there. Image files of different sizes are refused.
    """

    def __init__(
        self,
        source: FrameSource,
        workspace: StreamWorkspace,
        *,
        max_size: int | None,
        live_policy: LivePolicy = "all",
        progress: Progress = ignore_progress,
    ) -> None:
        """`live_policy`: which images of a live source are dropped while the caller works (`live_source`)."""
        self._source, self._workspace, self._max_size, self._progress = source, workspace, max_size, progress
        self._policy: LivePolicy = live_policy
        self._first: np.ndarray | None = None
        self._differ = False
        self._cut: str | None = None
        self._resized: str | None = None
        self._observed: list[float] = []

    @property
    def ended(self) -> str | None:
        """After the last frame: one sentence why frames are missing, or None."""
        return self._cut or self._source.ended

    @property
    def warnings(self) -> list[str]:
        """After the last frame: what a person should know about the source, one sentence each."""
        sentences = (*self._source.notes, self._resized, self._source.ended, self._cut, self._transparency)
        return [sentence for sentence in sentences if sentence is not None]

    @property
    def _transparency(self) -> str | None:
        if not self._observed:
            return None
        share = 100.0 * (1.0 - np.mean(self._observed))
        return (
            f"{self._source.title} is transparent in {share:.1f} % of its pixels; they count as not observed: nothing "
            "is learned from them."
        )

    def take_all(self, stored: Callable[[], None] = lambda: None) -> None:
        """Stores frame after frame and calls `stored` whenever there are more.

        A live source is read in a thread of its own. With the policy "all", its frames are stored while `stored` works;
        with "latest", the newest one is stored when `stored` has returned. Ctrl-C ends it without an exception, and a
        second one raises KeyboardInterrupt. Raises `InputError` for image files of different sizes, frames of too
        small size, and when the disk is full."""
        if isinstance(self._source, LiveSource):
            with interruption_noted(self._source.stop):
                for _ in self._live_frames(self._source):
                    stored()
            return
        if len(self._workspace):  # those of an interrupted run
            stored()
        if isinstance(self._source, ImageFiles):
            self._source.require_one_size()
        images = self._source.images(skip=len(self._workspace))
        while (image := next(images, None)) is not None:
            if not self._store(image):
                return
            image = None  # a large one is not kept while the next one is decoded
            if self._source.total:
                self._progress("reading frames", len(self._workspace), self._source.total)
            stored()

    def finish(self) -> None:
        """Marks the workspace as complete. Raises `InputError` unless it has two frames that differ."""
        title, count = self._source.title, len(self._workspace)
        if count < 2:
            damage = f" ({self.ended.rstrip('.')})" if self.ended else ""
            found = ("no frame" if not count else "only one frame") + self._source.selection
            raise InputError(
                f"{title} has {found}{damage}; a scene needs at least two: give a video or a folder of images."
            )
        if self._observed and max(self._observed) == 0.0 and len(self._observed) == count:
            raise InputError(
                f"All frames of {title} are transparent everywhere, so nothing is observed; remove their alpha channel."
            )
        stored = self._workspace.frames()
        first = stored.rgb8(0).astype(np.int16)
        differ = self._differ or any(
            _differs(stored.rgb8(index), first, self._source.is_video) for index in range(count)
        )
        if not differ:
            raise InputError(
                f"All {count} frames of {title} are the same image, which allows no estimate of depth or motion; "
                "give a clip in which the camera or something else moves."
            )
        self._workspace.note("source", dict(self._source.description))
        self._workspace.note("source_warnings", self.warnings)
        self._workspace.finish_frames()

    def _store(self, decoded: DecodedImage) -> bool:
        """Whether the frame was stored; False: the source ends before it."""
        image = decoded.pixels
        index, size = len(self._workspace), (image.shape[1], image.shape[0])
        expected = self._workspace.source_size or size
        name = self._source.frame_name(index)
        if size != expected and not self._source.is_video:
            raise other_size(name, size, expected)
        if size != expected:
            change = f"{self._source.title} changes from {expected[0]}x{expected[1]} to {size[0]}x{size[1]} pixels at "
            if abs(size[0] * expected[1] / (size[1] * expected[0]) - 1) > _SAME_SHAPE:
                before = f"{index} frames before were" if index != 1 else "one frame before was"
                self._cut = f"{change}frame {index}, another shape, so it ends there; the {before} processed."
                return False
            if self._resized is None:
                self._resized = f"{change}frame {index}; from there on, its frames are brought to the first size."
        width, height = fitted_size(*expected, self._max_size)
        if min(width, height) < MIN_SIDE:
            raise InputError(
                f"{name} would be {width}x{height} pixels; frames need at least {MIN_SIDE} pixels on each side."
            )
        observed = decoded.observed
        if observed is None or (observed == 255).all():
            image, observed = resize_image(image, width, height), None
        else:
            image, observed = resize_layers(image, observed, width, height)
            self._observed += [1.0] * (index - len(self._observed)) + [float(observed.mean()) / 255.0]
        self._workspace.append(decoded.time, image, position=decoded.position, source_size=size, observed=observed)
        if self._first is None:
            self._first = image.astype(np.int16)
        elif not self._differ:
            self._differ = _differs(image, self._first, self._source.is_video)
        return True

    def _live_frames(self, source: LiveSource) -> Iterator[int]:
        """Yields the number of stored frames whenever it has grown."""
        failure: list[BaseException] = []
        stored, wanted = threading.Event(), threading.Semaphore(0)

        def is_wanted() -> bool:
            while self._policy == "latest" and not wanted.acquire(timeout=_LOOK):
                if source.stopped:
                    return False
            return True

        def read() -> None:
            try:
                with closing(source.images(policy=self._policy)) as images:
                    while is_wanted():
                        image = next(images, None)
                        if image is None or not self._store(image):
                            return
                        stored.set()
            except BaseException as error:
                failure.append(error)
            finally:
                stored.set()

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        seen = len(self._workspace)
        try:
            while True:
                wanted.release()
                while len(self._workspace) == seen and thread.is_alive():
                    stored.wait(_LOOK)
                    stored.clear()
                if len(self._workspace) == seen:
                    break
                seen = len(self._workspace)
                self._progress("live frames", seen, source.total or seen + 1)
                yield seen
        finally:
            source.stop()
        self._progress("live frames", seen, seen)
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
