"""Exports against the goldens of the official code (tests/data/da3, ../shared) and through other libraries' readers."""

import io
from dataclasses import replace

import numpy as np
import pytest
from plyfile import PlyData

from scene.camera import Camera
from scene.depth_colors import depth_colors, inverse_depth_limits
from scene.errors import InputError
from scene.formats.depth_vis import write_depth_vis
from scene.formats.feat_vis import feature_colors, write_feat_vis
from scene.formats.glb import camera_color, camera_pyramid, gltf_transform, scene_diagonal, transform_points, write_glb
from scene.formats.gs_ply import kept_pixels, write_gs_ply
from scene.formats.gs_video import write_gs_video
from scene.formats.options import SHOWCASE_PATHS
from scene.formats.ply import write_points_ply
from scene.formats.prediction_npz import write_npz
from scene.frames import MemoryFrames
from scene.gaussians import Gaussians, logit
from scene.maps import StoredMaps
from scene.point_cloud import confidence_threshold, scene_points, unproject_pixels
from scene.scene import PointCloud, Scene
from scene.showcase_paths import (
    cameras_between,
    dolly_zoom_path,
    interpolated_cameras,
    showcase_path,
    smoothed_path,
    wander_path,
    wobble_path,
)
from scene.video import decode_video
from tests.paths import DATA

_DATA = DATA / "da3"


@pytest.fixture(scope="module")
def golden():
    return np.load(_DATA / "maths_export_small.npz")


def _camera(extrinsics: np.ndarray, intrinsics: np.ndarray, width: int, height: int) -> Camera:
    camera_from_world = np.eye(4)
    camera_from_world[:3] = extrinsics[:3]
    fx, fy, cx, cy = (float(intrinsics[index]) for index in ((0, 0), (1, 1), (0, 2), (1, 2)))
    return Camera(width, height, fx, fy, cx, cy, np.linalg.inv(camera_from_world))


@pytest.fixture(scope="module")
def cameras(golden):
    return [_camera(e, k, 28, 20) for e, k in zip(golden["glb/extr"], golden["glb/intr"], strict=True)]


def _confident_points(golden, cameras) -> np.ndarray:
    threshold = confidence_threshold(golden["glb/conf"], least=1.05)
    points = []
    for camera, depth, confidence in zip(cameras, golden["glb/depth"], golden["glb/conf"], strict=True):
        pixels = np.flatnonzero((depth.ravel() > 0) & (confidence.ravel() >= threshold))
        points.append(unproject_pixels(camera, depth, pixels, center=0.0))
    return np.concatenate(points)


def test_the_cloud_of_the_glb_is_the_official_one(golden, cameras):
    assert confidence_threshold(golden["glb/conf"], least=1.05) == pytest.approx(float(golden["glb/conf_thresh"]))
    points = _confident_points(golden, cameras)
    matrix = gltf_transform(cameras[0].camera_from_world, points)
    np.testing.assert_allclose(matrix, golden["glb/A"], atol=1e-5)
    moved = transform_points(matrix, points)
    np.testing.assert_allclose(moved, golden["glb/points_gltf"], atol=1e-4)
    assert scene_diagonal(moved) == pytest.approx(float(golden["glb/scene_scale"]), rel=1e-5)


def test_the_pyramids_are_the_official_ones(golden, cameras):
    size = 0.1
    np.testing.assert_allclose(camera_pyramid(cameras[0], size, inset=1.0), golden["glb/frustum0"], atol=1e-5)
    assert [camera_color(index, 3) for index in range(3)] == [tuple(color) for color in golden["glb/cam_colors"]]


def test_depth_colours_are_the_official_ones(golden):
    np.testing.assert_array_equal(depth_colors(golden["glb/depth"][0]), golden["vis/depth_rgb"])


def test_depth_colours_of_a_clip_keep_their_meaning():
    near, far = np.full((4, 4), 1.0), np.full((4, 4), 4.0)
    limits = inverse_depth_limits(np.concatenate([near, far]))
    assert (depth_colors(near, limits) != depth_colors(far, limits)).any()
    assert (depth_colors(near) == depth_colors(far)).all()


