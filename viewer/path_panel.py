"""A camera path of one's own: key frames at the view of the window, a smooth path through them, and its video."""

import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scene.camera import Camera
from scene.camera_path import interpolated_path
from scene.errors import InputError
from scene.rotations import quaternion_from_rotation
from scene.video import write_video
from viewer.view_camera import camera_of_view, vertical_angle

if TYPE_CHECKING:
    import viser  # pyright: ignore[reportMissingImports]

    from scene.gaussians import Gaussians

_COLOR = (59, 125, 217)
_RATE = 30
#: video sizes by name
_HEIGHTS = {"480 lines": 480, "720 lines": 720, "1080 lines": 1080}


def path_through(keys: list[Camera], seconds: float) -> list[Camera]:
    """A camera for each image of a video of `seconds`, smoothly through all `keys`. Raises `InputError` for fewer than
    two keys."""
    if len(keys) < 2:
        raise InputError("A path needs two key frames or more; move the view and add another one.")
    return interpolated_path(keys, max(2, round(seconds * _RATE)), smoothing=0.0)


class PathPanel:
    """Controls of the path. `gaussians`: those that are filmed, with their shift in the common world."""

    def __init__(
        self,
        server: "viser.ViserServer",
        *,
        gaussians: "Callable[[], tuple[Gaussians | None, np.ndarray]]",
        unit: float,
    ) -> None:
        self._server, self._gaussians, self._unit = server, gaussians, unit
        self.keys: list[Camera] = []
        self._nodes: list[Any] = []
        self._playing = threading.Event()
        self._busy = threading.Lock()
        gui = server.gui
        self._text = gui.add_markdown("No key frames yet: move the view, then add it.")
        add = gui.add_button("Add the view as a key frame")
        remove = gui.add_button("Remove the last key frame")
        self._seconds = gui.add_slider("Seconds", min=1, max=60, step=1, initial_value=6)
        play = gui.add_button("Play the path")
        stop = gui.add_button("Stop")
        self._size = gui.add_dropdown("Video size", tuple(_HEIGHTS), initial_value="480 lines")
        export = gui.add_button("Export the video", hint="rendered by Stillsplat itself, then downloaded")
        self._bar = gui.add_progress_bar(0.0, visible=False)
        add.on_click(lambda event: self._add(event.client))
        remove.on_click(lambda event: self.remove_last())
        play.on_click(lambda event: self._play(event.client))
        stop.on_click(lambda event: self._playing.clear())
        export.on_click(lambda event: self._export(event.client))

    def _add(self, client: "viser.ClientHandle | None") -> None:
        if client is not None:
            self.add_view(client.camera)

    def add_view(self, view: Any) -> None:
        """Adds the view of a window, with its aspect, as a key frame."""
        height = _HEIGHTS[self._size.value]
        width = round(height * float(view.aspect) / 2) * 2
        self.keys.append(camera_of_view(view.wxyz, view.position, view.fov, width, height))
        self._show()

    def remove_last(self) -> None:
        """Takes the last key frame back."""
        self.keys = self.keys[:-1]
        self._show()

    def _show(self) -> None:
        for node in self._nodes:
            node.remove()
        self._nodes = []
        for index, key in enumerate(self.keys):
            self._nodes.append(
                self._server.scene.add_camera_frustum(
                    f"/path/{index}",
                    fov=vertical_angle(key),
                    aspect=key.width / key.height,
                    scale=0.05 * self._unit,
                    color=_COLOR,
                    thickness=2.0,
                    thickness_units="screen",
                    wxyz=quaternion_from_rotation(key.world_from_camera[:3, :3]),
                    position=key.center,
                )
            )
        if len(self.keys) > 1:
            centers = np.array([camera.center for camera in path_through(self.keys, 3.0)], np.float32)
            lines = np.stack([centers[:-1], centers[1:]], axis=1)
            self._nodes.append(
                self._server.scene.add_line_segments(
                    "/path/line", lines, np.array(_COLOR, np.uint8), thickness=2.0, thickness_units="screen"
                )
            )
        count = len(self.keys)
        self._text.content = f"{count} key frame{'' if count == 1 else 's'}; the path goes through them in this order."

    def _play(self, client: "viser.ClientHandle | None") -> None:
        if client is None or self._playing.is_set():
            return
        try:
            path = path_through(self.keys, float(self._seconds.value))
        except InputError as error:
            client.add_notification("No path", str(error), color="red")
            return
        self._hide(True)
        self._playing.set()
        begin = time.monotonic()
        while self._playing.is_set() and client.client_id in self._server.get_clients():
            place = int((time.monotonic() - begin) * _RATE)
            if place >= len(path):
                break
            rotation = path[place].world_from_camera[:3, :3]
            with client.atomic():
                client.camera.up_direction = -rotation[:, 1]
                client.camera.position = path[place].center
                client.camera.look_at = path[place].center + self._unit * rotation[:, 2]
            time.sleep(1.0 / _RATE)
        self._playing.clear()
        self._hide(False)

    def _hide(self, hidden: bool) -> None:
        for node in self._nodes:
            node.visible = not hidden

    def _export(self, client: "viser.ClientHandle | None") -> None:
        if client is None:
            return
        try:
            content = self.video()
        except InputError as error:
            client.add_notification("No video", str(error), color="red")
            return
        client.send_file_download("path.mp4", content)

    def video(self) -> bytes:
        """The video of the path as the bytes of an MP4. Raises `InputError` without a path or without splats, and while
        another one is made."""
        from scene.splat_rendering import Renderer

        gaussians, shift = self._gaussians()
        if gaussians is None:
            raise InputError("This result has no splats to film; make them with stillsplat run.")
        path = path_through(self.keys, float(self._seconds.value))
        height = _HEIGHTS[self._size.value]
        width = round(height * path[0].width / path[0].height / 2) * 2
        if not self._busy.acquire(blocking=False):
            raise InputError("A video is being made already; wait for it.")
        try:
            self._bar.value, self._bar.visible = 0.0, True
            renderer = Renderer(gaussians)

            def images():  # type: ignore[no-untyped-def]
                for index, camera in enumerate(path):
                    pose = camera.world_from_camera.copy()
                    pose[:3, 3] -= shift
                    image = renderer.render(camera.moved(pose).resized(width, height)).image
                    yield np.rint(image * 255).astype(np.uint8)
                    self._bar.value = 100.0 * (index + 1) / len(path)

            with tempfile.TemporaryDirectory(prefix="stillsplat-") as folder:
                write_video(Path(folder) / "path.mp4", images(), _RATE)
                return (Path(folder) / "path.mp4").read_bytes()
        finally:
            self._bar.visible = False
            self._busy.release()
