"""The mask brush in the browser: the frame stands in front of its camera, and strokes on it are painted or erased."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from scene.camera import Camera
from scene.errors import InputError
from scene.frames import Frames
from scene.mask_brush import Displacement, stroke_region
from scene.mask_edits import MaskChange, MaskEdits
from scene.rotations import quaternion_from_rotation
from viewer.picking import pixel_of_ray
from viewer.pictures import painted_over
from viewer.result_nodes import ResultNodes

if TYPE_CHECKING:
    import viser  # pyright: ignore[reportMissingImports]

#: from frames to the optical flow between them
Flow = Callable[[Frames], Displacement]
#: takes a frame, a region of it, and whether it moves; raises `InputError` when it is too late
Paint = Callable[[int, np.ndarray, bool | None], None]

#: distance of the picture from its camera, relative to the depth of the scene
_DISTANCE = 0.5
_PAINT, _ERASE = "paint (moves)", "erase (static)"


class MaskPanel:
    """Controls of the brush for one result at a time. `changed` is called when painting begins or ends and when masks
    changed. `paint` is told of every change, for an optimization that follows it and keeps it; without it, masks are
    saved in the scene by a button."""

    def __init__(
        self,
        server: "viser.ViserServer",
        *,
        look_from: "Callable[[viser.ClientHandle, Camera], None]",
        changed: Callable[[], None],
        flow: Flow | None = None,
        paint: Paint | None = None,
    ) -> None:
        self._server, self._look_from, self._changed = server, look_from, changed
        self._flow, self._paint = flow, paint
        self._nodes: ResultNodes | None = None
        self._edits: dict[int, MaskEdits] = {}
        self._board: Any = None
        self._frame = 0
        self._stroke: list[np.ndarray] = []
        gui = server.gui
        self._text = gui.add_markdown("")
        self._begin = gui.add_button("Paint on the current frame")
        self._end = gui.add_button("Leave painting", visible=False)
        self._mode = gui.add_dropdown("Brush", (_PAINT, _ERASE), initial_value=_PAINT)
        self._radius = gui.add_slider("Radius in pixels", min=1, max=80, step=1, initial_value=12)
        undo = gui.add_button("Undo")
        self._reach = gui.add_slider("Frames to grow to", min=1, max=30, step=1, initial_value=5)
        grow = gui.add_button("Grow the last stroke", hint="along optical flow, to the frames before and after")
        hint = "into the scene, all changed frames or none"
        save = gui.add_button("Save the masks", hint=hint, visible=paint is None)
        self._begin.on_click(lambda event: self._start(event.client))
        self._end.on_click(lambda event: self.stop())
        undo.on_click(lambda event: self._try(event.client, self.undo))
        grow.on_click(lambda event: self._try(event.client, self.grow))
        save.on_click(lambda event: self._try(event.client, self.save))

    @property
    def painting(self) -> bool:
        """Whether a frame is being painted on."""
        return self._board is not None

    def choose(self, nodes: ResultNodes, frame: int) -> None:
        """The result and the frame that are worked on."""
        moved = nodes is not self._nodes or frame != self._frame
        self._nodes, self._frame = nodes, frame
        if moved and self.painting:
            self._show_board()
        self._say()

    def edits(self) -> MaskEdits:
        """The changes of the current result. Raises `InputError` for one without frames."""
        if self._nodes is None or self._nodes.result.scene is None:
            raise InputError("This result has no frames to paint on; open a run or a scene.")
        return self._edits.setdefault(id(self._nodes), MaskEdits(self._nodes.result.scene))

    def mask(self, nodes: ResultNodes, frame: int) -> np.ndarray | None:
        """The mask of a frame with unsaved changes; None where nothing was changed."""
        edits = self._edits.get(id(nodes))
        return edits.mask(frame) if edits is not None and frame in edits.frames else None

    def _start(self, client: "viser.ClientHandle | None") -> None:
        def start() -> str:
            self.start()
            if client is not None and self._nodes is not None:
                self._look_from(client, self._nodes.result.cameras[self._frame])
            return ""

        self._try(client, start)

    def start(self) -> None:
        """Puts the current frame up for painting. Raises `InputError` for a result without frames."""
        self.edits()
        self._show_board()
        self._begin.visible, self._end.visible = False, True
        self._changed()

    def stop(self) -> None:
        """Takes the frame away; changes stay."""
        if self._board is not None:
            self._board.remove()
            self._board = None
        self._begin.visible, self._end.visible = True, False
        self._changed()

    def _show_board(self) -> None:
        assert self._nodes is not None
        if self._board is not None:
            self._board.remove()
        camera, away = self._nodes.result.cameras[self._frame], self._away()
        middle = np.array(
            [(camera.width / 2 - camera.cx) / camera.fx, (camera.height / 2 - camera.cy) / camera.fy, 1.0]
        )
        rotation = camera.world_from_camera[:3, :3]
        self._board = self._server.scene.add_image(
            f"{self._nodes.name}/board",
            self._picture(),
            render_width=camera.width / camera.fx * away,
            render_height=camera.height / camera.fy * away,
            format="jpeg",
            cast_shadow=False,
            receive_shadow=False,
            wxyz=quaternion_from_rotation(rotation),
            position=camera.center + rotation @ (middle * away),
        )
        self._board.on_drag("left")(self._dragged)
        self._board.on_click(self._clicked)

    def _away(self) -> float:
        assert self._nodes is not None
        return _DISTANCE * self._nodes.depth

    def _picture(self) -> np.ndarray:
        assert self._nodes is not None and self._nodes.result.scene is not None
        return painted_over(self._nodes.result.scene.frames.rgb8(self._frame), self.edits().mask(self._frame))

    def _pixel(self, origin: Any, direction: Any) -> np.ndarray | None:
        assert self._nodes is not None
        origin = np.asarray(origin, np.float64) - self._nodes.shift
        return pixel_of_ray(self._nodes.result.cameras[self._frame], origin, np.asarray(direction), self._away())

    def _clicked(self, event: Any) -> None:
        pixel = self._pixel(event.ray_origin, event.ray_direction)
        if pixel is not None:
            self._try(event.client, lambda: self.stroke(pixel[None]))

    def _dragged(self, event: Any) -> None:
        eye = np.asarray(event.client.camera.position, np.float64)
        if event.phase == "start":
            self._stroke = []
            pixel = self._pixel(eye, np.asarray(event.start_position) - eye)
            self._stroke += [] if pixel is None else [pixel]
        pixel = self._pixel(eye, np.asarray(event.end_position) - eye)
        self._stroke += [] if pixel is None else [pixel]
        if event.phase == "end":
            points, self._stroke = np.array(self._stroke), []
            if len(points):
                self._try(event.client, lambda: self.stroke(points))

    def stroke(self, points: np.ndarray) -> str:
        """Paints or erases along `points` (N, 2), pixels (x, y) of the current frame."""
        edits = self.edits()
        region = stroke_region(edits.mask(self._frame).shape, points, float(self._radius.value))
        self._follow(edits.apply({self._frame: region}, moves=self._mode.value == _PAINT))
        return ""

    def undo(self) -> str:
        """Takes the last change back."""
        changes = self.edits().undo()
        self._follow(changes)
        return "" if changes else "There is nothing to undo."

    def grow(self) -> str:
        """Carries the last change along the optical flow; returns in words to which frames."""
        edits = self.edits()
        if self._flow is None:
            raise InputError("There is no optical flow to grow along.")
        assert self._nodes is not None and self._nodes.result.scene is not None
        changes = edits.grow(self._flow(self._nodes.result.scene.frames), int(self._reach.value))
        self._follow(changes)
        return f"Carried to {len(changes)} frames." if changes else "It is found in no other frame."

    def save(self) -> str:
        """Writes the masks into the scene; returns what was written in words."""
        edits = self.edits()
        assert self._nodes is not None
        folder = self._nodes.result.scene_folder
        if folder is None:
            raise InputError("This scene is of another program's layout; masks can be saved only in ours.")
        frames = edits.save(folder)
        self._nodes.forget_points("motion")
        self._refresh()
        return f"Saved {len(frames)} masks in {folder / 'motion_masks'}." if frames else "Nothing has changed."

    def _follow(self, changes: list[MaskChange]) -> None:
        if self._paint is not None:
            for frame, region, moves in changes:
                self._paint(frame, region, moves)
        self._refresh()

    def _refresh(self) -> None:
        if self._board is not None:
            self._board.image = self._picture()
        self._say()
        self._changed()

    def _say(self) -> None:
        edits = None if self._nodes is None else self._edits.get(id(self._nodes))
        changed = [] if edits is None else edits.frames
        words = "Drag over the frame to paint, click for a dot." if self.painting else "Mend what moves by hand."
        if changed and self._paint is not None:
            words += f" The optimization follows in {len(changed)} frame{'' if len(changed) == 1 else 's'}."
        elif changed:
            words += f" Not saved yet: {len(changed)} frame{'' if len(changed) == 1 else 's'}."
        if self._text.content != words:
            self._text.content = words

    def _try(self, client: "viser.ClientHandle | None", act: Callable[[], str]) -> None:
        try:
            words = act()
        except InputError as error:
            if client is not None:
                client.add_notification("Masks", str(error), color="red")
            return
        if words and client is not None:
            client.add_notification("Masks", words, auto_close_seconds=8)
