"""COLMAP models that we write, read by pycolmap and by ourselves."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scene.formats.colmap import write_colmap
from scene.formats.colmap_reader import read_colmap
from scene.formats.colmap_tracks import observe
from tests.scene.formats.colmap_models import made_up_model, read_by_pycolmap


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("suffix", ["bin", "txt"])
def test_pycolmap_reads_what_we_write(tmp_path: Path, shared: bool, suffix: str) -> None:
    pytest.importorskip("pycolmap")
    names, cameras, cloud = made_up_model(shared=shared)
    write_colmap(tmp_path, names, cameras, cloud)
    for path in tmp_path.iterdir():
        if not path.name.endswith(suffix):
            path.unlink()
    model = read_by_pycolmap(tmp_path)
    assert model["cameras"] == (1 if shared else 4)
    for name, camera in zip(names, cameras, strict=True):
        image = model["images"][name]
        assert image["model"] == "PINHOLE" and image["size"] == [80, 60]
        assert np.allclose(image["params"], [camera.fx, camera.fy, camera.cx, camera.cy], rtol=0, atol=0)
        assert np.allclose(image["camera_from_world"], camera.camera_from_world[:3], atol=1e-12)
        assert len(image["points2D"]) > 20 and max(image["errors"]) < 1e-9
    assert len(model["points"]) == 50
    for index in range(50):
        point = model["points"][str(index + 1)]
        assert point["xyz"] == cloud.positions[index].tolist() and point["color"] == cloud.colors[index].tolist()
        for image_id, place in point["track"]:
            assert model["images"][names[image_id - 1]]["points2D"][place][2] == index + 1
    assert sum(len(point["track"]) for point in model["points"].values()) == sum(
        len(image["errors"]) for image in model["images"].values()
    )


@pytest.mark.parametrize("suffix", ["bin", "txt"])
def test_round_trip(tmp_path: Path, suffix: str) -> None:
    names, cameras, cloud = made_up_model(shared=False)
    names[2] = "a name with spaces.png"
    write_colmap(tmp_path, names, cameras, cloud)
    for path in tmp_path.iterdir():
        if not path.name.endswith(suffix):
            path.unlink()
    model = read_colmap(tmp_path)
    assert model.names == names
    for before, after in zip(cameras, model.cameras, strict=True):
        assert np.array_equal(before.intrinsics, after.intrinsics)
        assert np.allclose(before.world_from_camera, after.world_from_camera, atol=1e-14)
    assert np.array_equal(model.points.positions, cloud.positions)
    assert np.array_equal(model.points.colors, cloud.colors)
    for (pixels, indices), (pixels_before, indices_before) in zip(
        model.observations, observe(cameras, cloud.positions.astype(float)), strict=True
    ):
        assert np.array_equal(pixels, pixels_before) and np.array_equal(indices, indices_before)


def test_every_image_has_a_line_of_points(tmp_path: Path) -> None:
    names, cameras, cloud = made_up_model()
    away = np.diag([1.0, -1.0, -1.0, 1.0])  # looks the other way and sees no point
    cameras[1] = cameras[1].moved(away)
    write_colmap(tmp_path / "some", names, cameras, cloud)
    write_colmap(tmp_path / "none", names, cameras)
    for folder in ("some", "none"):
        lines = (tmp_path / folder / "images.txt").read_text().splitlines()[3:]
        assert len(lines) == 8 and all(line.strip() for line in lines)
        assert lines[3] == "40.5 29.75 -1"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(1, 5), points=st.integers(0, 30), shared=st.booleans(), seed=st.integers(0, 2**31))
def test_binary_and_text_files_hold_the_same_model(
    tmp_path_factory: pytest.TempPathFactory, count: int, points: int, shared: bool, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("model")
    names, cameras, cloud = made_up_model(count, points, shared, seed)
    write_colmap(folder, names, cameras, cloud)
    binary = read_colmap(folder)
    for path in folder.glob("*.bin"):
        path.unlink()
    text = read_colmap(folder)
    assert binary.names == text.names
    assert np.array_equal(binary.points.positions, text.points.positions)
    for one, other in zip(binary.cameras, text.cameras, strict=True):
        assert np.array_equal(one.world_from_camera, other.world_from_camera)
    for one, other in zip(binary.observations, text.observations, strict=True):
        assert np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1])
