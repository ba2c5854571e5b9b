"""A folder that DAS3R wrote is taken as a scene wherever one of ours is."""

import tarfile
from pathlib import Path

import numpy as np
import pytest

from scene.errors import InputError
from scene.folder import load_scene
from scene.formats.das3r import read_das3r
from stillsplat.predict import predict
from stillsplat.settings import RunSettings
from tests.paths import DATA


@pytest.mark.parametrize("layout", ["output", "output_rearranged"])
def test_it_becomes_a_scene_of_ours(tmp_path: Path, layout: str) -> None:
    with tarfile.open(DATA / "das3r_layouts.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    predict(RunSettings(str(tmp_path / layout)), tmp_path / "scene")
    ours, theirs = load_scene(tmp_path / "scene"), read_das3r(tmp_path / layout)
    assert ours.predictor == "das3r" and len(ours.frames) == 3
    assert ours.z_depths is not None and theirs.z_depths is not None
    for index in range(3):
        assert np.allclose(ours.cameras[index].world_from_camera, theirs.cameras[index].world_from_camera)
        assert np.array_equal(ours.z_depths[index], theirs.z_depths[index])
    with pytest.raises(InputError, match="whose frames and cameras are fixed"):
        predict(RunSettings(str(tmp_path / layout), frames="0:2"), tmp_path / "part")
