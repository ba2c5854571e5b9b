"""Makes the pictures of the window in a thread of its own, in a small share of the time, so that the optimization keeps
the processor."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from gaussian.snapshot import Snapshot
from gui import panels
from gui.panels import MotionShown
from scene.camera import Camera
from scene.frames import Frames
from scene.maps import FrameMaps
from scene.splat_rendering import Renderer

#: names of the pictures
VIEW, IMAGE, MOTION, STATICNESS, DEPTH = "view", "image", "motion", "staticness", "depth"
PICTURES: tuple[str, ...] = (VIEW, IMAGE, MOTION, STATICNESS, DEPTH)
#: share of the time that is spent on pictures while the optimization runs
_SHARE = 0.06
#: seconds that a rendering may take while the camera is dragged, so that pictures follow the pointer
_DRAGGED_SECONDS = 0.006
_FACTORS = (1, 2, 3, 4, 6)
#: seconds between two looks at what is wanted
_IDLE = 0.01
#: seconds between two snapshots of a running optimization
_SNAPSHOT_SECONDS = 1.0


@dataclass(frozen=True)
class Wanted:
    """What the window shows."""

    #: of the free view, at the size of the large picture
    camera: Camera
    #: whether the free camera is being dragged
    dragged: bool
    frame: int
    #: the motion mask (H, W) of the frame, with what was painted
    motion: np.ndarray
    shown: MotionShown
    opacity_threshold: float
    confidence_threshold: float
    #: whether the free view has the exposure of the frame, or the mean one
    frame_exposure: bool
    #: (width, height) of the small pictures
    size: tuple[int, int]
    #: which picture is the large one, by default the free view, and its size
    large: str
    large_size: tuple[int, int]
    #: changes when something was painted
    edit: int


class Painter:
    """Call `show` with what is wanted, and look at `pictures`; `close` ends the thread."""

    def __init__(
        self,
        frames: Frames,
        annotations: FrameMaps | None,
        confidences: FrameMaps | None,
        snapshot: Callable[[], Snapshot | None],
        request_snapshot: Callable[[tuple[int, ...]], None],
        is_busy: Callable[[], bool],
    ) -> None:
        """`is_busy`: whether the optimization needs the processor. The others are as in `Trainer`."""
        self._frames, self._annotations, self._confidences = frames, annotations, confidences
        self._snapshot, self._request, self._is_busy = snapshot, request_snapshot, is_busy
        self._wanted: Wanted | None = None
        self._pictures: dict[str, np.ndarray] = {}
        self._versions = dict.fromkeys(PICTURES, 0)
        self._keys: dict[str, object] = {}
        self._painted_at: dict[str, float] = {}
        self._renderer: Renderer | None = None
        #: whose Gaussians `_renderer` has, and the threshold of their opacities
        self._prepared: Snapshot | None = None
        self._prepared_threshold = 0.0
        self._requested = (-1.0, -1)
        self._seconds_per_pixel = 3e-7
        self._wake, self._closed = threading.Event(), threading.Event()
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="pictures", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def close(self) -> None:
        """Ends the thread."""
        self._closed.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()

    def show(self, wanted: Wanted) -> None:
        """Says what is to be shown from now on."""
        self._wanted = wanted
        self._wake.set()

    def picture(self, name: str) -> tuple[int, np.ndarray | None]:
        """The newest picture uint8 (H, W, 3), of a dragged view smaller than asked for, and its number, which grows
        with every new one; None before the first."""
        version = self._versions[name]
        return version, self._pictures.get(name)

    def _work(self) -> None:
        try:
            while not self._closed.is_set():
                wall, processor = time.perf_counter(), time.thread_time()
                worked = self._paint_one()
                if not worked:
                    self._wake.wait(_IDLE)
                    self._wake.clear()
                elif self._is_busy():
                    # the kernels use a second core; waiting for the processor costs the optimization nothing
                    spent = min(time.perf_counter() - wall, 2 * (time.thread_time() - processor))
                    self._closed.wait(spent * (1 / _SHARE - 1))
        except BaseException as error:  # the window shows it
            self.error = error

    def _paint_one(self) -> bool:
        """Paints the first picture that is out of date; false if none is."""
        wanted, snapshot = self._wanted, self._snapshot()
        if wanted is None:
            return False
        self._ask(wanted, snapshot)
        for name in sorted(PICTURES, key=self._order):
            # the large picture is the free view or a larger copy of another one
            what, size = (wanted.large, wanted.large_size) if name == VIEW else (name, wanted.size)
            key = self._key(what, size, wanted, snapshot)
            if key is not None and self._keys.get(name) != (what, key):
                self._pictures[name] = self._paint(what, size, wanted, snapshot)
                self._versions[name] += 1
                self._painted_at[name] = time.monotonic()
                # the key again, because preparing new Gaussians changes it
                self._keys[name] = what, self._key(what, size, wanted, snapshot)
                return True
        return False

    def _order(self, name: str) -> float:
        """The view that is dragged first, then the picture that waits longest."""
        if name == VIEW and self._wanted is not None and self._wanted.dragged:
            return 0.0
        return self._painted_at.get(name, 0.0)

    def _ask(self, wanted: Wanted, snapshot: Snapshot | None) -> None:
        """Asks for a snapshot once in a while, and at once for that of another frame."""
        now = time.monotonic()
        moment, frame = self._requested
        waiting = snapshot is not None and wanted.frame not in snapshot.static_weights
        if now - moment > _SNAPSHOT_SECONDS or (waiting and frame != wanted.frame):
            self._request((wanted.frame,))
            self._requested = now, wanted.frame

    def _key(self, what: str, size: tuple[int, int], wanted: Wanted, snapshot: Snapshot | None) -> object:
        """What a picture depends on; None if it cannot be made now."""
        if what == IMAGE:
            return wanted.frame, size
        if what == MOTION:
            return wanted.frame, size, wanted.shown, wanted.edit
        if snapshot is None:
            return None
        if what == STATICNESS:
            known = wanted.frame in snapshot.static_weights
            return (snapshot.iteration, wanted.frame, wanted.edit, size) if known else None
        if what == DEPTH:
            thresholds = wanted.opacity_threshold, wanted.confidence_threshold
            # the view that is dragged has the time first
            return None if wanted.dragged else (snapshot.iteration, wanted.frame, *thresholds, size)
        exposure = wanted.frame if wanted.frame_exposure else None
        prepared = self._prepared if wanted.dragged and self._prepared is not None else snapshot
        matrix = wanted.camera.world_from_camera.tobytes()
        focal = wanted.camera.fx, wanted.camera.fy
        return prepared.iteration, matrix, focal, size, wanted.dragged, exposure, wanted.opacity_threshold

    def _paint(self, what: str, size: tuple[int, int], wanted: Wanted, snapshot: Snapshot | None) -> np.ndarray:
        frame = wanted.frame
        if what == IMAGE:
            return panels.image_panel(self._frames.rgb8(frame), size)
        if what == MOTION:
            annotated = None if self._annotations is None else self._annotations[frame]
            return panels.motion_panel(self._frames.rgb8(frame), wanted.motion, annotated, wanted.shown, size)
        assert snapshot is not None
        if what == STATICNESS:
            return panels.staticness_panel(snapshot.static_weights[frame], size)
        renderer = self._renderer_of(snapshot, wanted)
        if renderer is None:
            return np.zeros((size[1], size[0], 3), np.uint8)
        if what == DEPTH:
            confidence = None if self._confidences is None else self._confidences[frame]
            rendered = renderer.render(snapshot.cameras[frame].resized(*size))
            return panels.depth_panel(rendered.z_depth, confidence, wanted.confidence_threshold)
        return self._view(renderer, snapshot, wanted)

    def _view(self, renderer: Renderer, snapshot: Snapshot, wanted: Wanted) -> np.ndarray:
        """The free view at its size, and smaller while the camera is dragged."""
        camera = wanted.camera
        pixels = camera.width * camera.height
        factor = 1
        if wanted.dragged:
            fitting = (f for f in _FACTORS if self._seconds_per_pixel * pixels / f**2 <= _DRAGGED_SECONDS)
            factor = next(fitting, _FACTORS[-1])
        small = camera.resized(max(16, camera.width // factor), max(16, camera.height // factor))
        exposure = snapshot.exposures[wanted.frame] if wanted.frame_exposure else None
        started = time.perf_counter()
        image = renderer.render(small, exposure=exposure).image
        seconds = (time.perf_counter() - started) / (small.width * small.height)
        self._seconds_per_pixel = 0.7 * self._seconds_per_pixel + 0.3 * seconds
        return np.rint(255 * image).astype(np.uint8)

    def _renderer_of(self, snapshot: Snapshot, wanted: Wanted) -> Renderer | None:
        """Prepared Gaussians of the snapshot; while the view is dragged, those of an earlier one."""
        same = self._prepared is not None and self._prepared_threshold == wanted.opacity_threshold
        if self._prepared is not snapshot and not (wanted.dragged and same) or not same:
            shown = panels.opaque(snapshot.gaussians, wanted.opacity_threshold)
            self._renderer = Renderer(shown) if len(shown) else None
            self._prepared, self._prepared_threshold = snapshot, wanted.opacity_threshold
        return self._renderer

    def full_size_view(self, camera: Camera) -> np.ndarray | None:
        """The free view for a screenshot, rendered at once at the size of `camera`, uint8 (H, W, 3)."""
        snapshot, wanted = self._snapshot(), self._wanted
        if snapshot is None or wanted is None:
            return None
        renderer = Renderer(panels.opaque(snapshot.gaussians, wanted.opacity_threshold))
        return self._view(renderer, snapshot, replace(wanted, camera=camera, dragged=False))
