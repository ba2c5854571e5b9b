"""The lens that a user knows: the option --lens."""

import math

from scene.errors import InputError
from scene.formats.lens_models import COLMAP_MODELS, lens_of_colmap
from scene.lens import Lens

_FORMS = "auto, pinhole, fisheye (with --fov), or MODEL:PARAMETERS as COLMAP writes them"


def known_lens(text: str | None, fov: float | None, width: int, height: int) -> Lens | None:
    """The lens of --lens for an input of `width` x `height` pixels: "fisheye" is equidistant with the horizontal angle
    of view `fov` in degrees, "OPENCV:500,500,320,240,-0.1,0,0,0" has COLMAP's model and parameters. None for "auto",
    "pinhole" and no text. Raises `InputError` for anything else, also for a lens that has no pinhole image."""
    if text in (None, "auto", "pinhole"):
        return None
    if text == "fisheye":
        if fov is None:
            raise InputError("--lens fisheye needs the horizontal angle of view; give it with --fov DEGREES.")
        focal = width / 2 / math.radians(fov / 2)
        return Lens("equidistant", width, height, focal, focal, width / 2, height / 2)
    name, _, numbers = text.partition(":")
    if name not in COLMAP_MODELS or not numbers:
        raise InputError(f"--lens {text[:60]} is not understood; give {_FORMS}.")
    if fov is not None:
        raise InputError("--lens has the focal length already; leave out --fov.")
    try:
        return lens_of_colmap(name, width, height, [float(number) for number in numbers.split(",")])
    except ValueError as error:
        model = COLMAP_MODELS[name]
        focals = "f" if model.focal_count == 1 else "fx,fy"
        form = ",".join([focals, "cx,cy", *model.coefficients])
        raise InputError(f"--lens {text[:80]} is not a lens ({error}); {name} is {name}:{form} in pixels.") from None
