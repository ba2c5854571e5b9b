"""What the window does, without a window: every button, key and drag is a method here."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dynamic_predictor.evaluation.given_poses import GivenPoses
from dynamic_predictor.optical_flow.dis import DISFlow
from gaussian.trainer import Trainer
from gui.orbit_camera import OrbitCamera, up_of
from gui.painter import VIEW, Painter, Wanted
from gui.panels import MotionShown, screen_size
from gui.plots import TrajectoryPlot, trajectory_plot
from gui.session import TrainingSession
from scene.camera import Camera
from scene.files.atomic import atomic_file
from scene.images import write_png
from scene.maps import FrameMaps
from scene.mask_brush import grown_along_flow, stroke_region
from scene.mask_edits import MaskChange, MaskEdits
from scene.scene import Scene

#: largest size of the free view and of the other pictures
VIEW_LIMITS, PANEL_LIMITS = (760, 500), (336, 190)
#: the distance is multiplied by this with each click of the wheel
_ZOOM = 0.88
#: frames per second while playing
_PLAYED = 12.0


@dataclass
class Choices:
    """What a person can set in the window."""

    frame: int = 0
    playing: bool = False
    #: the free camera follows the camera of the frame until it is dragged
    follows_frame: bool = True
    opacity_threshold: float = 0.0
    confidence_threshold: float = 0.0
    frame_exposure: bool = False
    shown: MotionShown = field(default_factory=MotionShown)
    #: which picture is the large one
    large: str = VIEW
    #: "look": drags move the camera; the others: drags on the motion picture paint
    brush: str = "look"
    #: pixels of the frame
    radius: float = 8.0
    #: frames before and after to which a stroke is carried
    reach: int = 0


class Controller:
    """Owns the optimization's thread, the painter's, and one that grows strokes. `close` ends all three."""

    def __init__(
        self,
        trainer: Trainer,
        *,
        annotations: FrameMaps | None = None,
        truth: GivenPoses | None = None,
        folder: Path | None = None,
    ) -> None:
        """`folder`: where screenshots go."""
        self.trainer, self.truth, self._folder = trainer, truth, folder
        scene = trainer.scene
        self.frames = scene.frames
        self.choices = Choices()
        self.session = TrainingSession(trainer)
        self.edits = MaskEdits(scene)
        size = self.frames.width, self.frames.height
        self.view_size, self.panel_size = screen_size(*size, *VIEW_LIMITS), screen_size(*size, *PANEL_LIMITS)
        self.message = ""
        self._up = up_of(scene.cameras)
        self._distance = _typical_depth(scene)
        self._dragged = False
        self._edit = 0
        self._motion: tuple[tuple[int, int], np.ndarray] | None = None
        self._stroke: list[tuple[float, float]] = []
        self._plot: tuple[int, TrajectoryPlot] | None = None
        self._growing = ThreadPoolExecutor(1, thread_name_prefix="growing")
        self._grown: list[tuple[dict[int, np.ndarray], bool]] = []
        self._flow: Callable[[int, int], np.ndarray] | None = None
        self._played_at = 0.0
        self.orbit = self._at_frame()
        self.painter = Painter(
            self.frames,
            annotations,
            scene.confidences,
            lambda: trainer.snapshot,
            trainer.request_snapshot,
            lambda: self.session.phase == "running",
        )

    def start(self, *, paused: bool = False) -> None:
        """Starts the threads."""
        self.session.start(paused=paused)
        self.painter.start()

    def close(self) -> None:
        """Ends the threads. An optimization that is not over is saved: a checkpoint and the model so far."""
        self._growing.shutdown(wait=True, cancel_futures=True)
        self.painter.close()
        self.session.close()

    # once per redraw

    def tick(self, now: float) -> None:
        """Goes on with what takes time; `now` in seconds. To be called before each redraw."""
        if self.choices.playing and now - self._played_at >= 1 / _PLAYED:
            self._played_at = now
            self.jump((self.choices.frame + 1) % len(self.frames), follow=self.choices.follows_frame)
        while self._grown:
            self._apply(*self._grown.pop(0))
        if self.choices.follows_frame:
            self.orbit = self._at_frame()
        self.painter.show(self.wanted())

    def wanted(self) -> Wanted:
        """What the painter is to show."""
        choices = self.choices
        return Wanted(
            camera=self.orbit.camera,
            dragged=self._dragged,
            frame=choices.frame,
            motion=self.motion(),
            shown=choices.shown,
            opacity_threshold=choices.opacity_threshold,
            confidence_threshold=choices.confidence_threshold,
            frame_exposure=choices.frame_exposure,
            size=self.panel_size,
            large=choices.large,
            large_size=self.view_size,
            edit=self._edit,
        )

    def motion(self) -> np.ndarray:
        """The mask (H, W) of the frame, with what was painted and the stroke that is being painted."""
        frame = self.choices.frame
        key = (frame, self._edit)
        if self._motion is None or self._motion[0] != key:
            motion = self.edits.mask(frame)
            if self._stroke:
                region = stroke_region(motion.shape, np.array(self._stroke), self.choices.radius)
                motion = np.where(region, np.float32(self.choices.brush == "paint"), motion)
            self._motion = key, motion
        return self._motion[1]

    @property
    def trajectory(self) -> TrajectoryPlot:
        """The refined camera path of the newest snapshot."""
        snapshot = self.trainer.snapshot
        iteration = -1 if snapshot is None else snapshot.iteration
        if self._plot is None or self._plot[0] != iteration:
            cameras = self.trainer.scene.cameras if snapshot is None else snapshot.cameras
            self._plot = iteration, trajectory_plot(cameras, self.truth)
        return self._plot[1]

    # camera

    def _camera(self, frame: int) -> Camera:
        snapshot = self.trainer.snapshot
        return (self.trainer.scene.cameras if snapshot is None else snapshot.cameras)[frame]

    def _at_frame(self) -> OrbitCamera:
        """The free camera at the camera of the frame."""
        return OrbitCamera.at(self._camera(self.choices.frame).resized(*self.view_size), self._distance, self._up)

    def drag(self, right: float, down: float, *, pan: bool) -> None:
        """The free view is dragged by shares of its width and height: orbit, or pan."""
        self.choices.follows_frame = False
        self._dragged = True
        self.orbit = self.orbit.panned(right, down) if pan else self.orbit.orbited(right, down)

    def release(self) -> None:
        """The button of the mouse is up."""
        self._dragged = False
        if self._stroke:
            self._end_stroke()

    def zoom(self, clicks: float) -> None:
        """The wheel was turned; forward is nearer."""
        self.choices.follows_frame = False
        self.orbit = self.orbit.zoomed(_ZOOM**clicks)

    def jump(self, frame: int, *, follow: bool = True) -> None:
        """Shows another frame, and with `follow` from its camera."""
        if self._stroke:
            self._end_stroke()
        self.choices.frame = int(np.clip(frame, 0, len(self.frames) - 1))
        self.choices.follows_frame = follow

    # brush

    def paint_at(self, x: float, y: float) -> None:
        """The brush is at (x, y), in shares of the picture's width and height."""
        self._stroke.append((x * self.frames.width, y * self.frames.height))
        self._edit += 1

    def _end_stroke(self) -> None:
        choices, frame = self.choices, self.choices.frame
        moves = choices.brush == "paint"
        region = stroke_region((self.frames.height, self.frames.width), np.array(self._stroke), choices.radius)
        self._stroke = []
        if not choices.reach:
            self._apply({frame: region}, moves)
            return
        self.message = "Growing the stroke along its track ..."
        self._apply({frame: region}, moves)
        self._growing.submit(self._grow, region, frame, choices.reach, moves)

    def _grow(self, region: np.ndarray, frame: int, reach: int, moves: bool) -> None:
        if self._flow is None:
            between = DISFlow().between(_Images(self.frames.rgb8))
            self._flow = lambda first, second: between(first, second).displacement
        regions = grown_along_flow(region, frame, len(self.frames), self._flow, reach=reach)
        found = {index: values for index, values in regions.items() if index != frame}
        if found:
            self._grown.append((found, moves))
        last = ", ".join(str(index) for index in found)
        self.message = f"The stroke was found in frames {last}." if found else "The stroke was found in no other frame."

    def _apply(self, regions: dict[int, np.ndarray], moves: bool) -> None:
        self._paint(self.edits.apply(regions, moves=moves))

    def undo(self) -> None:
        """Takes the last stroke back; one that was grown takes two."""
        self._paint(self.edits.undo())

    def _paint(self, changes: list[MaskChange]) -> None:
        for frame, region, moves in changes:
            self.trainer.paint(frame, region, moves)
        self._edit += 1

    # files

    def screenshot(self) -> Path | None:
        """Writes the free view at the size of the frames to screenshots/view_0001.png, ..., of the model folder."""
        path = self.screenshot_path("view")
        camera = self.orbit.camera.resized(self.frames.width, self.frames.height)
        image = None if path is None else self.painter.full_size_view(camera)
        if path is None or image is None:
            self.message = "There is nothing to write yet." if path is not None else "There is no model folder."
            return None
        with atomic_file(path) as temporary:
            write_png(temporary, image)
        self.message = f"Wrote {path}."
        return path

    def screenshot_path(self, kind: str) -> Path | None:
        """A file name that is not taken."""
        if self._folder is None:
            return None
        folder = self._folder / "screenshots"
        number = 1
        while (folder / f"{kind}_{number:04d}.png").exists():
            number += 1
        return folder / f"{kind}_{number:04d}.png"


def _typical_depth(scene: Scene) -> float:
    """The median of the known depths of the middle frame, around which the free camera turns."""
    depth = np.zeros(0) if scene.z_depths is None else scene.z_depths[len(scene.frames) // 2]
    known = depth[np.isfinite(depth) & (depth > 0)]
    return float(np.median(known)) if len(known) else 1.0


class _Images:
    """Images by index, read when they are needed."""

    def __init__(self, load: Callable[[int], np.ndarray]) -> None:
        self._load = load

    def __getitem__(self, index: int, /) -> np.ndarray:
        return self._load(index)