@pytest.fixture(scope="module")
def path_cameras(golden):
    intrinsics = golden["traj/Kn"] * np.array([[504], [280], [1]])
    return [_camera(np.linalg.inv(pose), intrinsics, 504, 280) for pose in golden["traj/c2w"].astype(np.float64)]


def _poses(path) -> np.ndarray:
    return np.stack([camera.world_from_camera for camera in path])


def test_paths_are_the_official_ones(golden, path_cameras):
    middle = path_cameras[2]
    np.testing.assert_allclose(_poses(wander_path(middle, 36)), golden["traj/wander_c2w"], atol=1e-5)
    dolly = dolly_zoom_path(middle, 36)
    np.testing.assert_allclose(_poses(dolly), golden["traj/dolly_c2w"], atol=1e-5)
    times = np.linspace(0, 1, 8)
    zoomed = replace(path_cameras[1], fx=0.99 * 504, fy=1.26 * 280)  # the golden's second camera sees less
    between = cameras_between(path_cameras[0], zoomed, times)
    np.testing.assert_allclose(_poses(between), golden["traj/interp_c2w"], atol=1e-4)
    wobble = wobble_path(path_cameras, steps=10, skip=1)
    np.testing.assert_allclose(_poses(wobble), golden["traj/wobble_c2w"][0], atol=1e-4)
    paths = {"wander": wander_path(middle, 36), "interp": between, "wobble": wobble, "dolly": dolly}
    for name, path in paths.items():
        official = golden[f"traj/{name}_K"].reshape(-1, 3, 3)
        intrinsics = [camera.intrinsics / [[504], [280], [1]] for camera in path]
        np.testing.assert_allclose(intrinsics, official, rtol=1e-5, atol=1e-6)


def test_smoothed_paths_are_the_official_ones_up_to_their_right_angles(golden, path_cameras):
    official = golden["traj/stabilised"].astype(np.float64)
    ours = _poses(smoothed_path(path_cameras))
    np.testing.assert_allclose(ours[:, :3, 3], official[:, :3, 3], atol=1e-5)
    for pose, other in zip(ours, official, strict=True):
        # the official axes are not at right angles; ours are those of the nearest rotation
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-9)
        u, _, vt = np.linalg.svd(other[:3, :3])
        np.testing.assert_allclose(pose[:3, :3], u @ vt, atol=1e-5)


def test_every_path_is_of_rigid_cameras_and_one_camera_wanders(path_cameras):
    for name in SHOWCASE_PATHS:
        for camera in showcase_path(path_cameras, name):
            rotation = camera.world_from_camera[:3, :3]
            np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-5)
            assert np.linalg.det(rotation) > 0
    assert len(showcase_path(path_cameras[:1], "extend")) == 122
    assert len(interpolated_cameras(path_cameras)) >= 45


