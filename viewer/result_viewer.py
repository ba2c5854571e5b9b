"""Runs, scenes and splats in the browser: timeline with a split picture, splats, points, cameras, paths, masks, files.

Callbacks of controls only note that something has changed; one thread of the viewer brings browsers up to date.
"""

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scene.camera import Camera
from scene.errors import InputError
from viewer.browser_viewer import BrowserViewer
from viewer.budget import Budget
from viewer.downloads import download, possible_formats
from viewer.mask_panel import Flow, MaskPanel, Paint
from viewer.measuring import MeasuringPanel
from viewer.path_panel import PathPanel
from viewer.pictures import COLORINGS, Coloring, colored_frame, possible_colorings, split_picture
from viewer.result import Result, placed, placed_gaussians, window_frame
from viewer.result_nodes import Look, ResultNodes, WhichPoints
from viewer.server import PlaceOptions, open_server
from viewer.view_camera import camera_of_view, vertical_angle

if TYPE_CHECKING:
    import viser  # pyright: ignore[reportMissingImports]

    from scene.gaussians import Gaussians

_STATIC = "static render"
_POINTS: tuple[WhichPoints, ...] = ("none", "current frame", "all frames")
#: width of the picture beside the scene
_PICTURE = 480


class ResultViewer(BrowserViewer):
    """A context manager. `flow` grows strokes of the mask brush, `paint` is told of them. Raises `InputError` as
    `open_server` does, and names `options` in it."""

    def __init__(
        self,
        results: Sequence[Result],
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        flow: Flow | None = None,
        paint: Paint | None = None,
        budget: Budget | None = None,
        options: PlaceOptions = ("--host", "--port"),
    ) -> None:
        names = _distinct([result.name for result in results])
        self.server = open_server(host, port, ", ".join(names), options=options)
        self._lock = threading.RLock()
        self._wake, self._closed = threading.Event(), threading.Event()
        self._renderers: dict[int, Any] = {}
        self._drawn: tuple[Any, ...] | None = None
        self._note = ""
        #: as they were given, for files, and (`nodes`) as they are shown
        self._given = dict(zip(names, results, strict=True))
        self._world_from_window = window_frame(results[0])
        results = [placed(result, self._world_from_window.inverse()) for result in results]
        first = results[0]
        rotation = first.cameras[0].world_from_camera[:3, :3]
        self.server.scene.set_up_direction(tuple(-rotation[:, 1]))
        self.nodes = {
            name: ResultNodes(self.server, result, f"/results/{index}", budget=budget)
            for index, (name, result) in enumerate(zip(names, results, strict=True))
        }
        self._right = rotation[:, 0]
        self._unit = next(iter(self.nodes.values())).depth
        self._add_controls(names, flow, paint)
        self._begin_at(first.cameras[0])
        self._update()
        self._worker = threading.Thread(target=self._work, name="viewer", daemon=True)
        self._worker.start()

    def _add_controls(self, names: list[str], flow: Flow | None, paint: Paint | None) -> None:
        gui = self.server.gui
        several, current = len(names) > 1, self.nodes[names[0]].result
        self._status = gui.add_markdown("")
        self._chosen = gui.add_dropdown("Result", tuple(names), initial_value=names[0], visible=several)
        self._beside = gui.add_checkbox("Side by side", several, visible=several)
        self._gap = gui.add_slider("Gap", min=0.2, max=4.0, step=0.1, initial_value=1.2, visible=several)
        with gui.add_folder("Timeline"):
            self.picture = gui.add_image(np.zeros((2, 2, 3), np.uint8), format="jpeg", jpeg_quality=85)
            self._split = gui.add_slider("Split", min=0.0, max=1.0, step=0.01, initial_value=0.5)
            self._frame = gui.add_slider("Frame", min=0, max=1, step=1, initial_value=0)
            self._left = gui.add_dropdown("Left", COLORINGS, initial_value="image")
            self._other = gui.add_dropdown("Right", (_STATIC, *COLORINGS), initial_value=_STATIC)
            self._playing = gui.add_checkbox("Playing", False)
            self._rate = gui.add_slider("Frames per second", min=1, max=30, step=1, initial_value=10)
        tabs = gui.add_tab_group()
        with tabs.add_tab("Look"):
            self._splats = gui.add_checkbox("Splats", current.gaussians is not None)
            start = "none" if current.gaussians is not None else "all frames"
            self._points = gui.add_dropdown("Points of", _POINTS, initial_value=start)
            self._coloring = gui.add_dropdown("Color of points", COLORINGS, initial_value="image")
            self._threshold = gui.add_slider("Confidence at least", min=0.0, max=1.0, step=0.01, initial_value=0.0)
            self._point_size = gui.add_slider("Point size", min=0.1, max=4.0, step=0.1, initial_value=0.6)
            self._cameras = gui.add_checkbox("Cameras", True)
            self._camera_size = gui.add_slider("Camera size", min=0.2, max=4.0, step=0.1, initial_value=1.0)
            look = gui.add_button("View from the current frame")
            up = gui.add_button("Reset up", hint="what is up in the window becomes up in the scene")
        with tabs.add_tab("Path"):
            self.path = PathPanel(self.server, gaussians=self._filmed, unit=self._unit)
        with tabs.add_tab("Measure"):
            scale = self._world_from_window.scale
            self.measuring = MeasuringPanel(self.server, points=self._pickable, unit=self._unit, scale=scale)
        with tabs.add_tab("Masks"):
            self.masks = MaskPanel(
                self.server, look_from=self._look_at_board, changed=self._wake.set, flow=flow, paint=paint
            )
        with tabs.add_tab("Files"):
            self._format = gui.add_dropdown("Format", tuple(possible_formats(current)))
            self._about = gui.add_markdown("")
            files = gui.add_button("Download")
        look.on_click(lambda event: self._view_from_frame(event.client))
        up.on_click(lambda event: _reset_up(event.client))
        files.on_click(lambda event: self._download(event.client))
        self._chosen.on_update(lambda event: self._choose())
        for control in (
            *(self._beside, self._gap, self._split, self._frame, self._left, self._other, self._playing, self._rate),
            *(self._splats, self._points, self._coloring, self._threshold, self._point_size, self._cameras),
            *(self._camera_size, self._format),
        ):
            control.on_update(lambda event: self._wake.set())
        self._choose()

    def wait(self) -> None:
        """Stays until Ctrl-C, which ends it without an exception."""
        try:
            while not self._closed.wait(0.5):
                pass
        except KeyboardInterrupt:
            return

    def show_splats(self, gaussians: "Gaussians", words: str = "") -> None:
        """Shows other Gaussians of the first result, all of them finite, for example while they are optimized. `words`
        stand in the panel. May be called from any thread."""
        with self._lock:
            shown = placed_gaussians(gaussians, self._world_from_window.inverse())
            next(iter(self.nodes.values())).show_splats(shown)
            self._renderers.clear()
            self._drawn, self._note = None, words
        self._wake.set()

    @property
    def current(self) -> ResultNodes:
        """The result that the timeline and the tabs are about."""
        return self.nodes[self._chosen.value]

    # following the controls

    def _choose(self) -> None:
        """Fits the controls to another result."""
        result = self.current.result
        self._frame.max = max(len(result.cameras) - 1, 1)
        self._frame.value = min(int(self._frame.value), len(result.cameras) - 1)
        colorings = () if result.scene is None else possible_colorings(result.scene)
        static = (_STATIC,) if result.renders or result.gaussians is not None else ()
        choices: list[tuple[Any, tuple[str, ...]]] = [
            (self._left, colorings or static),
            (self._other, (*static, *colorings)),
            (self._coloring, colorings or ("image",)),
            (self._format, tuple(possible_formats(result))),
        ]
        for control, options in choices:
            kept = control.value
            control.options = options
            control.value = kept if kept in options else options[0]
        for control in (self._points, self._coloring, self._threshold, self._point_size):
            control.visible = result.scene is not None and result.scene.z_depths is not None
        self._splats.visible = result.gaussians is not None
        self._wake.set()

    def _work(self) -> None:
        tick = 0.0
        while not self._closed.is_set():
            playing = bool(self._playing.value)
            left = tick - time.monotonic() if playing else 1.0
            if left > 0:
                self._wake.wait(left)
            self._wake.clear()
            if self._closed.is_set():
                return
            if playing and time.monotonic() >= tick:
                tick = time.monotonic() + 1.0 / float(self._rate.value)
                count = len(self.current.result.cameras)
                self._frame.value = (int(self._frame.value) + 1) % count
            try:
                self._update()
            except InputError as error:  # a file that vanished or is damaged
                self._status.content = f"**{error}**"
                self._playing.value = False

    def _update(self) -> None:
        with self._lock:
            current, painting = self.current, self.masks.painting
            frame = min(int(self._frame.value), len(current.result.cameras) - 1)
            self.masks.choose(current, frame)
            for place, nodes in enumerate(self.nodes.values()):
                nodes.show(self._look(nodes, place, frame, painting))
            self._draw(current, frame)
            self._about.content = possible_formats(current.result)[self._format.value]
            self._status.content = self._words(current, frame)

    def _look(self, nodes: ResultNodes, place: int, frame: int, painting: bool) -> Look:
        beside = bool(self._beside.value)
        shift = self._right * (place * float(self._gap.value) * self._unit if beside else 0.0)
        is_current = nodes is self.current
        return Look(
            visible=is_current or (beside and not painting),
            shift=(float(shift[0]), float(shift[1]), float(shift[2])),
            frame=frame,
            splats=bool(self._splats.value) and not painting,
            points="none" if painting else self._points.value,
            coloring=self._coloring.value,
            threshold=float(self._threshold.value),
            point_size=float(self._point_size.value),
            cameras=bool(self._cameras.value) and not painting,
            camera_size=float(self._camera_size.value),
        )

    def _words(self, current: ResultNodes, frame: int) -> str:
        result = current.result
        words = [f"**{self._chosen.value}** – frame {frame} of {len(result.cameras)}"]
        if result.gaussians is not None:
            words.append(f"{len(result.gaussians):,} Gaussians")
        if result.broken:
            words.append(f"{result.broken:,} that are not finite are left out")
        return ", ".join([*words, self._note] if self._note else words)

    # the picture

    def _draw(self, current: ResultNodes, frame: int) -> None:
        mask = self.masks.mask(current, frame)
        wanted = (current, frame, self._left.value, self._other.value, self._split.value, id(mask))
        if wanted == self._drawn:
            return
        left, right = (self._side(current, frame, control.value, mask) for control in (self._left, self._other))
        self.picture.image = split_picture(left, right, float(self._split.value), _PICTURE)
        self._drawn = wanted

    def _side(self, current: ResultNodes, frame: int, what: str, mask: np.ndarray | None) -> np.ndarray:
        result = current.result
        if what != _STATIC and result.scene is not None:
            coloring: Coloring = what  # type: ignore[assignment]
            return colored_frame(result.scene, frame, coloring, mask)
        image = result.static_image(frame)
        if image is not None:
            return image
        rendered = self._renderer(current).render(result.cameras[frame]).image
        return np.rint(rendered * 255).astype(np.uint8)

    def _renderer(self, nodes: ResultNodes) -> Any:
        from scene.splat_rendering import Renderer

        if id(nodes) not in self._renderers:
            assert nodes.result.gaussians is not None
            self._renderers = {id(nodes): Renderer(nodes.result.gaussians)}
        return self._renderers[id(nodes)]

    # what the tabs need

    def _filmed(self) -> tuple[Any, np.ndarray]:
        return self.current.result.gaussians, self.current.shift

    def _pickable(self) -> np.ndarray:
        with self._lock:
            beside = bool(self._beside.value)
            shown = [nodes for nodes in self.nodes.values() if beside or nodes is self.current]
            return np.concatenate([nodes.pickable() + nodes.shift for nodes in shown])

    def _download(self, client: "viser.ClientHandle | None") -> None:
        if client is None:
            return
        try:
            name, content = download(self._given[self._chosen.value], self._format.value)
        except InputError as error:
            client.add_notification("No file", str(error), color="red")
            return
        client.send_file_download(name, content)

    # views

    def _begin_at(self, camera: Camera) -> None:
        rotation = camera.world_from_camera[:3, :3]
        start = self.server.initial_camera
        start.position = camera.center - 0.25 * self._unit * rotation[:, 2] - 0.05 * self._unit * rotation[:, 1]
        start.look_at = camera.center + self._unit * rotation[:, 2]
        start.near, start.far = 0.01 * self._unit, 1000.0 * self._unit

    def _view_from_frame(self, client: "viser.ClientHandle | None") -> None:
        if client is None:
            return
        self._cameras.value = False  # this one and those near it would stand in the way
        self._look_from(client, self.current.result.cameras[int(self._frame.value)])

    def _look_at_board(self, client: "viser.ClientHandle", camera: Camera) -> None:
        # from a step behind the camera, so that the whole frame is seen beside the panel
        step = camera.world_from_camera.copy()
        step[:3, 3] -= 0.2 * self.current.depth * step[:3, 2]
        self._look_from(client, camera.moved(step))

    def _look_from(self, client: "viser.ClientHandle", camera: Camera) -> None:
        rotation, center = camera.world_from_camera[:3, :3], camera.center + self.current.shift
        with client.atomic():
            client.camera.fov = vertical_angle(camera)
            client.camera.up_direction = -rotation[:, 1]
            client.camera.position = center
            client.camera.look_at = center + self.current.depth * rotation[:, 2]


def _reset_up(client: "viser.ClientHandle | None") -> None:
    if client is not None:
        view = client.camera
        client.camera.up_direction = -camera_of_view(view.wxyz, view.position, 1.0, 2, 2).world_from_camera[:3, 1]


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, numbered where two are the same."""
    distinct: list[str] = []
    for name in names:
        number, free = 2, name
        while free in distinct:
            number, free = number + 1, f"{name} ({number})"
        distinct.append(free)
    return distinct
