"""A prediction in every format at once, read back with other libraries."""

import numpy as np
import pycolmap
import pytest
import torch
from plyfile import PlyData

from benchmarks.simulated_stream import SimulatedWalk
from dynamic_predictor.depth_anything3.gaussians import Gaussians as PixelGaussians
from dynamic_predictor.depth_anything3.prediction import DepthAnything3Prediction
from dynamic_predictor.depth_anything3.preprocessing import OriginalImage
from scene.errors import InputError
from stillsplat.prediction_export import EXPORT_FORMATS, ExportSettings, confident_points, export_prediction

pytest.importorskip("trimesh")


@pytest.fixture
def prediction() -> DepthAnything3Prediction:
    """Three views of a wall 3 away, from places side by side."""
    count, height, width = 3, 28, 42
    rng = np.random.default_rng(0)
    extrinsics = np.tile(np.eye(4)[:3], (count, 1, 1)).astype(np.float32)
    extrinsics[:, 0, 3] = [0.0, -0.3, -0.6]
    intrinsics = np.tile(np.array([[40.0, 0, 21], [0, 40.0, 14], [0, 0, 1]], np.float32), (count, 1, 1))
    pixels = count * height * width
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    rays = np.stack([(u - 21) / 40, (v - 14) / 40, np.ones_like(u)], axis=-1)
    means = np.stack([3 * rays + [0.3 * view, 0, 0] for view in range(count)]).reshape(1, pixels, 3)
    gaussians = PixelGaussians(
        torch.from_numpy(means.astype(np.float32)),
        torch.full((1, pixels, 3), 0.04),
        torch.tensor([1.0, 0, 0, 0]).repeat(1, pixels, 1),
        torch.from_numpy(rng.normal(0, 0.5, (1, pixels, 3, 9)).astype(np.float32)),
        torch.full((1, pixels), 0.9),
    )
    return DepthAnything3Prediction(
        depth=np.full((count, height, width), 3.0, np.float32),
        conf=rng.uniform(1, 3, (count, height, width)).astype(np.float32),
        extrinsics=extrinsics,
        intrinsics=intrinsics,
        processed_images=rng.integers(0, 255, (count, height, width, 3), np.uint8),
        gaussians=gaussians,
        aux={"feat_layer_5": rng.normal(size=(count, 2, 3, 8)).astype(np.float32)},
    )


def test_all_formats_at_once(prediction, tmp_path):
    settings = ExportSettings(trajectory="original")
    ten_times = np.diag([10.0, 10.0, 1.0])
    prediction.originals = [OriginalImage(name, 420, 280, ten_times) for name in ("a.jpg", "b.jpg", "c.jpg")]
    export_prediction(prediction, tmp_path, "-".join(EXPORT_FORMATS), settings)
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {
        "exports/npz/results.npz",
        "exports/mini_npz/results.npz",
        "scene.glb",
        "scene.jpg",
        "points.ply",
        "depth_vis/0002.jpg",
        "feat_vis/feat_layer_5.mp4",
        "gs_ply/0000.ply",
        "gs_video/0000_original.mp4",
        "images.bin",
    } <= files
    # the intrinsics of the prediction stay as they were, whatever was written before
    np.testing.assert_array_equal(
        np.load(tmp_path / "exports/mini_npz/results.npz")["intrinsics"], prediction.intrinsics
    )
    np.testing.assert_allclose(prediction.intrinsics[0, 0, 0], 40.0)
    model = pycolmap.Reconstruction(str(tmp_path))
    image = next(image for image in model.images.values() if image.name == "b.jpg")
    np.testing.assert_allclose(image.projection_center(), [0.3, 0, 0], atol=1e-6)
    np.testing.assert_allclose(model.cameras[image.camera_id].params, [400, 400, 210, 140])
    points = PlyData.read(tmp_path / "points.ply")["vertex"]
    np.testing.assert_allclose(points["z"], 3.0, atol=1e-5)
    assert len(points.data) == pytest.approx(0.6 * 3 * 28 * 42, rel=0.02)
    assert (
        len(PlyData.read(tmp_path / "gs_ply" / "0000.ply")["vertex"].data) == 3 * 28 * 40
    )  # borders: 0 rows, 1 column


