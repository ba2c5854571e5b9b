"""Files that say that they are equirectangular."""

from pathlib import Path

import pytest

from dynamic_predictor.driver.sources import open_source
from scene.errors import InputError
from scene.media.projection import refuse_spherical

_SAID = {
    "v1": b"uuid<rdf:SphericalVideo><GSpherical:Spherical>true</GSpherical:Spherical>",
    "v2": b"\0\0\0\x50sv3d\0\0\0\x0dsvhd\0\0\0\0x\0\0\0\x30proj\0\0\0\x18prhd" + bytes(16) + b"\0\0\0\x1cequi",
    "photo": b'<rdf:Description GPano:ProjectionType="equirectangular"/>',
    "photo_element": b"<GPano:ProjectionType>equirectangular</GPano:ProjectionType>",
}


@pytest.mark.parametrize("said", _SAID)
@pytest.mark.parametrize("at_the_end", [False, True])
def test_spherical_files_are_named(tmp_path: Path, said: str, at_the_end: bool) -> None:
    path = tmp_path / "pano.mp4"
    rest = bytes(3 << 20)
    path.write_bytes(rest + _SAID[said] if at_the_end else b"ftyp" + _SAID[said] + rest)
    with pytest.raises(InputError, match="360-degree"):
        refuse_spherical(path)
    with pytest.raises(InputError, match="360-degree"):
        open_source(path)


def test_others_pass(tmp_path: Path) -> None:
    path = tmp_path / "plain.mp4"
    path.write_bytes(b"<GSpherical:Spherical>false</GSpherical:Spherical>" + bytes(100))
    refuse_spherical(path)
    refuse_spherical(tmp_path / "missing.mp4")
