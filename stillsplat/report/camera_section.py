"""The report's section on the camera: plots of the camera path from above and from the side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dynamic_predictor.specs import specs
from scene.camera import Camera
from scene.folder import read_cameras
from scene.scene import Scene
from scene.trajectory import path_length
from stillsplat.report.charts import Plot, path_chart
from stillsplat.report.material import Material

#: title, indices of the horizontal and vertical axis (right, ahead, up), whether scene points are drawn, caption
_PLOTS = (
    ("From above", 0, 1, False, "viewing direction up the page"),
    ("From the side", 1, 2, False, "viewing direction to the right"),
    ("In the scene, from above", 0, 1, True, "dots are places of the static scene"),
)
_AXES = ("right", "ahead", "up")


@dataclass(frozen=True)
class _Key:
    """A line of the legend: its text, and the class of the line that it explains."""

    label: str
    kind: str


def camera_section(material: Material) -> dict[str, Any]:
    """The content of the section: introduction, plots and their legend."""
    folder, scene, cameras = material.folder, material.scene, material.scene.cameras
    poses = np.array([camera.world_from_camera for camera in cameras])
    centers, directions = poses[:, :3, 3], poses[:, :3, 2]
    keys = [_Key("path of the camera (hollow dot: first frame)", "path"), _Key("field of view of some frames", "view")]
    others: list[tuple[str, str, np.ndarray]] = []
    predicted = folder.scene / "cameras_predicted.json"
    if predicted.exists():
        names = [f"{index:05d}.png" for index in range(len(cameras))]
        earlier = read_cameras(predicted, names, scene.frames.width, scene.frames.height)
        others.append(("as predicted", "predicted", np.array([camera.center for camera in earlier])))
        keys.append(_Key("as predicted, before refinement (dotted)", "predicted"))
    true_centers = material.evaluation.get("truth", {}).get("true_centers_in_run_world")
    if true_centers:
        others.append(("truth", "truth", np.array(true_centers)))
        keys.append(_Key("truth, aligned (dashed)", "truth"))
    basis, points = upright_basis(cameras), _scene_points(scene)
    plots = []
    for title, across, up, with_points, caption in _PLOTS:
        if with_points and points is None:
            continue
        axes = np.stack([basis[across], basis[up]], axis=1)
        chart = path_chart(
            centers @ axes,
            directions @ axes,
            title=title,
            axes=(_AXES[across], _AXES[up]),
            others=[(label, kind, path @ axes) for label, kind, path in others],
            unit="scene units",
            points=points @ axes if with_points and points is not None else None,
        )
        plots.append(Plot(chart, title, caption))
    focal = float(np.median([camera.fx for camera in cameras]))
    field_of_view = 2 * np.degrees(np.arctan(cameras[0].width / 2 / focal))
    introduction = (
        f"Focal length {focal:.0f} pixels ({field_of_view:.0f}° across). The path is {path_length(poses):.3g} scene "
        f"units long; {_units(scene.predictor)}."
    )
    return {"introduction": introduction, "plots": plots, "legend": keys}


def _units(predictor: str) -> str:
    spec = specs().get(predictor)
    if spec is not None and spec.metric:
        condition = " where the focal length is known" if spec.metric_needs_focal else ""
        return f"the predictor {predictor} estimates scene units in meters{condition}"
    return "scene units are arbitrary"


def upright_basis(cameras: Sequence[Camera]) -> np.ndarray:
    """The directions right, ahead and up (3, 3) of the mean camera."""
    down = np.mean([camera.world_from_camera[:3, 1] for camera in cameras], axis=0)
    ahead = np.mean([camera.world_from_camera[:3, 2] for camera in cameras], axis=0)
    if np.linalg.norm(down) < 1e-6 or np.linalg.norm(ahead) < 1e-6:
        down, ahead = cameras[0].world_from_camera[:3, 1], cameras[0].world_from_camera[:3, 2]
    up = -down / np.linalg.norm(down)
    ahead = ahead - up * (ahead @ up)
    if np.linalg.norm(ahead) < 1e-6:
        ahead = cameras[0].world_from_camera[:3, 2] - up * (cameras[0].world_from_camera[:3, 2] @ up)
    ahead = ahead / max(float(np.linalg.norm(ahead)), 1e-9)
    return np.stack([np.cross(ahead, up), ahead, up])


def _scene_points(scene: Scene, count: int = 1500) -> np.ndarray | None:
    """About `count` static points of the scene (N, 3): of its point cloud, or of the depth map of the middle frame."""
    if scene.points is not None and len(scene.points.positions) >= 50:
        positions = np.asarray(scene.points.positions, np.float64)
    elif scene.z_depths is not None:
        middle = len(scene.cameras) // 2
        z_depth = scene.z_depths[middle]
        static = z_depth > 0
        if scene.motion_masks is not None:
            static &= scene.motion_masks[middle] < 0.5
        positions = scene.cameras[middle].unproject(z_depth)[static]
    else:
        return None
    if len(positions) < 10:
        return None
    return positions[:: max(1, len(positions) // count)]
