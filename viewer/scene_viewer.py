"""A scene in the browser: a point cloud and a camera with its image for each frame, while they come or afterwards.

Frames are shown from one thread, and a thread of the viewer follows the panel. Browsers may come and go at any time.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from scene.camera import Camera
from scene.errors import InputError
from scene.maps import map_of_size
from scene.progress import Progress, ignore_progress
from scene.rotations import quaternion_from_rotation
from scene.scene import Scene
from viewer.browser_viewer import BrowserViewer
from viewer.budget import Budget
from viewer.panel import Choice, Panel
from viewer.points import FramePoints, frame_points
from viewer.server import open_server
from viewer.view_camera import camera_of_view, vertical_angle

if TYPE_CHECKING:
    import viser  # pyright: ignore[reportMissingImports]

_THUMBNAIL = 160
#: colors of the frustums: of all cameras, of the current one, of a query
_GRAY, _ACCENT, _BLUE = (120, 120, 120), (217, 102, 59), (59, 125, 217)
#: size of a frustum relative to the median depth of the first frame, and the width of its lines in pixels
_FRUSTUM, _LINE = 0.06, 1.5
#: queried views that stay
_QUERIES = 8


@dataclass(frozen=True)
class QueriedView:
    """What there is to see from a camera: world points (N, 3), colors (N, 3) uint8 RGB, confidence (N,) in [0, 1]."""

    positions: np.ndarray
    colors: np.ndarray
    confidence: np.ndarray


#: a function from a camera to what a predictor believes it sees; may raise `InputError`
Query = Callable[[Camera], QueriedView]


@dataclass
class _Shown:
    """One frame and its nodes."""

    index: int
    camera: Camera
    points: FramePoints
    thumbnail: np.ndarray
    root: Any = None
    cloud: Any = None
    frustum: Any = None
    #: threshold and moving things of the points that the browsers have; None: none yet, or others
    sent: tuple[float, bool] | None = None
    is_current: bool = field(default=False)


class SceneViewer(BrowserViewer):
    """A context manager. `live`: frames still come. Raises `InputError` as `open_server` does."""

    def __init__(
        self,
        title: str,
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        live: bool = False,
        budget: Budget | None = None,
    ) -> None:
        self._title, self._budget = title, budget or Budget()
        self._query: Query | None = None
        self._lock = threading.RLock()
        self._frames: dict[int, _Shown] = {}
        #: the frame shown last, where it is not among those that are kept
        self._newest: _Shown | None = None
        self._count = 0
        self._words = ""
        self._unit: float | None = None
        self._point_unit = 1.0
        self._asked: viser.ClientHandle | None = None
        self._answers: list[Any] = []
        self._answered = 0
        self._wake, self._closed = threading.Event(), threading.Event()
        self.server = open_server(host, port, title)
        self._panel = Panel(
            self.server,
            live=live,
            changed=self._wake.set,
            reset_up=_reset_up,
            view_from_frame=self._view_from_frame,
        )
        self.server.scene.set_up_direction("-y")
        self._applied: Choice | None = None
        self._worker = threading.Thread(target=self._work, name="viewer", daemon=True)
        self._worker.start()

    # frames

    def show_frame(
        self,
        index: int,
        image: np.ndarray,
        camera: Camera,
        z_depth: np.ndarray,
        confidence: np.ndarray | None = None,
        motion: np.ndarray | None = None,
    ) -> None:
        """Shows frame `index`, or shows it anew: `image` (H', W', 3) uint8 RGB; `z_depth`, `confidence` and `motion`
        (H, W) of one size."""
        camera = camera if (camera.height, camera.width) == z_depth.shape else camera.resized(*z_depth.shape[::-1])
        most = self._budget.points_each(len(self._frames) + 1)
        points = frame_points(image, z_depth, confidence, camera, motion=motion, most=most, seed=index)
        height = max(1, round(_THUMBNAIL * image.shape[0] / image.shape[1]))
        thumbnail = cv2.resize(image, (_THUMBNAIL, height), interpolation=cv2.INTER_AREA)
        with self._lock:
            self._set_units(camera, points)
            self._count = max(self._count, index + 1)
            self._keep_to_the_budget()
            shown = _Shown(index, camera, points, thumbnail)
            if index % self._budget.stride(self._count) == 0:
                self._frames[index] = shown
                if self._newest is not None and self._newest.index <= index:
                    self._remove(self._newest)
                    self._newest = None
                self._add(f"/frames/{index}", shown)
            elif self._newest is None or self._newest.index <= index:
                self._newest = shown
                self._add("/newest", shown)
            self._panel.set_count(len(self._timeline()))
        self._wake.set()

    def show_scene(self, scene: Scene, *, progress: Progress = ignore_progress) -> None:
        """Shows the frames of a scene in place of all that is shown; only those that are kept are read."""
        self.clear()
        count = len(scene.frames)
        stride = self._budget.stride(count)
        with self._lock:
            self._count = count
        for index in range(0, count, stride):
            image, camera = scene.frames.rgb8(index), scene.cameras[index]
            size = (camera.width, camera.height)
            depth = np.zeros(size[::-1], np.float32) if scene.z_depths is None else scene.z_depths[index]
            confidence = None if scene.confidences is None else map_of_size(scene.confidences[index], size)
            motion = None if scene.motion_masks is None else map_of_size(scene.motion_masks[index], size)
            self.show_frame(index, image, camera, map_of_size(depth, size, nearest=True), confidence, motion)
            progress("showing frames", min(index + stride, count), count)

    def clear(self) -> None:
        """Removes all frames."""
        with self._lock:
            for shown in self._timeline():
                self._remove(shown)
            self._frames, self._newest, self._count, self._unit = {}, None, 0, None

    def say(self, words: str) -> None:
        """Shows words above the controls, such as the latency; Markdown."""
        self._words = words
        self._wake.set()

    def end_of_stream(self) -> None:
        """No more frames come."""
        self._panel.end_of_stream()
        self._wake.set()

    def _timeline(self) -> list[_Shown]:
        kept = [self._frames[index] for index in sorted(self._frames)]
        return kept if self._newest is None else [*kept, self._newest]

    def _set_units(self, camera: Camera, points: FramePoints) -> None:
        """The first frame decides how large points and frustums are, and where browsers begin."""
        if self._unit is not None or not len(points):
            return
        self._unit = float(np.median(points.positions[:, 2]))
        pixels = camera.width * camera.height / len(points)
        self._point_unit = self._unit / camera.fx * float(np.sqrt(pixels))
        right_down_forward = camera.world_from_camera[:3, :3]
        up, forward = -right_down_forward[:, 1], right_down_forward[:, 2]
        self.server.scene.set_up_direction(tuple(up))
        start = self.server.initial_camera
        start.position = camera.center + self._unit * (0.25 * up - 0.5 * forward)
        start.look_at = camera.center + self._unit * forward
        start.near, start.far = 0.01 * self._unit, 1000.0 * self._unit

    def _keep_to_the_budget(self) -> None:
        stride = self._budget.stride(self._count)
        for index in [index for index in self._frames if index % stride]:
            self._remove(self._frames.pop(index))
        most = self._budget.points_each(len(self._frames) + 1)
        for shown in self._frames.values():
            if len(shown.points) > most:
                shown.points, shown.sent = shown.points.thinned(most), None

    def _add(self, name: str, shown: _Shown) -> None:
        camera, choice = shown.camera, self._panel.choice()
        shown.root = self.server.scene.add_frame(
            name,
            show_axes=False,
            wxyz=quaternion_from_rotation(camera.world_from_camera[:3, :3]),
            position=camera.center,
        )
        shown.frustum = self.server.scene.add_camera_frustum(
            f"{name}/camera",
            fov=vertical_angle(camera),
            aspect=camera.width / camera.height,
            scale=_FRUSTUM * (self._unit or 1.0) * choice.camera_size,
            color=_GRAY,
            thickness=_LINE,
            thickness_units="screen",
            image=shown.thumbnail,
            format="jpeg",
            jpeg_quality=75,
            visible=choice.cameras,
        )
        # the points follow in the viewer's thread
        self._applied = None

    def _remove(self, shown: _Shown) -> None:
        if shown.root is not None:
            shown.root.remove()

    # following the panel

    def _work(self) -> None:
        next_tick = 0.0
        while not self._closed.is_set():
            choice = self._panel.choice()
            left = next_tick - time.monotonic() if choice.playing else 1.0
            if left > 0:
                self._wake.wait(left)
            self._wake.clear()
            if self._closed.is_set():
                return
            with self._lock:
                choice = self._moved(self._panel.choice(), time.monotonic() >= next_tick)
                if choice.playing and time.monotonic() >= next_tick:
                    next_tick = time.monotonic() + 1.0 / choice.rate
                self._apply(choice)

    def _moved(self, choice: Choice, is_tick: bool) -> Choice:
        """The choice after the player or the newest frame has moved the slider."""
        count = len(self._timeline())
        place = min(choice.place, max(count - 1, 0))
        if choice.playing:
            place = (place + is_tick) % max(count, 1)
        elif choice.follows:
            place = max(count - 1, 0)
        self._panel.set_place(place)
        return replace(choice, place=place)

    def _apply(self, choice: Choice) -> None:
        timeline = self._timeline()
        current = timeline[choice.place] if timeline else None
        where = "" if current is None else f"frame {current.index} of {self._count}"
        self._panel.set_status(f"**{self._title}** – {where or 'no frame yet'}\n\n{self._words}")
        if choice == self._applied:
            return
        for shown in timeline:
            self._apply_to(shown, choice, is_current=shown is current)
        self._applied = choice

    def _apply_to(self, shown: _Shown, choice: Choice, *, is_current: bool) -> None:
        visible = choice.all_frames or is_current
        size = self._point_unit * choice.point_size
        wanted = choice.threshold, choice.moving
        if visible and shown.sent != wanted:
            chosen = shown.points.above(choice.threshold, moving=choice.moving)
            shown.cloud = self.server.scene.add_point_cloud(
                f"{shown.root.name}/points",
                chosen.positions,
                chosen.colors,
                point_size=size,
                point_shape="circle",
                point_shading="flat",
            )
            shown.sent = wanted
        if shown.cloud is not None:
            _set(shown.cloud, "visible", visible)
            if visible:
                _set(shown.cloud, "point_size", size)
        _set(shown.frustum, "visible", choice.cameras)
        _set(shown.frustum, "scale", _FRUSTUM * (self._unit or 1.0) * choice.camera_size)
        if shown.is_current != is_current:
            shown.frustum.color = _ACCENT if is_current else _GRAY
            shown.is_current = is_current

    def _view_from_frame(self, client: "viser.ClientHandle") -> None:
        with self._lock:
            timeline = self._timeline()
            if not timeline:
                return
            camera = timeline[min(self._panel.choice().place, len(timeline) - 1)].camera
        self._panel.hide_cameras()  # this one and those near it would stand in the way
        rotation = camera.world_from_camera[:3, :3]
        with client.atomic():
            client.camera.fov = vertical_angle(camera)
            client.camera.up_direction = -rotation[:, 1]
            client.camera.position = camera.center
            client.camera.look_at = camera.center + (self._unit or 1.0) * rotation[:, 2]

    # queries

    def _ask(self, client: "viser.ClientHandle") -> None:
        self._asked = client

    def answer_with(self, query: Query) -> None:
        """Adds the button "Query from the current view", which `query` answers."""
        self._query = query
        self._panel.add_query(self._ask, self._clear_queries)

    def answer_queries(self) -> None:
        """Answers the last click on the button, if there was one, in the calling thread: that of the predictor."""
        client, self._asked = self._asked, None
        if client is None or self._query is None:
            return
        with self._lock:
            timeline = self._timeline()
        if not timeline:
            return
        # networks take sides that are multiples of their patches
        width, height = (max(16, side // 16 * 16) for side in (timeline[-1].camera.width, timeline[-1].camera.height))
        view = client.camera
        camera = camera_of_view(view.wxyz, view.position, view.fov, width, height)
        try:
            found = self._query(camera)
        except InputError as error:
            client.add_notification("No answer", str(error), color="red")
            return
        with self._lock:
            self._show_answer(camera, found)

    def _show_answer(self, camera: Camera, found: QueriedView) -> None:
        name = f"/queries/{self._answered % _QUERIES}"
        self._answered += 1
        chosen = found.confidence >= self._panel.choice().threshold
        wxyz = quaternion_from_rotation(camera.world_from_camera[:3, :3])
        root = self.server.scene.add_frame(name, show_axes=False)
        self.server.scene.add_point_cloud(
            f"{name}/points",
            found.positions[chosen].astype(np.float32),
            found.colors[chosen],
            point_size=self._point_unit * self._panel.choice().point_size,
            point_shape="circle",
            point_shading="flat",
            precision="float32",
        )
        self.server.scene.add_camera_frustum(
            f"{name}/camera",
            fov=vertical_angle(camera),
            aspect=camera.width / camera.height,
            scale=_FRUSTUM * (self._unit or 1.0),
            color=_BLUE,
            thickness=_LINE,
            thickness_units="screen",
            wxyz=wxyz,
            position=camera.center,
        )
        self._answers = [*(item for item in self._answers if item.name != name), root]

    def _clear_queries(self) -> None:
        with self._lock:
            for root in self._answers:
                root.remove()
            self._answers = []

    def wait(self) -> None:
        """Answers queries until Ctrl-C, which ends it without an exception."""
        try:
            while not self._closed.wait(0.1):
                self.answer_queries()
        except KeyboardInterrupt:
            return


def _set(handle: Any, name: str, value: Any) -> None:
    """Sends a property only when it changes."""
    if getattr(handle, name) != value:
        setattr(handle, name, value)


def _reset_up(client: "viser.ClientHandle") -> None:
    rotation = camera_of_view(client.camera.wxyz, client.camera.position, 1.0, 2, 2).world_from_camera[:3, :3]
    client.camera.up_direction = -rotation[:, 1]
