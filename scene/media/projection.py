"""Whether a file says that it shows the whole sphere around the camera, so that it is no image of a lens.

Google's Spherical Video V1 (XML in the file) and V2 (boxes of an MP4 file), and the XMP metadata of photographs
(GPano:ProjectionType). Read from the beginning and the end of the file, where such data lies.
"""

import re
from pathlib import Path

from scene.errors import InputError

#: bytes that are looked at, at either end of the file
_LOOKED_AT = 1 << 20
_SPHERICAL = re.compile(
    rb"<GSpherical:Spherical>\s*true|GPano:ProjectionType\s*(?:=\s*[\"']|>)\s*equirectangular|"
    rb"sv3d.{0,400}?proj.{0,200}?equi",
    re.DOTALL | re.IGNORECASE,
)


def refuse_spherical(path: Path) -> None:
    """Raises `InputError` for a file that says that it is equirectangular. One that cannot be read passes: its reader
    says why."""
    if not path.is_file():
        return  # a pipe would be waited for
    try:
        with path.open("rb") as file:
            parts = [file.read(_LOOKED_AT)]
            size = file.seek(0, 2)
            if size > _LOOKED_AT:
                file.seek(max(size - _LOOKED_AT, _LOOKED_AT))
                parts.append(file.read(_LOOKED_AT))
    except OSError:
        return
    if any(_SPHERICAL.search(part) for part in parts):
        raise InputError(
            f"{path} says that it is a 360-degree (equirectangular) picture, which no lens images; cut an ordinary "
            "view out of it first, for example with ffmpeg's v360 filter: -vf v360=e:flat:h_fov=90:v_fov=60."
        )
