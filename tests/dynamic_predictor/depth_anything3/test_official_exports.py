"""`inference` with the official export arguments: files, their places, the cameras in them, and what is refused."""

import av
import numpy as np
import pycolmap
import pytest
import torch
from PIL import Image
from plyfile import PlyData

from dynamic_predictor.depth_anything3 import DepthAnything3
from dynamic_predictor.depth_anything3.gaussians import Gaussians as PixelGaussians
from dynamic_predictor.depth_anything3.network import build_network
from dynamic_predictor.depth_anything3.prediction import DepthAnything3Prediction
from dynamic_predictor.depth_anything3.preprocessing import OriginalImage
from dynamic_predictor.depth_anything3.settings import BackboneSettings, HeadSettings, NetworkSettings
from scene.errors import InputError
from scene.formats.options import ExportOptions
from scene.formats.registry import export, formats
from tests.dynamic_predictor.depth_anything3.da3_goldens import filled
from tests.simulated_stream import SimulatedWalk

_HEAD = HeadSettings(16, (12, 16, 24, 32))
_FIELD_OF_VIEW = {"cam_dec.fc_fov.0.weight": ("mul", 0.2), "cam_dec.fc_fov.0.bias": ("add", 1.0)}


@pytest.fixture(scope="module")
def model() -> DepthAnything3:
    """The smallest network with a head for Gaussians."""
    settings = NetworkSettings(BackboneSettings(32, 6, 2, (2, 3, 4, 5), 2), _HEAD, gaussians=True)
    return DepthAnything3(filled(build_network(settings), _FIELD_OF_VIEW), name="tiny", device="cpu")


@pytest.fixture(scope="module")
def metric_model() -> DepthAnything3:
    settings = NetworkSettings(BackboneSettings(32, 4, 2, (0, 1, 2, 3)), _HEAD)
    return DepthAnything3(filled(build_network(settings), {}), name="tiny metric", metric=True, device="cpu")


@pytest.fixture
def images(tmp_path):
    generator = np.random.default_rng(3)
    paths = []
    for name, (width, height) in {"b.png": (120, 80), "a.jpg": (60, 40), "c.png": (60, 48)}.items():
        Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(tmp_path / name)
        paths.append(str(tmp_path / name))
    return paths


def _files(folder) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_every_format_lies_where_the_official_package_puts_it(model, images, tmp_path):
    out = tmp_path / "out"
    prediction = model.inference(
        image=images,
        infer_gs=True,
        process_res=56,
        export_dir=str(out),
        export_format="mini_npz-npz-glb-gs_ply-gs_video-feat_vis-depth_vis-colmap",
        export_feat_layers=[1, 4],
        conf_thresh_percentile=20.0,
        num_max_points=500,
        show_cameras=False,
        feat_vis_fps=3,
        export_kwargs={"gs_video": {"trj_mode": "original", "video_quality": "low", "chunk_size": 1}},
    )
    height, width = prediction.depth.shape[1:]
    expected = {"scene.glb", "scene.jpg", "exports/npz/results.npz", "exports/mini_npz/results.npz"}
    expected |= {f"{stem}.{kind}" for stem in ("cameras", "images", "points3D") for kind in ("bin", "txt")}
    expected |= {f"depth_vis/{index:04d}.jpg" for index in range(3)} | {"gs_ply/0000.ply", "gs_video/0000_original.mp4"}
    for layer in (1, 4):
        expected |= {f"feat_vis/feat_layer_{layer}/{index:06d}.jpg" for index in range(3)}
        expected.add(f"feat_vis/feat_layer_{layer}.mp4")
    assert _files(out) == expected
    with np.load(out / "exports" / "npz" / "results.npz") as arrays:
        assert set(arrays) == {"depth", "image", "conf", "extrinsics", "intrinsics"}
        np.testing.assert_allclose(arrays["depth"], prediction.depth, atol=1e-6)
        np.testing.assert_array_equal(arrays["intrinsics"], prediction.intrinsics)
    trimesh = pytest.importorskip("trimesh")
    geometries = trimesh.load(out / "scene.glb", process=False).geometry
    assert set(geometries) == {"points"} and len(geometries["points"].vertices) == 500
    with av.open(str(out / "gs_video" / "0000_original.mp4")) as video:
        assert video.streams.video[0].frames == 3
        assert (video.streams.video[0].width, video.streams.video[0].height) == (2 * width, height)
    with av.open(str(out / "feat_vis" / "feat_layer_4.mp4")) as video:
        assert video.streams.video[0].average_rate == 3
    assert len(PlyData.read(out / "gs_ply" / "0000.ply")["vertex"].data) > 0


