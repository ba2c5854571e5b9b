"""The distance between two points that a person clicks on."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from viewer.picking import picked_point

if TYPE_CHECKING:
    import viser  # pyright: ignore[reportMissingImports]

_COLOR = (59, 125, 217)


class MeasuringPanel:
    """Controls for measuring. `points`: what can be hit, in the window; `unit`: size of the marks there; `scale`: scene
    units in a unit of the window."""

    def __init__(
        self, server: "viser.ViserServer", *, points: Callable[[], np.ndarray], unit: float, scale: float = 1.0
    ) -> None:
        self._server, self._points, self._unit, self._scale = server, points, unit, scale
        self._ends: list[np.ndarray] = []
        self._marks: list[Any] = []
        self._active = server.gui.add_checkbox("Measure", False, hint="click on two points of the scene")
        self.answer = server.gui.add_markdown("Switch measuring on, then click on two points.")
        clear = server.gui.add_button("Clear the measure")
        clear.on_click(lambda event: self.clear())
        self._active.on_update(lambda event: self._switch())

    def _switch(self) -> None:
        if self._active.value:
            self._server.scene.on_click()(self._clicked)
        else:
            self._server.scene.remove_click_callback(self._clicked)

    def _clicked(self, event: Any) -> None:
        self.pick(np.array(event.ray_origin), np.array(event.ray_direction))

    def pick(self, origin: np.ndarray, direction: np.ndarray) -> None:
        """Takes the point that a ray of the world hits as the first or the second end."""
        point = picked_point(origin, direction, self._points())
        if point is None:
            self.answer.content = "There is nothing under the click; click on the scene."
            return
        if len(self._ends) == 2:
            self.clear()
        self._ends.append(point)
        self._marks.append(
            self._server.scene.add_icosphere(
                f"/measure/{len(self._ends)}", radius=0.008 * self._unit, color=_COLOR, position=point
            )
        )
        if len(self._ends) < 2:
            self.answer.content = "Click on the second point."
            return
        first, second = self._ends
        distance = float(np.linalg.norm(second - first)) * self._scale
        line = np.stack([first, second])[None].astype(np.float32)
        self._marks.append(
            self._server.scene.add_line_segments(
                "/measure/line", line, np.array(_COLOR, np.uint8), thickness=3.0, thickness_units="screen"
            )
        )
        self._marks.append(
            self._server.scene.add_label("/measure/label", f"{distance:.4g}", position=(first + second) / 2)
        )
        self.answer.content = f"Distance: **{distance:.4g}** scene units."

    def clear(self) -> None:
        """Removes the measure."""
        for mark in self._marks:
            mark.remove()
        self._ends, self._marks = [], []
        self.answer.content = "Click on two points."
