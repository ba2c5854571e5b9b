"""The camera models of COLMAP and nerfstudio as lenses, and back.

COLMAP: names, ids and parameters of its documentation, "Camera Models". nerfstudio: the keys of transforms.json in its
documentation, "Data conventions".
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from scene.errors import InputError
from scene.lens import Lens, LensFamily


@dataclass(frozen=True)
class ColmapCameraModel:
    """A camera model of COLMAP: its id, the number of focal lengths, and the coefficients that follow the principal
    point, by the names of `scene.lens`."""

    identifier: int
    family: LensFamily
    focal_count: int
    coefficients: tuple[str, ...]

    @property
    def parameter_count(self) -> int:
        return self.focal_count + 2 + len(self.coefficients)


#: the models that are read, by name. FOV (7) and THIN_PRISM_FISHEYE (10) are not: hardly anybody has them
COLMAP_MODELS: dict[str, ColmapCameraModel] = {
    "SIMPLE_PINHOLE": ColmapCameraModel(0, "perspective", 1, ()),
    "PINHOLE": ColmapCameraModel(1, "perspective", 2, ()),
    "SIMPLE_RADIAL": ColmapCameraModel(2, "perspective", 1, ("k1",)),
    "RADIAL": ColmapCameraModel(3, "perspective", 1, ("k1", "k2")),
    "OPENCV": ColmapCameraModel(4, "perspective", 2, ("k1", "k2", "p1", "p2")),
    "OPENCV_FISHEYE": ColmapCameraModel(5, "equidistant", 2, ("k1", "k2", "k3", "k4")),
    "FULL_OPENCV": ColmapCameraModel(6, "perspective", 2, ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")),
    "SIMPLE_RADIAL_FISHEYE": ColmapCameraModel(8, "equidistant", 1, ("k1",)),
    "RADIAL_FISHEYE": ColmapCameraModel(9, "equidistant", 1, ("k1", "k2")),
}
#: nerfstudio's camera models of this module; "" where a file names none
_NERFSTUDIO_FAMILIES: dict[str, LensFamily] = {
    "": "perspective",
    "PINHOLE": "perspective",
    "PERSPECTIVE": "perspective",
    "SIMPLE_PINHOLE": "perspective",
    "SIMPLE_RADIAL": "perspective",
    "RADIAL": "perspective",
    "OPENCV": "perspective",
    "FULL_OPENCV": "perspective",
    "OPENCV_FISHEYE": "equidistant",
    "FISHEYE": "equidistant",
}


def lens_of_colmap(name: str, width: int, height: int, parameters: list[float]) -> Lens:
    """The lens of a camera of the model `name`, a key of `COLMAP_MODELS`. Raises `ValueError` for another number of
    parameters than the model has and for values that are no lens."""
    model = COLMAP_MODELS[name]
    if len(parameters) != model.parameter_count:
        raise ValueError(f"{name} has {len(parameters)} parameters instead of {model.parameter_count}")
    focals, rest = parameters[: model.focal_count], parameters[model.focal_count :]
    values = dict(zip(model.coefficients, rest[2:], strict=True))
    return _lens(model.family, width, height, focals[0], focals[-1], rest[0], rest[1], values)


def colmap_of_lens(lens: Lens) -> tuple[str, list[float]]:
    """The first of COLMAP's models that says all of `lens`, with its parameters: of the fisheye models that is
    OPENCV_FISHEYE, which more programs read."""
    values = _coefficients(lens)
    for name, model in COLMAP_MODELS.items():
        said = model.family == lens.family and set(values) <= set(model.coefficients)
        if said and (model.focal_count == 2 or lens.fx == lens.fy):
            focals = [lens.fx, lens.fy][: model.focal_count]
            return name, [*focals, lens.cx, lens.cy, *(values.get(key, 0.0) for key in model.coefficients)]
    raise AssertionError("FULL_OPENCV and OPENCV_FISHEYE say everything")


def lens_of_nerfstudio(
    values: dict[str, Any], width: int, height: int, focal: tuple[float, float, float, float]
) -> Lens:
    """The lens of a frame of transforms.json, whose keys and those of its file are `values`; `focal` is fx, fy, cx, cy.
    Raises `InputError` for cameras that are no lens (EQUIRECTANGULAR and others) and `ValueError` for wrong values."""
    name = values.get("camera_model")
    name = "" if name is None else str(name).upper()
    if name not in _NERFSTUDIO_FAMILIES:
        raise InputError(
            f"the camera model {name[:40]!r} is not read, only pinhole, OPENCV and OPENCV_FISHEYE cameras are; "
            "convert the images to one of these."
        )
    family = _NERFSTUDIO_FAMILIES[name]
    if values.get("is_fisheye"):
        family = "equidistant"
    found: dict[str, float] = {}
    for key in ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2"):
        value = values.get(key) or 0.0
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"{key} is not a finite number")
        if value:
            found[key] = float(value)
    return _lens(family, width, height, *focal, found)


def nerfstudio_of_lens(lens: Lens) -> dict[str, Any]:
    """The keys of transforms.json that describe `lens`: camera_model, size, intrinsics and coefficients."""
    intrinsics = {"fl_x": lens.fx, "fl_y": lens.fy, "cx": lens.cx, "cy": lens.cy}
    model = "OPENCV_FISHEYE" if lens.family == "equidistant" else "OPENCV"
    return {"camera_model": model, "w": lens.width, "h": lens.height, **intrinsics, **_coefficients(lens)}


def _lens(family: LensFamily, width, height, fx, fy, cx, cy, values: dict[str, float]) -> Lens:
    radial = [values.pop(f"k{index}", 0.0) for index in range(1, 7)]
    tangential = (values.pop("p1", 0.0), values.pop("p2", 0.0))
    while radial and radial[-1] == 0.0:
        radial.pop()
    return Lens(family, width, height, float(fx), float(fy), float(cx), float(cy), tuple(radial), tangential)


def _coefficients(lens: Lens) -> dict[str, float]:
    """The coefficients of `lens` that are not 0, by name."""
    named = {f"k{index}": value for index, value in enumerate(lens.radial, start=1)}
    named.update(zip(("p1", "p2"), lens.tangential, strict=True))
    return {key: float(value) for key, value in named.items() if np.abs(value) > 0}