@pytest.mark.parametrize("method", ["upper_bound_resize", "upper_bound_crop", "lower_bound_crop"])
@pytest.mark.filterwarnings("ignore:The images have different shapes")
def test_colmap_cameras_are_those_of_the_files(model, images, tmp_path, method):
    """Known cameras, given in pixels of the files, come back as they were however the images were fitted and cropped;
    the official exporter forgets about crops."""
    extrinsics = np.tile(np.eye(4), (3, 1, 1))
    extrinsics[:, 0, 3] = [0.0, -0.5, -1.0]
    extrinsics[2, 1, 3] = 0.4
    intrinsics = np.array([[[99.0, 0, 61], [0, 98, 37], [0, 0, 1]], *[[[50.0, 0, 31], [0, 51, 22], [0, 0, 1]]] * 2])
    model.inference(
        images, extrinsics, intrinsics, process_res=56, process_res_method=method,
        export_dir=tmp_path / "out", export_format="colmap",
    )  # fmt: skip
    found = pycolmap.Reconstruction(str(tmp_path / "out"))
    sizes = {"b.png": (120, 80), "a.jpg": (60, 40), "c.png": (60, 48)}
    assert {image.name for image in found.images.values()} == set(sizes)
    for image in found.images.values():
        index, camera = list(sizes).index(image.name), found.cameras[image.camera_id]
        k = intrinsics[index]
        assert (camera.width, camera.height) == sizes[image.name]
        np.testing.assert_allclose(camera.params, [k[0, 0], k[1, 1], k[0, 2], k[1, 2]], rtol=1e-5)
        np.testing.assert_allclose(image.cam_from_world().matrix(), extrinsics[index, :3], atol=1e-6)


def test_a_video_along_given_cameras(model, images, tmp_path):
    poses = np.tile(np.eye(4), (5, 1, 1))
    poses[:, 2, 3] = np.linspace(0, 0.5, 5)
    model.inference(
        images[:2],
        infer_gs=True,
        process_res=28,
        render_exts=poses,
        render_ixts=np.tile([[30.0, 0, 20], [0, 30, 16], [0, 0, 1]], (5, 1, 1)),
        render_hw=(32, 40),
        export_dir=tmp_path / "out",
        export_format="gs_video",
        export_kwargs={"gs_video": {"trj_mode": "original", "vis_depth": None, "output_name": "walk"}},
    )
    with av.open(str(tmp_path / "out" / "gs_video" / "walk.mp4")) as video:
        assert (video.streams.video[0].width, video.streams.video[0].height) == (40, 32)
        assert video.streams.video[0].frames == 5


def test_the_official_interface_makes_a_video_with_the_gaussians(model, images, tmp_path):
    strict = DepthAnything3(model.network, name="tiny", device="cpu", strict_official=True)
    for made, name in ((strict, "official"), (model, "ours")):
        made.inference(images[:1], infer_gs=True, process_res=14, export_dir=tmp_path / name, export_format="gs_ply")
    assert _files(tmp_path / "official") == {"gs_ply/0000.ply", "gs_video/0000_wander.mp4"}
    assert _files(tmp_path / "ours") == {"gs_ply/0000.ply"}


