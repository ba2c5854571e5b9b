"""COLMAP models: our own round trips, COLMAP itself (through pycolmap) as the other side, and hostile files."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from scene.camera import Camera
from scene.errors import InputError
from scene.formats.colmap import write_colmap
from scene.formats.colmap_reader import read_colmap
from scene.formats.colmap_tracks import observe, on_surface
from scene.scene import PointCloud


def make(
    count: int = 4, points: int = 50, shared: bool = True, seed: int = 0
) -> tuple[list[str], list[Camera], PointCloud]:
    generator = np.random.default_rng(seed)
    cameras = []
    for index in range(count):
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_rotvec(generator.normal(0, 0.1, 3)).as_matrix()
        pose[:3, 3] = generator.normal(0, 0.2, 3)
        focal = 70.0 + (0 if shared else index)
        cameras.append(Camera(80, 60, focal, focal + 1, 40.5, 29.75, pose))
    positions = (generator.uniform(-1, 1, (points, 3)) + [0, 0, 4]).astype(np.float32)
    cloud = PointCloud(positions, generator.integers(0, 256, (points, 3)).astype(np.uint8))
    return [f"{index:05d}.png" for index in range(count)], cameras, cloud


def in_pycolmap(folder: Path) -> dict:
    """What pycolmap says of the model; in a process of its own, as it does not get on with other libraries."""
    script = """
import json, sys
import pycolmap
model = pycolmap.Reconstruction(sys.argv[1])
images = {}
for image in model.images.values():
    pose = image.cam_from_world
    pose = pose() if callable(pose) else pose
    camera = model.cameras[image.camera_id]
    images[image.name] = {
        "camera_from_world": pose.matrix().tolist(),
        "model": camera.model.name,
        "params": list(map(float, camera.params)),
        "size": [camera.width, camera.height],
        "points2D": [[*map(float, p.xy), p.point3D_id if p.has_point3D() else -1] for p in image.points2D],
    }
    images[image.name]["errors"] = [
        float(abs(camera.img_from_cam(pose * model.points3D[p.point3D_id].xyz) - p.xy).max())
        for p in image.points2D if p.has_point3D()
    ]
