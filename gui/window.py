"""The window, in Dear PyGui: draws what the controller has, and tells it what is clicked, dragged and typed."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dearpygui.dearpygui as dearpygui  # pyright: ignore[reportMissingImports]
import numpy as np

from gui.controller import VIEW_LIMITS, Controller
from gui.painter import DEPTH, IMAGE, MOTION, PICTURES, STATICNESS, VIEW
from gui.panels import ORANGE, MotionShown
from gui.plots import curve
from scene.interruption import interruption_noted

#: its type hints say that containers are numbers
dpg: Any = dearpygui

_FRAMES_PER_SECOND = 21
_WIDTH, _HEIGHT, _CONTROLS = 1440, 900, 285
_PLOT_HEIGHT, _WRAP = 290, 265
#: color behind everything
_BACKGROUND, _NOTHING = (37, 37, 38, 255), (0, 0, 0, 0)
#: seconds between two updates of plots and words
_SLOW = 0.5
_NAMES = {
    VIEW: "free view (static render)",
    IMAGE: "image",
    MOTION: "motion: orange predicted, blue annotated",
    STATICNESS: "learned static weight (white = static)",
    DEPTH: "rendered depth (bright = near)",
}
_BRUSHES = ("look", "paint", "erase")
_HELP = (
    "Drag: orbit. Right button, middle button, or Shift: pan. Wheel: zoom. "
    "Space: pause. S: step. Left, Right: frame. Home: camera of the frame. "
    "L, P, E: look, paint, erase. U: undo. F12: screenshot. Ctrl+Q: close, which saves. "
    "With paint or erase, drag on a picture of the frame."
)


class Window:
    """Opens with `run`, which returns when it is closed."""

    def __init__(self, controller: Controller, title: str) -> None:
        self._controller = controller
        self._title = title
        self._versions = dict.fromkeys(PICTURES, -1)
        #: the texture of each picture
        self._textures: dict[str, int | str] = {}
        self._pointer: tuple[str, float, float] | None = None
        self._size = 0, 0
        self._slow_at = 0.0
        self._redraws = 0
        self._speed_since, self._speed = time.monotonic(), 0.0

    def run(self) -> bool:
        """Shows the window until it is closed, or Ctrl-C is pressed in the terminal; returns whether it was that.
        Everything happens in this thread, which must be the main one."""
        # Mesa's software renderer, where there is no graphics card, else takes a thread of every core from the kernels
        os.environ.setdefault("LP_NUM_THREADS", "0")
        dpg.create_context()
        try:
            dpg.configure_app(manual_callback_management=True)
            dpg.create_viewport(
                title=self._title,
                width=_WIDTH,
                height=_HEIGHT,
                min_width=900,
                min_height=600,
                clear_color=_BACKGROUND,
            )
            self._build()
            dpg.setup_dearpygui()
            dpg.show_viewport()
            with interruption_noted() as interrupted:
                while dpg.is_dearpygui_running() and not interrupted.is_set():
                    self._redraw()
            return interrupted.is_set()
        finally:
            dpg.destroy_context()

    def _redraw(self) -> None:
        started = time.monotonic()
        for job in dpg.get_callback_queue() or ():
            callback, sender, value, data = (*job, None, None, None, None)[:4]
            if callback is not None:
                callback(sender, value, data)
        self._fill_viewport()
        self._follow_pointer()
        self._controller.tick(started)
        self._update_textures()
        if started - self._slow_at > _SLOW:
            self._slow_at = started
            self._update_words()
        dpg.render_dearpygui_frame()
        self._redraws += 1
        if started - self._speed_since > 2:
            self._speed = self._redraws / (started - self._speed_since)
            self._redraws, self._speed_since = 0, started
        time.sleep(max(0.0, 1 / _FRAMES_PER_SECOND - (time.monotonic() - started)))

    def _fill_viewport(self) -> None:
        size = dpg.get_viewport_client_width(), dpg.get_viewport_client_height()
        if size != self._size:
            self._size = size
            dpg.configure_item("main", width=size[0], height=size[1])

    # what there is

    def _build(self) -> None:
        controller = self._controller
        dpg.add_texture_registry(tag="textures")
        for name in PICTURES:
            self._textures[name] = _texture(np.zeros((2, 2, 3), np.uint8))
        # a primary window would be the simpler one, but it always has a background
        with dpg.window(
            tag="main",
            no_background=True,
            no_title_bar=True,
            no_move=True,
            no_resize=True,
            no_bring_to_front_on_focus=True,
            pos=(0, 0),
        ):
            with dpg.group(horizontal=True):
                with dpg.child_window(width=_CONTROLS, height=-1):
                    self._build_controls()
                with dpg.group():
                    dpg.add_text(_NAMES[VIEW], tag="large name")
                    self._add_image(VIEW, controller.view_size)
                    self._build_plots()
                with dpg.group():
                    for name in (IMAGE, MOTION, STATICNESS, DEPTH):
                        dpg.add_text(_NAMES[name])
                        self._add_image(name, controller.panel_size)
        _draw_no_backgrounds()
        with dpg.handler_registry():
            dpg.add_mouse_wheel_handler(callback=self._wheeled)
            dpg.add_key_press_handler(callback=self._pressed)

    def _build_controls(self) -> None:
        controller = self._controller
        session, choices = controller.session, controller.choices
        dpg.add_text("", tag="status", wrap=_WRAP)
        dpg.add_progress_bar(tag="progress", width=-1)
        with dpg.group(horizontal=True):
            dpg.add_button(label="Pause", tag="pause", width=80, callback=self._does(self._pause))
            dpg.add_button(label="Step", tag="step", width=80, callback=self._does(session.step))
            dpg.add_button(label="Save", tag="save", width=80, callback=self._does(session.save))
        dpg.add_button(label="Stop and save the model", tag="stop", width=-1, callback=self._does(session.stop))
        self._slider(
            "learning rates x", "learning rate", 1.0, 0.0, 4.0, lambda v: setattr(controller.trainer, _SCALE, v)
        )
        dpg.add_separator(label="frame and camera")
        dpg.add_slider_int(
            tag="frame", max_value=max(1, len(controller.frames) - 1), width=-1, callback=self._set(self._jump)
        )
        with dpg.group(horizontal=True):
            dpg.add_button(label="<", tag="back", callback=self._does(lambda: self._turn(-1)))
            dpg.add_button(label="Play", tag="play", width=60, callback=self._does(self._play))
            dpg.add_button(label=">", tag="on", callback=self._does(lambda: self._turn(1)))
            dpg.add_button(label="From the frame", tag="follow", callback=self._does(self._follow))
        dpg.add_combo(
            list(_NAMES.values()), default_value=_NAMES[VIEW], tag="large", width=-1, callback=self._set(self._enlarge)
        )
        dpg.add_separator(label="shown")
        self._slider("opacity from", "opacity", 0.0, 0.0, 1.0, lambda v: setattr(choices, "opacity_threshold", v))
        self._slider(
            "confidence from", "confidence", 0.0, 0.0, 1.0, lambda v: setattr(choices, "confidence_threshold", v)
        )
        dpg.add_checkbox(label="predicted motion", default_value=True, tag="predicted", callback=self._set(self._show))
        dpg.add_checkbox(label="annotated motion", default_value=True, tag="annotated", callback=self._set(self._show))
        dpg.add_checkbox(
            label="exposure of the frame",
            tag="exposure",
            callback=self._set(lambda v: setattr(choices, "frame_exposure", v)),
        )
        dpg.add_separator(label="motion brush")
        dpg.add_radio_button(
            _BRUSHES, default_value="look", tag="brush", horizontal=True, callback=self._set(self._take_brush)
        )
        self._slider("radius (pixels)", "radius", 8.0, 1.0, 80.0, lambda v: setattr(choices, "radius", v))
        dpg.add_slider_int(
            label="frames to grow to",
            tag="reach",
            max_value=max(1, len(controller.frames) - 1),
            width=110,
            callback=self._set(lambda v: setattr(choices, "reach", v)),
        )
        dpg.add_button(label="Undo stroke", tag="undo", width=-1, callback=self._does(controller.undo))
        dpg.add_separator(label="picture")
        dpg.add_button(label="Screenshot", tag="screenshot", width=-1, callback=self._does(self._screenshot))
        dpg.add_text("", tag="message", wrap=_WRAP)
        dpg.add_text(_HELP, wrap=_WRAP)

    def _build_plots(self) -> None:
        width = VIEW_LIMITS[0] // 3
        # the truth is a broad gray line, so that it is seen under the other
        for tag, weight, color in (("true line", 5.0, (120, 120, 120)), ("refined line", 1.5, ORANGE)):
            with dpg.theme(tag=tag), dpg.theme_component(dpg.mvLineSeries):
                dpg.add_theme_style(dpg.mvPlotStyleVar_LineWeight, weight, category=dpg.mvThemeCat_Plots)
                dpg.add_theme_color(dpg.mvPlotCol_Line, color, category=dpg.mvThemeCat_Plots)
        with dpg.group(horizontal=True):
            with dpg.group():
                with dpg.plot(height=_PLOT_HEIGHT, width=width, equal_aspects=True, tag="path"):
                    dpg.add_plot_legend()
                    dpg.add_plot_axis(dpg.mvXAxis, tag="path x")
                    with dpg.plot_axis(dpg.mvYAxis, tag="path y"):
                        dpg.add_line_series([], [], label="true", tag="true path")
                        dpg.add_line_series([], [], label="refined", tag="refined path")
                        dpg.add_scatter_series([], [], label="frame", tag="path frame")
                dpg.bind_item_theme("true path", "true line")
                dpg.bind_item_theme("refined path", "refined line")
                dpg.add_text("", tag="scores", wrap=width)
            for name, label in (("loss", "loss"), ("psnr", "PSNR of static pixels (dB)")):
                with dpg.plot(height=_PLOT_HEIGHT, width=width, tag=name):
                    dpg.add_plot_axis(dpg.mvXAxis, label="iteration", auto_fit=True)
                    with dpg.plot_axis(dpg.mvYAxis, label=label, auto_fit=True):
                        dpg.add_line_series([], [], tag=f"{name} curve")

    def _slider(
        self, label: str, tag: str, value: float, low: float, high: float, change: Callable[[float], None]
    ) -> None:
        dpg.add_slider_float(
            label=label,
            tag=tag,
            default_value=value,
            min_value=low,
            max_value=high,
            clamped=True,
            width=110,
            callback=self._set(change),
        )

    @staticmethod
    def _does(action: Callable[[], object]) -> Callable[[Any, Any, Any], None]:
        return lambda sender, value, data: void(action())

    @staticmethod
    def _set(change: Callable[[Any], object]) -> Callable[[Any, Any, Any], None]:
        return lambda sender, value, data: void(change(value))

    # what is drawn

    def _add_image(self, name: str, size: tuple[int, int]) -> None:
        """The place of a picture; a smaller picture is enlarged to it."""
        dpg.add_image(self._textures[name], tag=name, width=size[0], height=size[1])

    def _update_textures(self) -> None:
        """A new texture for each new picture: those that can be changed are sent to the graphics card in every redraw,
        changed or not."""
        for name in PICTURES:
            version, picture = self._controller.painter.picture(name)
            if picture is not None and version != self._versions[name]:
                before, self._textures[name] = self._textures[name], _texture(picture)
                dpg.configure_item(name, texture_tag=self._textures[name])
                dpg.delete_item(before)
                self._versions[name] = version

    def _update_words(self) -> None:
        controller = self._controller
        session, trainer = controller.session, controller.trainer
        phase = session.phase
        words = f"{phase}: iteration {trainer.iteration} of {trainer.iterations}"
        snapshot = trainer.snapshot
        if snapshot is not None:
            words += f", {len(snapshot.gaussians)} Gaussians"
        words += f"\n{session.iterations_per_second:.1f} iterations/s, window {self._speed:.0f} frames/s"
        error = session.error or controller.painter.error
        dpg.set_value("status", words if error is None else f"{words}\n{error}")
        dpg.set_value("progress", trainer.iteration / max(1, trainer.iterations))
        dpg.configure_item("pause", label="Resume" if phase == "paused" else "Pause")
        for tag in ("pause", "step", "save", "stop"):
            dpg.configure_item(tag, enabled=not session.is_over)
        dpg.set_value("message", controller.message)
        dpg.configure_item("play", label="Stop" if controller.choices.playing else "Play")
        self._update_plots()

    def _update_plots(self) -> None:
        controller = self._controller
        plot = controller.trajectory
        dpg.set_value("refined path", _columns(plot.estimated))
        if plot.true is not None:
            dpg.set_value("true path", _columns(plot.true))
        dpg.set_value("path frame", _columns(plot.estimated[controller.choices.frame][None]))
        dpg.configure_item("path x", label=plot.axes[0])
        dpg.configure_item("path y", label=plot.axes[1])
        dpg.set_value("scores", plot.sentence)
        if self._redraws % 4 == 0:
            dpg.fit_axis_data("path x")
            dpg.fit_axis_data("path y")
        snapshot = controller.trainer.snapshot
        for name in ("loss", "psnr"):
            dpg.set_value(f"{name} curve", list(curve(() if snapshot is None else snapshot.history, name)))

    # what is done

    def _follow_pointer(self) -> None:
        """Drags, strokes and releases."""
        controller = self._controller
        brush = controller.choices.brush
        dpg.set_value("frame", controller.choices.frame)
        left, right, middle = (
            dpg.is_mouse_button_down(button)
            for button in (dpg.mvMouseButton_Left, dpg.mvMouseButton_Right, dpg.mvMouseButton_Middle)
        )
        if not (left or right or middle):
            if self._pointer is not None:
                controller.release()
            self._pointer = None
            return
        hovered = next((name for name in PICTURES if dpg.is_item_hovered(name)), None)
        name = self._pointer[0] if self._pointer is not None else hovered
        if name is None:
            return
        x, y = self._place(name)
        before = self._pointer
        self._pointer = name, x, y
        is_view = name == VIEW and controller.choices.large == VIEW
        if brush != "look" and left and not is_view:
            if before is None or (x, y) != before[1:]:
                controller.paint_at(x, y)
        elif is_view and before is not None and (x, y) != before[1:]:
            shift = dpg.is_key_down(dpg.mvKey_LShift) or dpg.is_key_down(dpg.mvKey_RShift)
            controller.drag(x - before[1], y - before[2], pan=right or middle or shift)

    @staticmethod
    def _place(name: str) -> tuple[float, float]:
        """Where the pointer is on a picture, in shares of its width and height."""
        x, y = dpg.get_mouse_pos(local=False)
        left, top = dpg.get_item_rect_min(name)
        width, height = dpg.get_item_rect_size(name)
        return (x - left) / max(1, width), (y - top) / max(1, height)

    def _wheeled(self, sender: Any, value: float, data: Any) -> None:
        if dpg.is_item_hovered(VIEW) and self._controller.choices.large == VIEW:
            self._controller.zoom(value)

    def _pressed(self, sender: Any, key: int, data: Any) -> None:
        actions = {
            dpg.mvKey_Spacebar: self._pause,
            dpg.mvKey_S: self._controller.session.step,
            dpg.mvKey_Left: lambda: self._turn(-1),
            dpg.mvKey_Right: lambda: self._turn(1),
            dpg.mvKey_Home: self._follow,
            dpg.mvKey_L: lambda: self._take_brush("look"),
            dpg.mvKey_P: lambda: self._take_brush("paint"),
            dpg.mvKey_E: lambda: self._take_brush("erase"),
            dpg.mvKey_U: self._controller.undo,
            dpg.mvKey_F12: self._screenshot,
        }
        if dpg.is_key_down(dpg.mvKey_LControl) or dpg.is_key_down(dpg.mvKey_RControl):
            actions = {dpg.mvKey_Q: dpg.stop_dearpygui}
        if key in actions:
            actions[key]()

    def _pause(self) -> None:
        session = self._controller.session
        session.resume() if session.phase == "paused" else session.pause()
        self._slow_at = 0.0

    def _jump(self, frame: int) -> None:
        self._controller.jump(frame, follow=self._controller.choices.follows_frame)

    def _turn(self, by: int) -> None:
        controller = self._controller
        self._jump((controller.choices.frame + by) % len(controller.frames))

    def _follow(self) -> None:
        self._controller.jump(self._controller.choices.frame)

    def _play(self) -> None:
        self._controller.choices.playing = not self._controller.choices.playing
        self._slow_at = 0.0

    def _enlarge(self, words: str) -> None:
        name = next(name for name, label in _NAMES.items() if label == words)
        self._controller.choices.large = name
        dpg.set_value("large name", words)

    def _show(self, value: bool) -> None:
        self._controller.choices.shown = MotionShown(dpg.get_value("predicted"), dpg.get_value("annotated"))

    def _take_brush(self, brush: str) -> None:
        controller = self._controller
        controller.choices.brush = brush
        dpg.set_value("brush", brush)
        if brush != "look" and controller.choices.large == VIEW:
            dpg.set_value("large", _NAMES[MOTION])
            self._enlarge(_NAMES[MOTION])
        elif brush == "look" and controller.choices.large == MOTION:
            dpg.set_value("large", _NAMES[VIEW])
            self._enlarge(_NAMES[VIEW])

    def _screenshot(self) -> None:
        """The free view at full size, and the window."""
        if self._controller.screenshot() is None:
            return
        path = self._controller.screenshot_path("window")
        if path is not None:
            dpg.output_frame_buffer(str(path))


#: the property of the trainer that the slider changes
_SCALE = "learning_rate_scale"


def _draw_no_backgrounds() -> None:
    """Leaves the backgrounds of panels and plots to the color of the viewport: each would be blended over all of its
    pixels in every redraw, which takes a software renderer longer than all the rest."""
    with dpg.theme() as theme, dpg.theme_component(dpg.mvAll):
        dpg.add_theme_color(dpg.mvThemeCol_ChildBg, _NOTHING)
        for target in (dpg.mvPlotCol_FrameBg, dpg.mvPlotCol_PlotBg):
            dpg.add_theme_color(target, _NOTHING, category=dpg.mvThemeCat_Plots)
    dpg.bind_theme(theme)


def _texture(picture: np.ndarray) -> int | str:
    """A texture with the pixels of a picture uint8 (H, W, 3)."""
    height, width = picture.shape[:2]
    pixels = np.ones((height, width, 4), np.float32)
    np.multiply(picture, np.float32(1 / 255), out=pixels[..., :3])
    return dpg.add_static_texture(width, height, pixels.ravel(), parent="textures")


def _columns(points: np.ndarray) -> list[list[float]]:
    """x and y of points (N, 2)."""
    return [points[:, 0].tolist(), points[:, 1].tolist()]


def void(_: object) -> None:
    """Callbacks return nothing."""


def show(controller: Controller, folder: Path) -> bool:
    """Runs the optimization of `controller` with a window; when that is closed, everything is saved. Returns whether it
    was interrupted in the terminal."""
    controller.start()
    try:
        return Window(controller, f"Stillsplat - {folder.name}").run()
    finally:
        controller.close()