class _Untouchable(torch.nn.Module):
    """A network that must not be asked."""

    def __init__(self, network) -> None:
        super().__init__()
        self.settings, self.precision = network.settings, torch.float32

    def forward(self, *arguments, **options):
        raise AssertionError("the network ran although its result cannot be written")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"export_format": "usdz"}, '"usdz"'),
        ({"export_format": ""}, '""'),
        ({"export_format": "mini_npz-gs_ply"}, "infer_gs"),
        ({"export_format": "feat_vis"}, "export_feat_layers"),
        ({"conf_thresh_percentile": 140}, "percentile"),
        ({"num_max_points": 0}, "At least one point"),
        ({"feat_vis_fps": 0}, "per second"),
        ({"export_kwargs": {"glb": {"color": 1}}}, '"color"'),
        ({"export_kwargs": {"gltf": {}}}, '"gltf"'),
        ({"export_kwargs": {"gs_video": {"trj_mode": "loop"}}}, "trj_mode"),
        ({"export_kwargs": {"gs_ply": {"gs_views_interval": 0}}}, "N-th"),
        ({"export_kwargs": {"gs_video": {"output_name": "../walk"}}}, "plain name"),
        ({"render_exts": np.zeros((4, 4))}, "render_exts have the shape"),
        ({"render_exts": np.zeros((2, 4, 4))}, "no rotation"),
        ({"render_exts": np.tile(np.eye(4), (2, 1, 1)), "render_ixts": np.eye(3)[None]}, "give as many"),
        ({"render_hw": (0, 40)}, "render_hw"),
    ],
)
def test_what_cannot_be_exported_is_said_before_the_network_runs(model, images, tmp_path, options, message):
    untouchable = DepthAnything3(_Untouchable(model.network), name="tiny", device="cpu")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message) as refusal:
        untouchable.inference(images, process_res=56, export_dir=tmp_path / "out", **options)
    assert str(refusal.value).endswith(".") and not (tmp_path / "out").exists()


def test_monocular_models_have_no_glb(metric_model, images, tmp_path):
    with pytest.raises(InputError, match="does not predict"):
        metric_model.inference(images, export_dir=tmp_path / "out", export_format="glb")
    metric_model.inference(images, process_res=56, export_dir=tmp_path / "out", export_format="mini_npz-depth_vis")
    assert "exports/mini_npz/results.npz" in _files(tmp_path / "out")


def test_images_are_given_once(model):
    with pytest.raises(InputError, match="images or image"):
        model.inference()
    with pytest.raises(InputError, match="images or image"):
        model.inference(["a"], image=["a"])


def test_moving_a_model(model):
    assert model.to("cpu") is model and model.device.type == "cpu"
    with pytest.raises(InputError, match="no device"):
        model.to("toaster")


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
    options = ExportOptions(trajectory="original", depth_vis_beside=True)
    ten_times = np.diag([10.0, 10.0, 1.0])
    prediction.originals = [OriginalImage(name, 420, 280, ten_times) for name in ("a.jpg", "b.jpg", "c.jpg")]
    export(prediction, tmp_path, "-".join(formats()), options)
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


def test_points_and_colors_are_the_official_ones(shared):
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
        points = shifted.exportable().point_cloud(ExportOptions())
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
    export(exact, tmp_path, "colmap")
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
        export(prediction, tmp_path, "depth_vis-feat_vis-glb-colmap")
    assert len(list((tmp_path / "depth_vis").iterdir())) == 3
    assert len(pycolmap.Reconstruction(str(tmp_path)).images) == 3


def test_what_cannot_be_written_is_said_before_anything_is(prediction, tmp_path):
    with pytest.raises(InputError, match="usdz"):
        export(prediction, tmp_path / "out", "mini_npz-usdz")
    prediction.gaussians = None
    with pytest.raises(InputError, match="gs_ply needs one Gaussian per pixel"):
        export(prediction, tmp_path / "out", ["mini_npz", "gs_ply"])
    assert not (tmp_path / "out").exists()
    monocular = DepthAnything3Prediction(depth=prediction.depth, processed_images=prediction.processed_images)
    with pytest.raises(InputError, match="glb needs cameras and points"):
        export(monocular, tmp_path / "out", "glb")
    export(monocular, tmp_path / "out", "mini_npz-depth_vis")
    assert (tmp_path / "out" / "depth_vis" / "0000.jpg").exists()