points = {
    str(i): {
        "xyz": p.xyz.tolist(),
        "color": p.color.tolist(),
        "track": sorted([e.image_id, e.point2D_idx] for e in p.track.elements),
    }
    for i, p in model.points3D.items()
}
print(json.dumps({"images": images, "points": points, "cameras": len(model.cameras)}))
"""
    done = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("suffix", ["bin", "txt"])
def test_pycolmap_reads_what_we_write(tmp_path: Path, shared: bool, suffix: str) -> None:
    pytest.importorskip("pycolmap")
    names, cameras, cloud = make(shared=shared)
    write_colmap(tmp_path, names, cameras, cloud)
    for path in tmp_path.iterdir():
        if not path.name.endswith(suffix):
            path.unlink()
    model = in_pycolmap(tmp_path)
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
    said = in_pycolmap(folders[0])
    for folder in folders:
        model = read_colmap(folder)
        assert len(model.cameras) == len(said["images"]) and len(model.points.positions) == 40
        for name, camera, (pixels, indices) in zip(model.names, model.cameras, model.observations, strict=True):
            image = said["images"][name]
            assert (camera.fx, camera.fy, camera.cx, camera.cy) == (500.0, 500.0, 320.0, 240.0)
            assert np.allclose(camera.camera_from_world[:3], image["camera_from_world"], atol=1e-9)
            assert np.allclose(pixels, [point[:2] for point in image["points2D"]])
            seen = indices >= 0
            assert seen.sum() == len(image["errors"]) > 0
            projected, z = camera.project(model.points.positions[indices[seen]].astype(float))
            assert (z > 0).all() and np.abs(projected - pixels[seen]).max() < 1e-2  # float32 points


@pytest.mark.parametrize("suffix", ["bin", "txt"])
def test_round_trip(tmp_path: Path, suffix: str) -> None:
    names, cameras, cloud = make(shared=False)
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
    names, cameras, cloud = make()
    away = np.diag([1.0, -1.0, -1.0, 1.0])  # looks the other way and sees no point
    cameras[1] = cameras[1].moved(away)
    write_colmap(tmp_path / "some", names, cameras, cloud)
    write_colmap(tmp_path / "none", names, cameras)
    for folder in ("some", "none"):
        lines = (tmp_path / folder / "images.txt").read_text().splitlines()[3:]
        assert len(lines) == 8 and all(line.strip() for line in lines)
        assert lines[3] == "40.5 29.75 -1"


def test_observations_are_limited_and_hidden_points_left_out() -> None:
    _, cameras, cloud = make(points=9000)
    positions = cloud.positions.astype(float)
    observations = observe(cameras * 100, positions, lambda index, pixels, z: z < 4.0)
    assert 390_000 < sum(len(indices) for _, indices in observations) <= 400_000
    for camera, (pixels, indices) in zip(cameras, observations, strict=False):
        assert 400 < len(pixels) == len(set(indices.tolist())) < 1600
        projected, z = camera.project(positions[indices])
        assert (z < 4.0).all() and np.array_equal(projected, pixels)
        assert indices.max() > 8500 and indices.min() < 500  # from all over
        assert (pixels >= 0).all() and (pixels <= [80, 60]).all()


def row_of_cameras(count: int, apart: float) -> list[Camera]:
    """Side by side, 80x60 pixels, looking along z; each sees 4 units across at a distance of 4."""
    return [Camera(80, 60, 80.0, 80.0, 40.0, 30.0, _at([apart * index, 0, 0])) for index in range(count)]


def _at(place: list[float]) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, 3] = place
    return pose


def test_a_point_that_is_chosen_is_observed_by_all_that_see_it() -> None:
    """On a wall with far more points than may be observed, with the part of each image in turn."""
    cameras = row_of_cameras(8, 1.0)
    generator = np.random.default_rng(1)
    wall = np.stack([generator.uniform(-2, 9, 100_000), generator.uniform(-1, 1, 100_000), np.full(100_000, 4.0)], 1)
    observations = observe(cameras, wall)
    counts = np.zeros(len(wall), int)
    for _, indices in observations:
        counts[indices] += 1
    seen = sum(_inside(camera, wall) for camera in cameras)
    observed = counts > 0
    assert np.array_equal(counts[observed], np.asarray(seen)[observed]) and counts[observed].min() >= 2
    assert 31_000 < counts.sum() <= 32_000
    assert min(len(indices) for _, indices in observations) > 1500


def _inside(camera: Camera, positions: np.ndarray) -> np.ndarray:
    pixels, z = camera.project(positions)
    return ((z > 0) & (pixels >= 0).all(axis=1) & (pixels <= [camera.width, camera.height]).all(axis=1)).astype(int)


def test_a_image_that_shares_little_keeps_some_points_of_its_own() -> None:
    cameras = [*row_of_cameras(2, 0.5), *row_of_cameras(1, 0)]
    cameras[2] = cameras[2].moved(_at([100.0, 0, 0]))
    generator = np.random.default_rng(2)
    wall = np.stack([generator.uniform(-2, 2, 2000), generator.uniform(-1, 1, 2000), np.full(2000, 4.0)], 1)
    wall[1000:, 0] += 100.0
    observations = observe(cameras, wall)
    assert len(observations[2][1]) == 50 and observations[2][1].min() >= 1000
    assert np.array_equal(cameras[2].project(wall[observations[2][1]])[0], observations[2][0])
    assert len(observations[0][1]) > 800


def test_a_point_is_on_a_surface_when_neither_hidden_nor_before_it() -> None:
    depth = np.full((2, 3), 4.0, np.float32)
    depth[0, 1:] = [0.0, np.inf]
    pixels = np.array([[0.5, 1.5], [0.5, 1.5], [0.5, 1.5], [1.5, 0.5], [2.5, 0.5], [3.0, 2.0], [3.1, 1.0], [-0.1, 1.0]])
    z = np.array([4.01, 5.0, 3.0, 4.0, 4.0, 4.0, 4.0, 4.0])
    assert on_surface(depth, pixels, z).tolist() == [True, False, False, False, False, True, False, False]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(1, 5), points=st.integers(0, 30), shared=st.booleans(), seed=st.integers(0, 2**31))
def test_binary_and_text_say_the_same(
    tmp_path_factory: pytest.TempPathFactory, count: int, points: int, shared: bool, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("model")
    names, cameras, cloud = make(count, points, shared, seed)
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


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_input_errors_or_models(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Any byte changed or the end cut off: a sentence or a model, never another exception."""
    folder = tmp_path_factory.mktemp("model")
    write_colmap(folder, *make(2, 3))
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
def test_counts_that_lie_take_no_memory(tmp_path: Path, stem: str) -> None:
    write_colmap(tmp_path, *make(2, 3))
    path = tmp_path / f"{stem}.bin"
    path.write_bytes(struct.pack("<Q", 2**60) + path.read_bytes()[8:])
    with pytest.raises(InputError, match=f"{stem}.bin declares"):
        read_colmap(tmp_path)


def test_lens_distortion_is_named(tmp_path: Path) -> None:
    write_colmap(tmp_path, *make(2, 3))
    for path in tmp_path.glob("*.bin"):
        path.unlink()
    (tmp_path / "cameras.txt").write_text("1 OPENCV 80 60 70 71 40 30 0.1 0 0 0\n")
    with pytest.raises(InputError, match="OPENCV, but only PINHOLE.*undistort"):
        read_colmap(tmp_path)


def test_a_camera_that_is_not_there(tmp_path: Path) -> None:
    write_colmap(tmp_path, *make(2, 3))
    for path in tmp_path.glob("*.bin"):
        path.unlink()
    (tmp_path / "cameras.txt").write_text("7 SIMPLE_PINHOLE 80 60 70 40 30\n")
    with pytest.raises(InputError, match="00000.png has camera 1, which is not in the model"):
        read_colmap(tmp_path)


def test_no_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no COLMAP model"):
        read_colmap(tmp_path)
    write_colmap(tmp_path, *make(2, 3))
    os.remove(tmp_path / "images.bin")
    os.remove(tmp_path / "cameras.txt")
    with pytest.raises(InputError, match="holds no COLMAP model"):
        read_colmap(tmp_path)
