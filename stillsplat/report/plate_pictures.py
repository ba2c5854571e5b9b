"""Pictures and figures of the plate in the report."""

from typing import Any

import numpy as np

from scene.frames import list_images
from scene.images import read_image, resize_image
from stillsplat import overlays
from stillsplat.report.material import Material


class PlatePictures:
    """The plate of a run, of which small pictures are shown; nothing where it has none."""

    def __init__(self, material: Material) -> None:
        self.stage: dict[str, Any] | None = material.folder.record["stages"].get("plate")
        path, count = material.folder.path, len(material.scene.frames)
        folders = ("plate", "mattes", "invented")
        found = [list_images(path / name) if (path / name).is_dir() else [] for name in folders]
        self._plates, self._mattes, self._invented = (paths if len(paths) == count else [] for paths in found)
        self._material = material

    @property
    def has_mattes(self) -> bool:
        """Whether there is a picture of what was replaced."""
        return self.stage is not None and bool(self._mattes) and bool(self._invented)

    @property
    def has_images(self) -> bool:
        """Whether the frames of the plate can be shown; OpenEXR files are not."""
        return self.has_mattes and bool(self._plates)

    def image(self, index: int) -> np.ndarray:
        """Frame `index` at the size of the scene, uint8 RGB (h, w, 3)."""
        return self._sized(read_image(self._plates[index]))

    def replaced(self, index: int) -> np.ndarray:
        """What was replaced in frame `index`, in color, and what no frame has seen, solid; uint8 RGB (h, w, 3)."""
        matte = self._sized(read_image(self._mattes[index]))[..., 0].astype(np.float32) / 255.0
        invented = self._sized(read_image(self._invented[index]))[..., 0] > 127
        shown = overlays.mask_image(self._material.frame(index), matte)
        shown[invented] = overlays.UNSEEN_COLOR
        return shown

    def sentence(self) -> str:
        """What was made, for people."""
        if self.stage is None:
            return ""
        width, height = self.stage["size"]
        kind = {"png": "8-bit PNG", "png16": "16-bit PNG", "exr": "half-float OpenEXR"}[self.stage["format"]]
        filled = {
            "synthesis": "completed by the texture of their surroundings",
            "render": "taken from the render",
            "none": "left transparent",
        }[self.stage["fill"]]
        sound = ", with its sound" if self.stage.get("sound") else ""
        replaced, invented = (100 * self.stage[name] for name in ("replaced_share", "invented_share"))
        shadow = 100 * self.stage.get("shadow_share", 0.0)
        of_shadow = f" ({shadow:.1f} % are shadow)" if shadow >= 0.05 else ""
        return (
            f"plate/ has the clip at {width}x{height} without what moves, as {kind} ({self.stage['color']}), and "
            f"plate.mp4{sound}. {replaced:.1f} % of the pixels were replaced{of_shadow}, by what other frames show "
            f"there; {invented:.2f} % were seen in no frame and are {filled}. All others are those of the clip."
        )

    def _sized(self, image: np.ndarray) -> np.ndarray:
        frames = self._material.scene.frames
        return resize_image(image, frames.width, frames.height)