def test_points_and_colours_are_the_official_ones(shared):
    """But for half a pixel: the official exporter looks through the corners of pixels."""
    with np.load(shared / "parity" / "da3" / "maths_export.npz") as golden:
        made = DepthAnything3Prediction(
            depth=golden["glb/depth"],
            conf=golden["glb/conf"],
            extrinsics=golden["glb/extr"],
            intrinsics=golden["glb/intr"],
            processed_images=golden["glb/images"],
        )
        corners = made.intrinsics + np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]], np.float32)
        shifted = DepthAnything3Prediction(**{**vars(made), "intrinsics": corners})
        points = confident_points(shifted, shifted.cameras(), ExportSettings())
        np.testing.assert_allclose(points.positions, golden["glb/points_world"], atol=1e-4)
        np.testing.assert_array_equal(points.colors, golden["glb/colors"])


def test_colmap_points_have_tracks(tmp_path):
    """An exact walk through a room: what is observed is observed by several, where it is; the cloud stays dense."""
    walk = SimulatedWalk(6, lap=72, width=240, height=160)
    crop_and_double = np.array([[2.0, 0, 10], [0, 2.0, 20], [0, 0, 1]])
    exact = DepthAnything3Prediction(
        depth=np.stack([walk.z_depth(index) for index in range(6)]).astype(np.float32),
        extrinsics=np.stack([np.linalg.inv(walk.world_from_camera(index))[:3] for index in range(6)]),
        intrinsics=np.stack([walk.intrinsics] * 6),
        processed_images=np.stack([walk.image(index) for index in range(6)]),
        originals=[OriginalImage(f"{index}.jpg", 500, 360, crop_and_double) for index in range(6)],
    )
    export_prediction(exact, tmp_path, "colmap")
    model = pycolmap.Reconstruction(str(tmp_path))
    assert len(model.points3D) == 6 * 240 * 160  # viewers and the training of Gaussians want them dense
    lengths = np.array([point.track.length() for point in model.points3D.values()])
    observed = lengths[lengths > 0]
    assert (observed >= 2).mean() > 0.99 and observed.mean() > 3 and len(observed) > 3000
    assert observed.sum() <= 6 * 4000
    for image in model.images.values():
        assert len(image.points2D) > 1000
        walls = walk.z_depth(int(image.name[0]))
        for point in image.points2D:
            if not point.has_point3D():
                continue
            position = model.points3D[point.point3D_id].xyz
            assert np.abs(image.project_point(position) - point.xy).max() < 1e-6
            column, row = ((point.xy - [10, 20]) / 2).clip(0, [239, 159]).astype(int)
            depth = (image.cam_from_world() * position)[2]
            assert depth == pytest.approx(walls[row, column], rel=0.051)
    lines = (tmp_path / "images.txt").read_text().splitlines()[3:]
    assert len(lines) == 12 and all(line.strip() for line in lines)


def test_an_export_replaces_an_earlier_one(prediction, tmp_path):
    for _ in range(2):
        export_prediction(prediction, tmp_path, "depth_vis-feat_vis-glb-colmap")
    assert len(list((tmp_path / "depth_vis").iterdir())) == 3
    assert len(pycolmap.Reconstruction(str(tmp_path)).images) == 3


def test_what_cannot_be_written_is_said_before_anything_is(prediction, tmp_path):
    with pytest.raises(InputError, match="usdz"):
        export_prediction(prediction, tmp_path / "out", "mini_npz-usdz")
    prediction.gaussians = None
    with pytest.raises(InputError, match="gs_ply needs gaussians"):
        export_prediction(prediction, tmp_path / "out", ["mini_npz", "gs_ply"])
    assert not (tmp_path / "out").exists()
    monocular = DepthAnything3Prediction(depth=prediction.depth, processed_images=prediction.processed_images)
    with pytest.raises(InputError, match="extrinsics and intrinsics"):
        export_prediction(monocular, tmp_path / "out", "glb")
    export_prediction(monocular, tmp_path / "out", "mini_npz-depth_vis")
    assert (tmp_path / "out" / "depth_vis" / "0000.jpg").exists()
