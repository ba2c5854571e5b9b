"""What is looked at: a scene, splats, or both, with what is known about them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scene.camera import Camera
from scene.formats.exportable import Exportable
from scene.frames import MemoryFrames
from scene.images import read_image
from scene.scene import Scene

if TYPE_CHECKING:
    from scene.gaussians import Gaussians


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


def middle_depth(result: Result, index: int = 0) -> float:
    """The median depth of what the camera `index` sees of the splats, or of its depth map; 1 when nothing is known."""
    camera = result.cameras[index]
    if result.gaussians is not None:
        pixels, depth = camera.project(result.gaussians.means.detach().cpu().numpy().astype(np.float64))
        size = np.array([camera.width, camera.height])
        seen = depth[(depth > 0) & ((pixels >= 0) & (pixels < size)).all(axis=1)]
    elif result.scene is not None and result.scene.z_depths is not None:
        seen = result.scene.z_depths[index]
        seen = seen[seen > 0]
    else:
        seen = np.zeros(0)
    return float(np.median(seen)) if len(seen) else 1.0
