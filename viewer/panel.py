"""The panel of controls beside the picture, and what it says at a moment."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import viser  # pyright: ignore[reportMissingImports]

_ALL, _CURRENT = "all frames", "current frame"


@dataclass(frozen=True)
class Choice:
    """What is to be shown. `place` counts the frames that are kept, in their order."""

    place: int
    all_frames: bool
    threshold: float
    moving: bool
    #: in multiples of the size at which the points of the first frame touch
    point_size: float
    cameras: bool
    camera_size: float
    playing: bool
    rate: float
    follows: bool


class Panel:
    """The controls of one server, shared by all browsers. `changed` is called after every change by a person."""

    def __init__(
        self,
        server: "viser.ViserServer",
        *,
        live: bool,
        changed: Callable[[], None],
        reset_up: Callable[["viser.ClientHandle"], None],
        view_from_frame: Callable[["viser.ClientHandle"], None],
    ) -> None:
        self._server = server
        gui = server.gui
        self._status = gui.add_markdown("")
        with gui.add_folder("Time"):
            self._place = gui.add_slider("Frame", min=0, max=1, step=1, initial_value=0)
            self._shown = gui.add_dropdown(
                "Points of", (_ALL, _CURRENT), initial_value=_ALL, hint="the current frame alone, or all frames"
            )
            self._playing = gui.add_checkbox("Playing", False)
            self._rate = gui.add_slider("Frames per second", min=1, max=30, step=1, initial_value=10)
            self._follows = gui.add_checkbox("Follow the newest frame", live, visible=live)
        with gui.add_folder("Points"):
            self._threshold = gui.add_slider(
                "Confidence at least", min=0.0, max=1.0, step=0.01, initial_value=0.0, hint="0 shows all known depth"
            )
            self._moving = gui.add_checkbox("Moving things", True, hint="where motion masks are known")
            self._point_size = gui.add_slider("Point size", min=0.1, max=4.0, step=0.1, initial_value=0.6)
        with gui.add_folder("Cameras"):
            self._cameras = gui.add_checkbox("Show cameras", True)
            self._camera_size = gui.add_slider("Camera size", min=0.2, max=4.0, step=0.1, initial_value=1.0)
            look = gui.add_button("View from the current frame")
            up = gui.add_button("Reset up", hint="what is up in the window becomes up in the scene")
        look.on_click(_for_client(view_from_frame))
        up.on_click(_for_client(reset_up))

        def place_chosen(event: "viser.GuiEvent") -> None:
            if event.client is not None:  # a person, not the player
                self._follows.value = False
                changed()

        self._place.on_update(place_chosen)
        for control in (self._shown, self._playing, self._rate, self._follows, self._threshold, self._point_size):
            control.on_update(lambda event: changed())
        for control in (self._moving, self._cameras, self._camera_size):
            control.on_update(lambda event: changed())

    def add_query(self, ask: Callable[["viser.ClientHandle"], None], clear: Callable[[], None]) -> None:
        """Adds the buttons of a predictor that answers for views which it was given no image of."""
        with self._server.gui.add_folder("Unseen views"):
            button = self._server.gui.add_button(
                "Query from the current view", hint="adds what the predictor believes is to be seen from here"
            )
            clearing = self._server.gui.add_button("Clear the queried points")
        button.on_click(_for_client(ask))
        clearing.on_click(lambda event: clear())

    def choice(self) -> Choice:
        """What the controls say now."""
        return Choice(
            place=int(self._place.value),
            all_frames=self._shown.value == _ALL,
            threshold=float(self._threshold.value),
            moving=bool(self._moving.value),
            point_size=float(self._point_size.value),
            cameras=bool(self._cameras.value),
            camera_size=float(self._camera_size.value),
            playing=bool(self._playing.value),
            rate=float(self._rate.value),
            follows=bool(self._follows.value) and self._follows.visible,
        )

    def set_count(self, count: int) -> None:
        """How many frames are kept."""
        last = max(count - 1, 1)
        if self._place.max != last:
            self._place.max = last

    def set_place(self, place: int) -> None:
        """Moves the slider."""
        if int(self._place.value) != place:
            self._place.value = place

    def hide_cameras(self) -> None:
        """Switches them off, as a person could."""
        self._cameras.value = False

    def set_status(self, text: str) -> None:
        """The lines above the controls, as Markdown."""
        if self._status.content != text:
            self._status.content = text

    def end_of_stream(self) -> None:
        """There is no newest frame to follow any more."""
        self._follows.value = False
        self._follows.visible = False


def _for_client(act: Callable[["viser.ClientHandle"], None]) -> Callable[["viser.GuiEvent"], None]:
    def clicked(event: "viser.GuiEvent") -> None:
        if event.client is not None:
            act(event.client)

    return clicked
