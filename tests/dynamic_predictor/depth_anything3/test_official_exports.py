"""`inference` with the official export arguments: files, their places, the cameras in them, and what is refused."""

import av
import numpy as np
import pycolmap
import pytest
import torch
from PIL import Image
from plyfile import PlyData

from dynamic_predictor.depth_anything3 import DepthAnything3
from dynamic_predictor.depth_anything3.network import build_network
from dynamic_predictor.depth_anything3.settings import BackboneSettings, HeadSettings, NetworkSettings
from scene.errors import InputError
from tests.dynamic_predictor.depth_anything3.da3_goldens import filled

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
        ({"export_kwargs": {"glb": {"colour": 1}}}, '"colour"'),
        ({"export_kwargs": {"gltf": {}}}, '"gltf"'),
        ({"export_kwargs": {"gs_video": {"trj_mode": "loop"}}}, "trj_mode"),
        ({"export_kwargs": {"gs_ply": {"gs_views_interval": 0}}}, "N-th"),
        ({"export_kwargs": {"gs_video": {"output_name": "../walk"}}}, "plain name"),
        ({"render_exts": np.zeros((4, 4))}, "render_exts have the shape"),
        ({"render_exts": np.zeros((2, 4, 4))}, "rotations"),
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
