"""What is looked at: a scene, splats, or both, with what is known about them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scene.camera import Camera
from scene.formats.exportable import Exportable
from scene.frames import MemoryFrames
from scene.images import read_image
from scene.local_frame import is_identity, local_frame, moved_cameras
from scene.moved_scene import moved_scene
from scene.scene import Scene
from scene.similarity import Similarity

if TYPE_CHECKING:
    from scene.gaussians import Gaussians

#: scales of local frames that suit browsers, too, are below this and above its inverse
_USUAL = 64.0


@dataclass
class Result:
    """Something to look at. At least one of `scene` and `gaussians` is there."""

    name: str
    path: Path
    scene: Scene | None = None
    #: where mended masks are saved; None: nowhere
    scene_folder: Path | None = None
    #: all of them finite
    gaussians: "Gaussians | None" = None
    #: of the clip, or one that sees the splats from outside
    cameras: Sequence[Camera] = ()
    #: the static renders of a run, by frame
    renders: Sequence[Path] = ()
    #: how many Gaussians of the file were left out because they are not finite
    broken: int = 0

    def static_image(self, index: int) -> np.ndarray | None:
        """The static render of a frame that the run wrote, uint8 RGB; None where there is none."""
        return read_image(self.renders[index]) if index < len(self.renders) else None

    def exportable(self) -> Exportable:
        """The result for `scene.formats.registry.export`."""
        if self.scene is not None:
            return Exportable.of_scene(self.scene, gaussians=self.gaussians)
        camera = self.cameras[0]
        nothing = MemoryFrames(np.zeros((0, camera.height, camera.width, 3), np.uint8))
        return Exportable(frames=nothing, cameras=[], gaussians=self.gaussians)


def window_frame(result: Result) -> Similarity:
    """world_from_window: browsers compute in single precision with distances of their own, so scenes that are very
    large, very small or far from the origin are shown in a frame that suits them. Others stay in their world."""
    frame = local_frame(np.array([camera.center for camera in result.cameras]), middle_depth(result))
    is_usual = 1 / _USUAL < frame.scale < _USUAL and not frame.translation.any()
    return Similarity.identity() if is_usual else frame


def placed(result: Result, transform: Similarity) -> Result:
    """The result after a change of its world by `transform`."""
    if is_identity(transform):
        return result
    return replace(
        result,
        scene=None if result.scene is None else moved_scene(result.scene, transform),
        gaussians=None if result.gaussians is None else placed_gaussians(result.gaussians, transform),
        cameras=moved_cameras(result.cameras, transform),
    )


def placed_gaussians(gaussians: "Gaussians", transform: Similarity) -> "Gaussians":
    """The Gaussians after a change of their world by `transform`."""
    return replace(gaussians, world_from_local=transform @ gaussians.world_from_local)


def middle_depth(result: Result, index: int = 0) -> float:
    """The median depth of what the camera `index` sees of the splats, or of its depth map; 1 when nothing is known."""
    camera = result.cameras[index]
    if result.gaussians is not None:
        pixels, depth = camera.project(result.gaussians.world_means())
        size = np.array([camera.width, camera.height])
        seen = depth[(depth > 0) & ((pixels >= 0) & (pixels < size)).all(axis=1)]
    elif result.scene is not None and result.scene.z_depths is not None:
        seen = result.scene.z_depths[index]
        seen = seen[seen > 0]
    else:
        seen = np.zeros(0)
    return float(np.median(seen)) if len(seen) else 1.0
