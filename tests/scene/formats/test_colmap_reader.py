"""COLMAP models written by pycolmap, damaged and hostile ones."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scene.errors import InputError
from scene.formats.colmap import write_colmap
from scene.formats.colmap_reader import read_colmap
from tests.scene.formats.colmap_models import made_up_model, read_by_pycolmap


def test_we_read_what_pycolmap_writes(tmp_path: Path) -> None:
    """COLMAP's own synthetic model, as binary and as text."""
    pytest.importorskip("pycolmap")
    script = """
import sys
import pycolmap
options = pycolmap.SyntheticDatasetOptions()
options.num_frames_per_rig = 5
options.num_points3D = 40
options.camera_model_id = pycolmap.CameraModelId.SIMPLE_PINHOLE
options.camera_params = [500.0, 320.0, 240.0]
options.camera_width, options.camera_height = 640, 480
model = pycolmap.synthesize_dataset(options)
import os
os.makedirs(sys.argv[1]); os.makedirs(sys.argv[2])
model.write_binary(sys.argv[1])
model.write_text(sys.argv[2])
"""
    folders = [tmp_path / "bin", tmp_path / "txt"]
    done = subprocess.run([sys.executable, "-c", script, *map(str, folders)], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip("this pycolmap makes synthetic models in another way: " + done.stderr.strip().splitlines()[-1])
    expected = read_by_pycolmap(folders[0])
    for folder in folders:
        model = read_colmap(folder)
        assert len(model.cameras) == len(expected["images"]) and len(model.points.positions) == 40
        for name, camera, (pixels, indices) in zip(model.names, model.cameras, model.observations, strict=True):
            image = expected["images"][name]
            assert (camera.fx, camera.fy, camera.cx, camera.cy) == (500.0, 500.0, 320.0, 240.0)
            assert np.allclose(camera.camera_from_world[:3], image["camera_from_world"], atol=1e-9)
            assert np.allclose(pixels, [point[:2] for point in image["points2D"]])
            seen = indices >= 0
            assert seen.sum() == len(image["errors"]) > 0
            projected, z = camera.project(model.points.positions[indices[seen]].astype(float))
            assert (z > 0).all() and np.abs(projected - pixels[seen]).max() < 1e-2  # float32 points


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_input_errors_or_models(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """With any bytes changed or the end cut off, the result is a model or one sentence, never another exception."""
    folder = tmp_path_factory.mktemp("model")
    write_colmap(folder, *made_up_model(2, 3))
    suffix = data.draw(st.sampled_from(["bin", "txt"]))
    if suffix == "txt":
        for path in folder.glob("*.bin"):
            path.unlink()
    path = folder / f"{data.draw(st.sampled_from(['cameras', 'images', 'points3D']))}.{suffix}"
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        model = read_colmap(folder)
    except InputError as error:
        assert str(folder) in str(error) and "\n" not in str(error)
    else:
        assert all(np.isfinite(camera.world_from_camera).all() for camera in model.cameras)


@pytest.mark.parametrize("stem", ["cameras", "images", "points3D"])
def test_wrong_counts_take_no_memory(tmp_path: Path, stem: str) -> None:
    write_colmap(tmp_path, *made_up_model(2, 3))
    path = tmp_path / f"{stem}.bin"
    path.write_bytes(struct.pack("<Q", 2**60) + path.read_bytes()[8:])
    with pytest.raises(InputError, match=f"{stem}.bin declares"):
        read_colmap(tmp_path)


def test_lens_distortion_is_named(tmp_path: Path) -> None:
    write_colmap(tmp_path, *made_up_model(2, 3))
    for path in tmp_path.glob("*.bin"):
        path.unlink()
    (tmp_path / "cameras.txt").write_text("1 OPENCV 80 60 70 71 40 30 0.1 0 0 0\n")
    with pytest.raises(InputError, match="OPENCV, but only PINHOLE.*undistort"):
        read_colmap(tmp_path)


def test_a_camera_that_is_not_there(tmp_path: Path) -> None:
    write_colmap(tmp_path, *made_up_model(2, 3))
    for path in tmp_path.glob("*.bin"):
        path.unlink()
    (tmp_path / "cameras.txt").write_text("7 SIMPLE_PINHOLE 80 60 70 40 30\n")
    with pytest.raises(InputError, match="00000.png has camera 1, which is not in the model"):
        read_colmap(tmp_path)


def test_no_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no COLMAP model"):
        read_colmap(tmp_path)
    write_colmap(tmp_path, *made_up_model(2, 3))
    os.remove(tmp_path / "images.bin")
    os.remove(tmp_path / "cameras.txt")
    with pytest.raises(InputError, match="holds no COLMAP model"):
        read_colmap(tmp_path)
