"""The ground truth of the frames that a run used, at the size of its images."""

from pathlib import Path

import cv2
import numpy as np

from scene.camera import Camera
from scene.errors import InputError
from scene.images import resize_image
from scene.scene import Scene
from scene.truth import TruthScene
from stillsplat.scores.same_clip import check_same_clip


class RunTruth:
    """Truth by the index of a frame in the run; None where the truth has no such file. Images are shrunk by area means;
    masks, counts and depth take the value of the nearest pixel."""

    def __init__(self, folder: Path, scene: Scene) -> None:
        """Raises `InputError` when the truth in `folder` does not belong to the clip of `scene`."""
        self._truth = TruthScene(folder)
        self._positions = _positions(scene, self._truth)
        self._size = (scene.frames.width, scene.frames.height)
        check_same_clip(scene.frames.rgb8, self._truth.rgb, self._positions, len(self._truth), folder)
        self.cameras = [self._truth.cameras[position] for position in self._positions]

    def __len__(self) -> int:
        return len(self._positions)

    def clean(self, index: int) -> np.ndarray | None:
        """The frame without moving objects, float32 RGB (H, W, 3) in [0, 1]."""
        image = self._truth.clean(self._positions[index])
        return None if image is None else self._resize_image(image)

    def mask(self, index: int) -> np.ndarray | None:
        """Bool (H, W): pixels that a moving object covers."""
        return self._resize(self._truth.mask(self._positions[index]))

    def seen(self, index: int) -> np.ndarray | None:
        """Int (H, W): number of frames in which the static point at the pixel is visible."""
        return self._resize(self._truth.seen(self._positions[index]))

    def depth(self, index: int) -> np.ndarray | None:
        """Z depth float32 (H, W) with moving objects, 0 = sky."""
        return self._resize(self._truth.depth(self._positions[index]))

    def clean_depth(self, index: int) -> np.ndarray | None:
        """Z depth float32 (H, W) without moving objects, 0 = sky."""
        return self._resize(self._truth.depth_clean(self._positions[index]))

    @property
    def novel_count(self) -> int:
        """Number of views off the camera path."""
        return self._truth.novel_count

    def novel(self, index: int) -> tuple[Camera, np.ndarray, np.ndarray | None]:
        """View `index` off the camera path: its true camera, its image (as `clean`) and its counts (as `seen`)."""
        view = self._truth.novel(index)
        return view.camera, self._resize_image(view.image), self._resize(view.seen)

    def _resize_image(self, image: np.ndarray) -> np.ndarray:
        return resize_image(image, *self._size).astype(np.float32) / 255.0

    def _resize(self, values: np.ndarray | None) -> np.ndarray | None:
        if values is None or values.shape == self._size[::-1]:
            return values
        resized = cv2.resize(values.astype(np.float32), self._size, interpolation=cv2.INTER_NEAREST_EXACT)
        return resized.astype(values.dtype)


def _positions(scene: Scene, truth: TruthScene) -> list[int]:
    """The position in the clip of each frame of the scene."""
    recorded = scene.provenance.get("source_frames")
    count = len(scene.frames)
    positions = [int(position) for position in recorded] if isinstance(recorded, list) else list(range(count))
    if len(positions) != count or max(positions) >= len(truth):
        raise InputError(
            f"The truth in {truth.folder} has {len(truth)} frames, but the run used frame {max(positions)} of "
            "its input; give the truth of the same clip."
        )
    ours, theirs = scene.frames.width / scene.frames.height, truth.width / truth.height
    if abs(ours / theirs - 1) > 0.03:
        raise InputError(
            f"The images of the truth in {truth.folder} have another aspect ratio than the run; "
            "give the truth of the same clip."
        )
    return positions