def test_paths_between_parallel_cameras_are_straight(path_cameras):
    first = path_cameras[0]
    second = first.moved(first.world_from_camera @ np.array([[1, 0, 0, 1.0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    between = cameras_between(first, second, np.array([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(between[0].world_from_camera, first.world_from_camera, atol=1e-9)
    np.testing.assert_allclose(between[2].world_from_camera, second.world_from_camera, atol=1e-9)
    np.testing.assert_allclose(between[1].center, (first.center + second.center) / 2, atol=1e-9)


def _golden_gaussians(golden) -> Gaussians:
    import torch

    tensors = {name: torch.from_numpy(golden[f"gsply/{name}"][0]) for name in ("means", "scales", "rotations")}
    return Gaussians(
        tensors["means"],
        tensors["scales"].log(),
        tensors["rotations"],
        logit(torch.from_numpy(golden["gsply/opacities"][0])),
        torch.from_numpy(golden["gsply/harmonics"][0]).transpose(1, 2).contiguous(),
    )


def test_the_gaussian_ply_is_the_official_one(shared, tmp_path):
    golden = np.load(shared / "parity" / "da3" / "maths_export.npz")
    depth = golden["gsply/depth"][..., 0]
    official = PlyData.read(io.BytesIO(golden["gsply/file"].tobytes()))["vertex"].data
    count = write_gs_ply(tmp_path / "scene.ply", _golden_gaussians(golden), depth)
    ours = PlyData.read(tmp_path / "scene.ply")["vertex"].data
    assert ours.dtype.names == official.dtype.names and count == len(ours) == len(official)
    for name in ours.dtype.names:
        if not name.startswith("rot_"):
            np.testing.assert_allclose(ours[name], official[name], rtol=1e-5, atol=1e-5, err_msg=name)
    # quaternions are written at unit length; the official file has them as the network gave them
    lengths = np.sqrt(sum(official[f"rot_{axis}"].astype(np.float64) ** 2 for axis in range(4)))
    for axis in range(4):
        np.testing.assert_allclose(ours[f"rot_{axis}"], official[f"rot_{axis}"] / lengths, atol=1e-5)


def test_views_left_out_of_a_gaussian_ply():
    depth = np.ones((4, 40, 40), np.float32)
    assert kept_pixels(depth).sum() == 4 * 38 * 38
    assert kept_pixels(depth, view_step=3).reshape(4, -1).any(axis=1).tolist() == [True, False, False, True]


@pytest.fixture
def scene(golden, cameras) -> Scene:
    class _Frames:
        width, height, names, timestamps = 28, 20, ["00000.png", "00001.png", "00002.png"], [0.0, 0.1, 0.2]

        def __len__(self):
            return 3

        def __getitem__(self, index):
            return self.rgb8(index) / np.float32(255)

        def rgb8(self, index):
            return golden["glb/images"][index]

    depths, confidences = (StoredMaps(3, 20, 28, dtype=np.float32) for _ in range(2))
    for index in range(3):
        depths[index] = golden["glb/depth"][index]
        confidences[index] = 1 - 1 / golden["glb/conf"][index]
    return Scene(_Frames(), cameras, None, depths, confidences)


def test_points_of_a_scene_are_those_of_its_sure_static_pixels(golden, scene):
    points = scene_points(scene)
    # every pixel is looked at here, so that the count is that of the percentile
    assert len(points.positions) == len(golden["glb/points_gltf"])
    pixels, z = scene.cameras[0].project(points.positions[:5].astype(np.float64))
    assert (z > 0).all()
    np.testing.assert_allclose(pixels % 1.0, 0.5, atol=1e-3)
    masks = StoredMaps(3, 20, 28, dtype=np.float32)
    masks[0] = np.ones((20, 28))
    scene.motion_masks = masks
    assert len(scene_points(scene).positions) < len(points.positions)
    assert len(scene_points(scene, max_points=100).positions) <= 100


def test_a_glb_opens_in_another_library(scene, tmp_path):
    pytest.importorskip("trimesh")
    pygltflib = pytest.importorskip("pygltflib")
    points = scene_points(scene)
    write_glb(tmp_path / "scene.glb", points, scene.cameras)
    found = pygltflib.GLTF2().load(str(tmp_path / "scene.glb"))
    modes = [primitive.mode for mesh in found.meshes for primitive in mesh.primitives]
    assert modes.count(0) == 1 and len(modes) == 5  # one cloud, three cameras, one path
    cloud = next(p for mesh in found.meshes for p in mesh.primitives if p.mode == 0)
    accessor = found.accessors[cloud.attributes.POSITION]
    assert accessor.count == len(points.positions) and cloud.attributes.COLOR_0 is not None
    assert np.abs(np.mean([accessor.min, accessor.max], axis=0)).max() < 10


def test_a_glb_of_cameras_alone_and_of_nothing(scene, tmp_path):
    trimesh = pytest.importorskip("trimesh")
    write_glb(tmp_path / "cameras.glb", scene_points(scene), scene.cameras, show_points=False)
    loaded = trimesh.load(tmp_path / "cameras.glb")
    assert len(loaded.geometry) == 4
    nothing = PointCloud(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8))
    with pytest.raises(InputError, match="nothing to write"):
        write_glb(tmp_path / "none.glb", nothing, [])
    assert not (tmp_path / "none.glb").exists()


def test_a_point_ply_opens_in_another_library(scene, tmp_path):
    trimesh = pytest.importorskip("trimesh")
    points = scene_points(scene)
    write_points_ply(tmp_path / "points.ply", points)
    loaded = trimesh.load(tmp_path / "points.ply")
    np.testing.assert_allclose(loaded.vertices, points.positions, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(loaded.colors)[:, :3], points.colors)


def test_npz_files_have_the_official_names_and_rounding(golden, tmp_path):
    arguments = {"confidence": golden["glb/conf"], "extrinsics": golden["glb/extr"], "intrinsics": golden["glb/intr"]}
    write_npz(tmp_path / "mini.npz", golden["glb/depth"], **arguments)
    write_npz(tmp_path / "full.npz", golden["glb/depth"], images=golden["glb/images"], **arguments)
    mini, full = np.load(tmp_path / "mini.npz"), np.load(tmp_path / "full.npz")
    assert set(mini.files) == {"depth", "conf", "extrinsics", "intrinsics"}
    assert set(full.files) == {*mini.files, "image"}
    np.testing.assert_allclose(full["depth"], golden["glb/depth"], atol=6e-7)
    np.testing.assert_array_equal(mini["conf"], np.round(golden["glb/conf"], 2))


def test_depth_and_feature_images_are_written_whole(golden, tmp_path):
    pairs = list(zip(golden["glb/images"], golden["glb/depth"], strict=True))
    assert write_depth_vis(tmp_path / "depth_vis", pairs) == 3
    assert sorted(path.name for path in (tmp_path / "depth_vis").iterdir()) == ["0000.jpg", "0001.jpg", "0002.jpg"]
    with pytest.raises(InputError):
        write_depth_vis(tmp_path / "none", [])
    assert not (tmp_path / "none").exists()
    features = np.random.default_rng(0).normal(size=(3, 5, 7, 12))
    write_feat_vis(tmp_path / "feat_vis", MemoryFrames(golden["glb/images"]), {"feat_layer_3": features})
    frames = list(decode_video(tmp_path / "feat_vis" / "feat_layer_3.mp4", lambda i: True, None, print))
    assert len(frames) == 3 and frames[0].pixels.shape == (20, 56, 3)


def test_feature_colours_are_the_principal_components():
    rng = np.random.default_rng(1)
    strong = rng.normal(size=(2, 6, 6, 3)) * [9.0, 5.0, 3.0]
    basis = np.linalg.qr(rng.normal(size=(16, 3)))[0]
    colors = feature_colors(strong @ basis.T + rng.normal(0, 1e-3, (2, 6, 6, 16)))
    for channel in range(3):
        correlation = np.corrcoef(colors[..., channel].ravel(), strong[..., channel].ravel())[0, 1]
        assert abs(correlation) > 0.8


def test_a_gaussian_video_plays(tmp_path):
    import torch

    rng = np.random.default_rng(2)
    gaussians = Gaussians(
        torch.from_numpy(rng.uniform([-1, -1, 2], [1, 1, 4], (300, 3)).astype(np.float32)),
        torch.full((300, 3), -2.5),
        torch.tensor([[1.0, 0, 0, 0]]).repeat(300, 1),
        torch.full((300,), 2.0),
        torch.from_numpy(rng.normal(0, 1, (300, 1, 3)).astype(np.float32)),
    )
    cameras = [Camera(48, 32, 40, 40, 24, 16, np.eye(4)), Camera(48, 32, 40, 40, 24, 16, np.eye(4))]
    cameras[1].world_from_camera[0, 3] = 0.3
    count = write_gs_video(tmp_path / "gs.mp4", gaussians, cameras, trajectory="interpolate")
    frames = list(decode_video(tmp_path / "gs.mp4", lambda i: True, None, print))
    assert len(frames) == count == 48
    image = frames[0].pixels
    assert image.shape == (32, 96, 3) and image[:, :48].std() > 10 and image[:, 48:].std() > 10
