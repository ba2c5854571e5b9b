"""One result in the browser: splats, and for each frame that is kept a camera with its image and a point cloud."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np

from scene.camera import Camera
from scene.maps import map_of_size
from scene.rotations import quaternion_from_rotation
from viewer.budget import Budget
from viewer.pictures import Coloring, colored_frame
from viewer.points import FramePoints, frame_points
from viewer.result import Result, middle_depth
from viewer.splats import splat_arrays, surface_points
from viewer.view_camera import vertical_angle

if TYPE_CHECKING:
    import viser  # pyright: ignore[reportMissingImports]

    from scene.gaussians import Gaussians

#: whose points are shown
WhichPoints = Literal["none", "current frame", "all frames"]

_THUMBNAIL = 160
_GRAY, _ACCENT = (120, 120, 120), (217, 102, 59)
#: size of a frustum relative to the depth of the scene, and the width of its lines in pixels
_FRUSTUM, _LINE = 0.03, 1.5
#: Gaussians that a browser gets of one result
_MOST_SPLATS = 1_500_000


@dataclass(frozen=True)
class Look:
    """What is to be shown of a result."""

    visible: bool = True
    #: position of the result in the common world
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    frame: int = 0
    splats: bool = True
    points: WhichPoints = "none"
    coloring: Coloring = "image"
    threshold: float = 0.0
    #: in multiples of the size at which the points of the first frame touch
    point_size: float = 0.6
    cameras: bool = True
    camera_size: float = 1.0


@dataclass
class _Frame:
    index: int
    camera: Camera
    root: Any
    frustum: Any
    cloud: Any = None
    points: FramePoints | None = None
    #: coloring of `points`, and with the threshold what the browsers have
    coloring: Coloring | None = None
    sent: tuple[Coloring, float] | None = None


class ResultNodes:
    """The nodes under `root`, a name such as "/results/0". All methods are called from one thread at a time."""

    def __init__(self, server: "viser.ViserServer", result: Result, root: str, *, budget: Budget | None = None) -> None:
        self.result, self.name, self._server, self._budget = result, root, server, budget or Budget()
        self.depth = middle_depth(result)
        first = result.cameras[0]
        self._point_unit = self.depth / first.fx
        self._root = server.scene.add_frame(root, show_axes=False)
        self.splats: Any = None
        self._surface: np.ndarray | None = None
        if result.gaussians is not None:
            self.show_splats(result.gaussians)
        count = len(result.cameras)
        self.frames = [self._frame(index) for index in range(0, count, self._budget.stride(count))]

    def show_splats(self, gaussians: "Gaussians") -> None:
        """Shows other Gaussians, all of them finite, in place of those of before."""
        self.result.gaussians, self._surface = gaussians, None
        arrays, name = splat_arrays(gaussians, _MOST_SPLATS), f"{self.name}/splats"
        visible = self.splats is None or self.splats.visible
        # a node of the same name takes the place of the one before
        self.splats = self._server.scene.add_gaussian_splats(
            name, arrays.centers, arrays.covariances, arrays.colors, arrays.opacities
        )
        self.splats.visible = visible

    def _frame(self, index: int) -> _Frame:
        camera, name = self.result.cameras[index], f"{self.name}/frames/{index}"
        root = self._server.scene.add_frame(
            name,
            show_axes=False,
            wxyz=quaternion_from_rotation(camera.world_from_camera[:3, :3]),
            position=camera.center,
        )
        frustum = self._server.scene.add_camera_frustum(
            f"{name}/camera",
            fov=vertical_angle(camera),
            aspect=camera.width / camera.height,
            scale=_FRUSTUM * self.depth,
            color=_GRAY,
            thickness=_LINE,
            thickness_units="screen",
            image=self._thumbnail(index),
            format="jpeg",
            jpeg_quality=75,
        )
        return _Frame(index, camera, root, frustum)

    def _thumbnail(self, index: int) -> np.ndarray | None:
        if self.result.scene is None:
            return None
        image = self.result.scene.frames.rgb8(index)
        height = max(1, round(_THUMBNAIL * image.shape[0] / image.shape[1]))
        return cv2.resize(image, (_THUMBNAIL, height), interpolation=cv2.INTER_AREA)

    @property
    def shift(self) -> np.ndarray:
        """Where the origin of the result is in the common world (3,)."""
        return np.asarray(self._root.position, np.float64)

    def nearest(self, frame: int) -> int:
        """The kept frame that stands for `frame`."""
        return min((item.index for item in self.frames), key=lambda index: abs(index - frame))

    def show(self, look: Look) -> None:
        """Brings the nodes to `look`; sends only what has changed."""
        _set(self._root, "visible", look.visible)
        if tuple(self._root.position) != look.shift:
            self._root.position = look.shift
        if not look.visible:
            return
        if self.splats is not None:
            _set(self.splats, "visible", look.splats)
        current = self.nearest(look.frame)
        for item in self.frames:
            _set(item.frustum, "visible", look.cameras)
            _set(item.frustum, "scale", _FRUSTUM * self.depth * look.camera_size)
            _set(item.frustum, "color", _ACCENT if item.index == current else _GRAY)
            self._show_points(item, look, look.points == "all frames" or item.index == current)

    def _show_points(self, item: _Frame, look: Look, is_chosen: bool) -> None:
        scene = self.result.scene
        visible = look.points != "none" and is_chosen and scene is not None and scene.z_depths is not None
        wanted = (look.coloring, look.threshold)
        if visible and item.sent != wanted:
            if item.points is None or item.coloring != look.coloring:
                item.points, item.coloring = self._points_of(item, look.coloring), look.coloring
            chosen = item.points.above(look.threshold)
            item.cloud = self._server.scene.add_point_cloud(
                f"{item.root.name}/points",
                chosen.positions,
                chosen.colors,
                point_size=self._point_size(look),
                point_shape="circle",
                point_shading="flat",
            )
            item.sent = wanted
        if item.cloud is not None:
            _set(item.cloud, "visible", visible)
            if visible:
                _set(item.cloud, "point_size", self._point_size(look))

    def _point_size(self, look: Look) -> float:
        camera = self.frames[0].camera
        each = self._budget.points_each(len(self.frames))
        return self._point_unit * max(1.0, (camera.width * camera.height / each) ** 0.5) * look.point_size

    def _points_of(self, item: _Frame, coloring: Coloring) -> FramePoints:
        scene = self.result.scene
        assert scene is not None and scene.z_depths is not None
        size = (item.camera.width, item.camera.height)
        depth = map_of_size(scene.z_depths[item.index], size, nearest=True)
        confidence = None if scene.confidences is None else map_of_size(scene.confidences[item.index], size)
        image = colored_frame(scene, item.index, coloring)
        most = self._budget.points_each(len(self.frames))
        return frame_points(image, depth, confidence, item.camera, most=most, seed=item.index)

    def forget_points(self, coloring: Coloring) -> None:
        """Makes the points anew that are colored by something that has changed."""
        for item in self.frames:
            if item.coloring == coloring:
                item.points, item.coloring, item.sent = None, None, None

    def pickable(self) -> np.ndarray:
        """Points (N, 3) in the world of the result that a click can hit: of the splats, or of the current points."""
        if self.result.gaussians is not None:
            if self._surface is None:
                self._surface = surface_points(self.result.gaussians)
            return self._surface
        found = [np.zeros((0, 3))]
        for item in self.frames:
            if item.points is not None and item.cloud is not None and item.cloud.visible:
                rotation = item.camera.world_from_camera[:3, :3]
                found.append(item.points.positions @ rotation.T + item.camera.center)
        return np.concatenate(found)


def _set(handle: Any, name: str, value: Any) -> None:
    """Sends a property only when it changes."""
    if getattr(handle, name) != value:
        setattr(handle, name, value)
