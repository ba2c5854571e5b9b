"""Finds the clip that a run was made of, at its full size."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from dynamic_predictor.driver.source_names import is_live
from dynamic_predictor.driver.sources import image_names, open_stored
from scene.errors import InputError
from scene.images import resize_image
from scene.open_scene import can_open
from scene.scene import Scene
from stillsplat.plate.codes import values_of
from stillsplat.run_folder import RunFolder

#: mean difference in [0, 1] between the first frames, above which the frames of the run were changed (undistorted), and
#: above which it is another clip
_CHANGED, _OTHER = 0.015, 0.1


def clip_of_run(
    folder: RunFolder, scene: Scene, given: str | Path | None, warn: Callable[[str], None]
) -> tuple[str | Path, list[int]]:
    """The clip of the run in `folder`, `given` or as its scene records it, and the positions of the run's frames in it.

    Where the frames of the scene are not simply those of the clip (live sources, scenes of other programs, frames that
    were undistorted), it is the frames of the scene, of which `warn` is told. Raises `InputError` for a clip that is
    gone or another one.
    """
    own = folder.scene / "images", list(range(len(scene.frames)))
    recorded = scene.provenance.get("input")
    source = given or recorded
    if not isinstance(source, str | Path) or is_live(str(source)) or (given is None and can_open(source)):
        warn("The plate has the size of the scene, because the run was not made from a clip that can be read again.")
        return own
    positions = scene.provenance.get("source_frames")
    if not isinstance(positions, list) or len(positions) != len(scene.frames):
        positions = own[1]
    positions = [int(position) for position in positions]
    names = image_names(str(source))
    if names is not None and max(positions) >= len(names):
        raise InputError(
            f"{source} has {len(names)} images, but the run used its image {max(positions)} (counted from 0); give its "
            "clip with --input CLIP."
        )
    difference = _difference(source, positions[0], scene)
    if difference > _OTHER:
        raise InputError(f"The frames of {source} are not those of the run; give its clip with --input CLIP.")
    if difference > _CHANGED:
        warn(
            "The plate has the size of the scene, because the frames of the run are not simply those of the clip; they "
            "were undistorted or changed."
        )
        return own
    return source, positions


def _difference(source: str | Path, position: int, scene: Scene) -> float:
    """How much the first frames differ, 1 for other shapes; 0 where the clip is not in the colors of a display."""
    image = next(iter(open_stored(source).originals([position])), None)
    if image is None:
        raise InputError(f"{source} has no frame {position}, with which the run begins; give its clip.")
    height, width = image.codes.shape[:2]
    if abs(width * scene.frames.height / (height * scene.frames.width) - 1) > 0.03:
        return 1.0
    if not image.encoding.is_display_rgb or image.codes.dtype.kind != "u":
        return 0.0
    small = values_of(resize_image(image.codes, scene.frames.width, scene.frames.height))
    difference = np.abs(small - scene.frames[0]).mean(axis=-1)
    if scene.observed is not None:
        difference = difference[scene.observed[0] >= 0.5]
    return float(difference.mean()) if difference.size else 0.0
