"""Metrics, fusion and readers of Depth Anything 3's benchmark: against its goldens, against exact shapes, and on small
made-up folders of the right structure."""

import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pycolmap
import pytest
from plyfile import PlyData, PlyElement
from scipy.io import savemat
from scipy.spatial import KDTree

from benchmarks.simulated_stream import SimulatedPredictor, SimulatedWalk
from dynamic_predictor.driver.chunk_predictor import ChunkPrediction
from dynamic_predictor.driver.predictors import create_chunk_predictor
from dynamic_predictor.evaluation.datasets.reconstruction import RECONSTRUCTION_DATASETS
from dynamic_predictor.evaluation.reconstruction_benchmark import BenchmarkSettings, run_benchmark, sample_views
from dynamic_predictor.evaluation.scores.depth_fusion import DistanceVolume
from dynamic_predictor.evaluation.scores.dtu import consistent_points, thin_by_distance
from dynamic_predictor.evaluation.scores.pair_poses import area_under_curve, pair_errors, score_pair_poses
from dynamic_predictor.evaluation.scores.surfaces import read_surface, sample_triangles, score_surface, thin_points
from dynamic_predictor.launch import main as launch
from scene.camera import Camera
from scene.errors import InputError
from scene.images import write_png
from scene.rotations import quaternion_from_rotation
from tests.paths import DATA

_DATA = DATA / "da3"
_HALF = np.array([4.0, 1.5, 3.0])  # of the simulated room


@pytest.fixture(scope="module")
def golden():
    return np.load(_DATA / "maths_bench.npz")


@pytest.mark.parametrize("count", [2, 6, 10])
def test_pose_scores_are_the_official_ones(golden, count):
    true, predicted = golden[f"pose{count}/gt_w2c"], golden[f"pose{count}/pred_w2c"]
    rotation, translation = pair_errors(predicted, true)
    np.testing.assert_allclose(rotation, golden[f"pose{count}/rerr"], atol=1e-4)
    np.testing.assert_allclose(translation, golden[f"pose{count}/terr"], atol=1e-4)
    scores = score_pair_poses(predicted, true)
    for limit in (3, 5, 15, 30):
        assert getattr(scores, f"auc_{limit}") == pytest.approx(float(golden[f"pose{count}/auc{limit:02d}"]), abs=1e-9)


def test_the_area_counts_pairs_below_whole_degrees():
    errors = np.array([0.5, 1.5, 2.5, 9.0])
    # below 1: 1 of 4, below 2: 2 of 4, below 3: 3 of 4
    assert area_under_curve(errors, np.zeros(4), 3) == pytest.approx((0.25 + 0.5 + 0.75) / 3)


def test_surface_scores_are_the_official_ones(golden):
    scores = score_surface(golden["recon/pred"], golden["recon/gt"], 0.05)
    names = {"accuracy": "acc", "completeness": "comp", "overall": "overall", "precision": "precision"}
    for ours, theirs in {**names, "recall": "recall", "f_score": "fscore"}.items():
        assert getattr(scores, ours) == pytest.approx(float(golden[f"recon/{theirs}"]), rel=1e-9)
    assert score_surface(np.zeros((0, 3)), golden["recon/gt"], 0.05).f_score == 0.0


def test_thinning_keeps_one_mean_per_voxel():
    points = np.array([[0.0, 0, 0], [0.2, 0, 0], [1.0, 0, 0], [5.0, 5, 5]])
    np.testing.assert_allclose(sorted(thin_points(points, 1.0).tolist()), [[0.1, 0, 0], [1, 0, 0], [5, 5, 5]])


def test_triangles_are_sampled_by_area():
    vertices = np.array([[0.0, 0, 0], [3, 0, 0], [0, 1, 0], [0, 0, 1]])
    points = sample_triangles(vertices, np.array([[0, 1, 2], [0, 2, 3]]), 20_000)
    assert np.mean(points[:, 2] == 0) == pytest.approx(0.75, abs=0.02)
    flat = points[points[:, 2] == 0]
    assert (flat[:, 0] / 3 + flat[:, 1] <= 1 + 1e-9).all()
    np.testing.assert_allclose(flat.mean(axis=0), [1, 1 / 3, 0], atol=0.03)


def test_fused_depth_of_a_sphere_lies_on_the_sphere():
    center, radius = np.array([0.1, -0.2, 3.0]), 0.8
    volume = DistanceVolume(0.02, 0.08)
    for angle in np.linspace(0, 2 * np.pi, 8, endpoint=False):
        pose = np.eye(4)
        c, s = np.cos(angle), np.sin(angle)
        pose[:3, :3] = [[c, 0, s], [0, 1, 0], [-s, 0, c]]
        pose[:3, 3] = center - 3.0 * pose[:3, 2]
        camera = Camera(160, 120, 150.0, 150.0, 80.0, 60.0, pose)
        rays = camera.unproject(np.ones((120, 160))) - camera.center
        b = rays @ (camera.center - center)
        a = (rays**2).sum(-1)
        root = b**2 - a * (9.0 - radius**2)
        depth = np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, 0.0)
        volume.integrate(depth.astype(np.float32), camera)
    points = volume.surface_points()
    distance = np.abs(np.linalg.norm(points - center, axis=1) - radius)
    assert len(points) > 3000
    assert np.median(distance) < 0.004 and np.quantile(distance, 0.99) < 0.02


def _write_box(path: Path) -> None:
    """The walls of the simulated room as a mesh."""
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * _HALF
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [(q[0], q[1], q[2]) for q in quads] + [(q[0], q[2], q[3]) for q in quads]
    vertices = np.array([tuple(corner) for corner in corners], dtype=[("x", "f4"), ("y", "f4"), ("z", "f4")])
    triangles = np.zeros(len(faces), dtype=[("vertex_indices", "i4", (3,))])
    triangles["vertex_indices"] = faces
    path.parent.mkdir(parents=True, exist_ok=True)
    PlyData([PlyElement.describe(vertices, "vertex"), PlyElement.describe(triangles, "face")]).write(str(path))


def test_a_mesh_is_read_as_even_points_on_it(tmp_path):
    _write_box(tmp_path / "box.ply")
    points = read_surface(tmp_path / "box.ply", 5000)
    assert points.shape == (5000, 3)
    np.testing.assert_allclose(np.abs(np.abs(points) - _HALF).min(axis=1), 0, atol=1e-6)
    with pytest.raises(InputError, match="missing"):
        read_surface(tmp_path / "none.ply")
    (tmp_path / "bad.ply").write_text("ply\nformat nonsense")
    with pytest.raises(InputError, match="not a readable PLY"):
        read_surface(tmp_path / "bad.ply")


_WALK = SimulatedWalk(24, lap=24, width=96, height=64)


def _make_seven_scenes(root: Path) -> None:
    frames = root / "7scenes" / "7Scenes" / "chess" / "seq-01"
    frames.mkdir(parents=True)
    for index in range(24):
        write_png(frames / f"frame-{index:06d}.color.png", _WALK.image(index))
        np.savetxt(frames / f"frame-{index:06d}.pose.txt", _WALK.world_from_camera(index))
        depth = (1000 * _WALK.z_depth(index)).astype(np.uint16)
        depth[:4] = 65535
        (frames / f"frame-{index:06d}.depth.png").write_bytes(cv2.imencode(".png", depth)[1].tobytes())
    _write_box(root / "7scenes" / "7Scenes" / "meshes" / "chess.ply")


def _make_eth3d(root: Path) -> None:
    scene = root / "eth3d" / "relief"
    (scene / "images").mkdir(parents=True)
    (scene / "dslr_calibration_jpg").mkdir()
    fx, cx, cy = _WALK.intrinsics[0, 0], _WALK.intrinsics[0, 2], _WALK.intrinsics[1, 2]
    (scene / "dslr_calibration_jpg" / "cameras.txt").write_text(
        f"# list\n# of\n# cameras\n0 THIN_PRISM_FISHEYE 96 64 {fx} {fx} {cx} {cy} 0 0 0 0 0 0 0 0\n"
    )
    lines = ["# list", "# of", "# images", "# all"]
    for index in range(24):
        name = f"dslr_images/DSC_0{410 + index}.JPG"
        pose = np.linalg.inv(_WALK.world_from_camera(index))
        q = quaternion_from_rotation(pose[:3, :3])
        lines += [" ".join(map(str, [index, *q, *pose[:3, 3], 0, name])), "1.0 2.0 -1"]
        (scene / "images" / "dslr_images").mkdir(exist_ok=True)
        write_png(scene / "images" / name.replace(".JPG", ".png"), _WALK.image(index))
        (scene / "images" / name.replace(".JPG", ".png")).rename(scene / "images" / name)
    (scene / "dslr_calibration_jpg" / "images.txt").write_text("\n".join(lines) + "\n")
    truth = scene / "ground_truth_depth" / "dslr_images"
    truth.mkdir(parents=True)
    depth = _WALK.z_depth(0).astype(np.float32)
    depth[0] = np.inf
    depth.tofile(truth / "DSC_0410.JPG")
    _write_box(scene / "combined_mesh.ply")


def _make_hiroom(root: Path) -> None:
    scene = root / "hiroom" / "data" / "a" / "b" / "c"
    for name in ("image", "pose", "depth", "aliasing_mask"):
        (scene / name).mkdir(parents=True)
    np.save(scene / "cam_K.npy", _WALK.intrinsics)
    for index in range(24):
        write_png(scene / "image" / f"{index:03d}.png", _WALK.image(index))
        np.save(scene / "pose" / f"{index:03d}.npy", np.linalg.inv(_WALK.world_from_camera(index)))
        depth = (1000 * _WALK.z_depth(index)).astype(np.uint16)
        (scene / "depth" / f"{index:03d}.png").write_bytes(cv2.imencode(".png", depth)[1].tobytes())
        mask = np.zeros((64, 96), np.uint8)
        mask[:, :5] = 255
        write_png(scene / "aliasing_mask" / f"{index:03d}.png", mask)
    _write_box(root / "hiroom" / "fused_pcd" / "a-b-c.ply")


def _make_scannetpp(root: Path) -> None:
    base = root / "scannetpp" / "09c1414f1b" / "merge_dslr_iphone"
    (base / "images" / "iphone").mkdir(parents=True)
    model = base / "colmap" / "sparse_render_rgb"
    model.mkdir(parents=True)
    fx, cx, cy = _WALK.intrinsics[0, 0], _WALK.intrinsics[0, 2], _WALK.intrinsics[1, 2]
    (model / "cameras.txt").write_text(f"1 OPENCV 96 64 {fx} {fx} {cx} {cy} 0 0 0 0\n")
    lines = []
    for index in range(24):
        pose = np.linalg.inv(_WALK.world_from_camera(index))
        q = quaternion_from_rotation(pose[:3, :3])
        name = f"iphone/frame_{index:06d}.png"
        lines += [" ".join(map(str, [index + 1, *q, *pose[:3, 3], 1, name])), ""]
        write_png(base / "images" / name, _WALK.image(index))
    (model / "images.txt").write_text("\n".join(lines) + "\n")
    (model / "points3D.txt").write_text("")
    assert len(pycolmap.Reconstruction(str(model)).images) == 24
    _write_box(root / "scannetpp" / "09c1414f1b" / "scans" / "mesh_aligned_0.05.ply")


def _make_dtu64(root: Path) -> None:
    (root / "dtu64" / "scan24" / "image").mkdir(parents=True)
    (root / "dtu64" / "Cameras").mkdir()
    for index in range(40):
        write_png(root / "dtu64" / "scan24" / "image" / f"{index:08d}.png", _WALK.image(index))
        pose = np.linalg.inv(_WALK.world_from_camera(index))
        rows = ["extrinsic", *(" ".join(map(str, row)) for row in pose), "", "intrinsic"]
        rows += [" ".join(map(str, row)) for row in _WALK.intrinsics] + ["", "425 2.5"]
        (root / "dtu64" / "Cameras" / f"{index:08d}_cam.txt").write_text("\n".join(rows) + "\n")


def _make_dtu(root: Path) -> None:
    """The simulated room, a unit of it being a millimetre, with its ceiling above the table plane at y = 0."""
    base = root / "dtu"
    for name in ("Rectified/scan1", "Cameras", "depth_raw/Depths/scan1", "SampleSet/mvs_data/ObsMask"):
        (base / name).mkdir(parents=True)
    for index in range(24):
        write_png(base / "Rectified" / "scan1" / f"rect_{index + 1:03d}_3_r5000.png", _WALK.image(index))
        rows = ["extrinsic", *(" ".join(map(str, row)) for row in np.linalg.inv(_WALK.world_from_camera(index)))]
        rows += ["", "intrinsic", *(" ".join(map(str, row)) for row in _WALK.intrinsics)]
        (base / "Cameras" / f"{index:08d}_cam.txt").write_text("\n".join(rows) + "\n")
        mask = np.full((64, 96), 200, np.uint8)
        mask[:3] = 5
        write_png(base / "depth_raw" / "Depths" / "scan1" / f"depth_visual_{index:04d}.png", mask)
    _write_box(base / "Points" / "stl" / "stl001_total.ply")
    masks = base / "SampleSet" / "mvs_data" / "ObsMask"
    box = np.stack([-_HALF - 1, _HALF + 1])
    cells = np.ceil((box[1] - box[0]) / 0.5).astype(int) + 1
    savemat(masks / "ObsMask1_10.mat", {"ObsMask": np.ones(cells, np.uint8), "BB": box, "Res": 0.5})
    savemat(masks / "Plane1.mat", {"P": np.array([[0.0], [1.0], [0.0], [0.0]])})


_MADE = {
    "dtu": (_make_dtu, "scan1", 24),
    "7scenes": (_make_seven_scenes, "chess", 24),
    "eth3d": (_make_eth3d, "relief", 17),  # 427 to 433 are left out
    "hiroom": (_make_hiroom, "a/b/c", 24),
    "scannetpp": (_make_scannetpp, "09c1414f1b", 24),
    "dtu64": (_make_dtu64, "scan24", 40),
}


@pytest.mark.parametrize("name", list(_MADE))
def test_readers_find_images_and_true_cameras(tmp_path, name):
    make, scene_name, count = _MADE[name]
    make(tmp_path)
    dataset = RECONSTRUCTION_DATASETS[name]
    assert dataset.list_scenes(tmp_path / dataset.folder) == [scene_name]
    scene = dataset.open_scene(tmp_path / dataset.folder, scene_name)
    assert len(scene.views) == count
    place = 33 if name == "dtu64" else 0  # the reference view comes first
    view = scene.views[0]
    np.testing.assert_allclose(np.linalg.inv(view.camera_from_world), _WALK.world_from_camera(place), atol=1e-5)
    image = view.read()
    assert image.shape[1] / image.shape[0] == pytest.approx(1024 / 768 if name == "scannetpp" else 1.5)
    if name not in ("scannetpp", "7scenes"):
        np.testing.assert_allclose(view.intrinsics, _WALK.intrinsics)
    if name == "scannetpp":
        # a image without distortion is only resized
        np.testing.assert_allclose(view.intrinsics[0, 2], 512, atol=12)
    valid = view.read_valid()
    if name in ("7scenes", "eth3d", "hiroom", "dtu"):
        assert valid is not None and valid.any() and not valid.all()
    assert (scene.surface is None) == (name == "dtu64")


def test_scenes_that_are_not_complete_are_one_sentence(tmp_path):
    for name, dataset in RECONSTRUCTION_DATASETS.items():
        with pytest.raises(InputError):
            dataset.open_scene(tmp_path / name, "nothing")


def test_a_perfect_prediction_scores_perfectly(tmp_path, monkeypatch):
    _make_hiroom(tmp_path)
    # coarser than the protocol, as the images are
    coarse = replace(RECONSTRUCTION_DATASETS["hiroom"], voxel_size=0.06, truncation=0.18, threshold=0.1)
    monkeypatch.setitem(RECONSTRUCTION_DATASETS, "hiroom", coarse)
    monkeypatch.setattr("dynamic_predictor.evaluation.reconstruction_benchmark._SURFACE_POINTS", 60_000)
    settings = BenchmarkSettings("hiroom", tmp_path, tmp_path / "results")
    pose = run_benchmark(settings, "pose", SimulatedPredictor(_WALK))
    assert pose.scores["a/b/c"]["auc_3"] == 1.0 and not pose.failures
    surface = run_benchmark(settings, "recon", SimulatedPredictor(_WALK, noise=0.002))
    scores = surface.scores["a/b/c"]
    # floor and ceiling are not all seen; what is predicted lies on the walls
    assert scores["precision"] > 0.97 and scores["accuracy"] < 0.05
    assert (tmp_path / "results" / "evaluation" / "hiroom_recon.json").exists()
    assert "AUC@3" in pose.table and "F-score" in surface.table


def test_points_thinned_by_distance_are_apart_and_cover_the_rest():
    points = np.random.default_rng(0).uniform(0, 1, (3000, 3))
    thin = thin_by_distance(points, 0.1)
    assert KDTree(thin).query(thin, k=2)[0][:, 1].min() >= 0.1
    assert KDTree(thin).query(points)[0].max() <= 0.1


@pytest.mark.parametrize("posed", [False, True])
def test_dtu_is_scored_by_its_own_rules(tmp_path, posed, monkeypatch):
    _make_dtu(tmp_path)
    monkeypatch.setattr("dynamic_predictor.evaluation.reconstruction_benchmark._SURFACE_POINTS", 60_000)

    class Posed(SimulatedPredictor):
        def predict_posed_chunk(self, frames, camera_from_world, intrinsics):
            chunk = self.predict_chunk(frames)
            unit = np.median(chunk.z_depth[0] / _WALK.z_depth(0))
            return ChunkPrediction(
                np.linalg.inv(camera_from_world), intrinsics, chunk.z_depth / np.float32(unit), chunk.confidence
            )

    settings = BenchmarkSettings("dtu", tmp_path, tmp_path / "out", scenes=("scan1",), posed=posed)
    report = run_benchmark(settings, "recon", Posed(_WALK, noise=0.002))
    scores = report.scores["scan1"]
    # most of the floor is never seen, and what is seen of it in four views is less
    assert scores["accuracy"] < 0.06 and scores["completeness"] < 1.5
    assert scores["overall"] == pytest.approx((scores["accuracy"] + scores["completeness"]) / 2)
    assert np.isnan(scores["f_score"]) and "–" in report.table
    (tmp_path / "dtu" / "SampleSet" / "mvs_data" / "ObsMask" / "Plane1.mat").write_bytes(b"nothing")
    assert "scan 1" in run_benchmark(settings, "recon", Posed(_WALK)).failures["scan1"]


def test_points_that_one_view_alone_has_are_not_consistent():
    scene_depths = np.stack([_WALK.z_depth(index) for index in range(6)]).astype(np.float32)
    cameras = [
        Camera(96, 64, *_WALK.intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]].tolist(), _WALK.world_from_camera(0))
        for _ in range(6)
    ]
    same = np.repeat(scene_depths[:1], 6, axis=0)
    assert len(consistent_points(same, cameras)) > 5 * 64 * 96
    wrong = same.copy()
    wrong[2, 10:20] *= 1.5
    assert len(consistent_points(wrong, cameras)) < len(consistent_points(same, cameras))
    np.testing.assert_allclose(np.abs(consistent_points(wrong, cameras) / _HALF).max(axis=1), 1.0, atol=0.05)


class _Bent(SimulatedPredictor):
    """Cameras that point elsewhere."""

    def predict_chunk(self, frames):
        chunk = super().predict_chunk(frames)
        turn = np.eye(4)
        turn[:3, :3] = cv2.Rodrigues(np.array([0.0, 0.6, 0.0]))[0]
        chunk.world_from_camera[::2] = chunk.world_from_camera[::2] @ turn
        return chunk


def test_a_bad_prediction_scores_badly(tmp_path):
    _make_hiroom(tmp_path)
    settings = BenchmarkSettings("hiroom", tmp_path, tmp_path / "results")
    assert run_benchmark(settings, "pose", _Bent(_WALK)).scores["a/b/c"]["auc_30"] < 0.6


def test_what_the_predictor_warns_of_is_said_once(tmp_path):
    class Warning(SimulatedPredictor):
        def predict_chunk(self, frames):
            return replace(super().predict_chunk(frames), warnings=("DIS stands in for RAFT.",) * 2)

    _make_hiroom(tmp_path)
    said = []
    run_benchmark(BenchmarkSettings("hiroom", tmp_path, tmp_path / "results"), "pose", Warning(_WALK), say=said.append)
    assert said == ["a/b/c: DIS stands in for RAFT."]


def test_a_sample_of_views_is_the_same_every_time(tmp_path):
    _make_dtu64(tmp_path)
    dataset = RECONSTRUCTION_DATASETS["dtu64"]
    scene = dataset.open_scene(tmp_path / "dtu64", "scan24")
    names = [view.name for view in sample_views(scene, 10).views]
    assert names == [view.name for view in sample_views(scene, 10).views] and len(names) == 10
    assert len(sample_views(scene, 0).views) == len(sample_views(scene, 100).views) == 40


@pytest.mark.parametrize(
    "arguments",
    [
        ["--mode=eval_recon", "--eval_dataset=dtu64"],
        ["--mode=eval_recon", "--eval_dataset=sintel"],
        ["--mode=eval_depth", "--eval_dataset=eth3d"],
        ["--mode=eval_pose", "--eval_dataset=hiroom"],
        ["--mode=eval_recon", "--eval_dataset=7scenes", "--posed"],
    ],
)
def test_launch_refuses_what_cannot_be(arguments, tmp_path, capsys):
    for name in ("dtu64", "7scenes"):
        (tmp_path / name).mkdir()
    status = launch([*arguments, "--data_folder", str(tmp_path), "--output_dir", str(tmp_path / "out"), "--silent"])
    assert status == 2 and capsys.readouterr().err.startswith("launch.py: ")


def test_launch_scores_a_predictor(tmp_path, monkeypatch, capsys):
    _make_hiroom(tmp_path)
    monkeypatch.setattr(
        "dynamic_predictor.driver.predictors.create_chunk_predictor", lambda *a, **b: SimulatedPredictor(_WALK)
    )
    common = ["--data_folder", str(tmp_path), "--output_dir", str(tmp_path / "out"), "--silent"]
    assert launch(["--mode=eval_pose", "--eval_dataset=hiroom", "--predictor", "da3-small", *common]) == 0
    assert "1.0000" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--n_iter=3"], "--n_iter: the predictor geometric has nothing of that kind"),
        (["--predictor=da3-small", "--flow=dis", "--no_crop"], "--no_crop, --flow: the predictor da3-small has"),
        (["--device=cpu"], "--device: the predictor geometric has nothing of that kind"),
        (["--use_gt_mask"], "--use_gt_mask has no effect on hiroom: "),
        (["--use_gt_focal"], "--use_gt_focal has no effect on hiroom: "),
        (["--pose_eval_stride=2"], "--pose_eval_stride has no effect on hiroom: .*--max_frames"),
        (["--layout=das3r"], "--layout has no effect on hiroom: only scores are written"),
        (["--overwrite"], "--overwrite has no effect on hiroom: "),
        (["--depth_alignment", "median"], "--depth_alignment has no effect on hiroom: "),
        (["--posed"], "--posed is of --mode=eval_recon"),
        (["--dir_path=here"], "--dir_path is of --mode=eval_pose_custom"),
    ],
)
def test_options_without_effect_are_refused(tmp_path, capsys, words, reason):
    _make_hiroom(tmp_path)
    common = ["--mode=eval_pose", "--eval_dataset=hiroom", "--data_folder", str(tmp_path), "--silent"]
    assert launch([*common, f"--output_dir={tmp_path / 'out'}", *words]) == 2
    error = capsys.readouterr().err
    assert re.match(f"launch.py: {reason}", error) and len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_scene_that_fails_leaves_nothing(tmp_path):
    class Failing(SimulatedPredictor):
        def predict_chunk(self, frames):
            raise InputError("This is not to be had.")

    _make_hiroom(tmp_path)
    report = run_benchmark(BenchmarkSettings("hiroom", tmp_path, tmp_path / "out" / "deep"), "pose", Failing(_WALK))
    assert report.failures == {"a/b/c": "This is not to be had."} and not (tmp_path / "out").exists()


class _Sizes(SimulatedPredictor):
    """Remembers how large the images were."""

    def predict_chunk(self, frames):
        self.width = frames.width
        return super().predict_chunk(frames)


@pytest.mark.parametrize(
    ("words", "width", "resolution"),
    [([], 96, None), (["--max_size=48"], 48, 48), (["--max_size=48", "--device=cpu"], 48, 48)],
)
def test_options_reach_the_predictor(tmp_path, monkeypatch, words, width, resolution):
    _make_hiroom(tmp_path)
    predictor, asked = _Sizes(_WALK), {}

    def create(name, **options):
        asked.update(options, name=name)
        return predictor

    monkeypatch.setattr("dynamic_predictor.driver.predictors.create_chunk_predictor", create)
    common = ["--data_folder", str(tmp_path), "--output_dir", str(tmp_path / "out"), "--silent"]
    assert launch(["--mode=eval_pose", "--eval_dataset=hiroom", "--predictor", "da3-small", *common, *words]) == 0
    assert predictor.width == width and asked["resolution"] == resolution
    assert asked.get("device") == ("cpu" if "--device=cpu" in words else None)


def test_settings_and_weights_of_predictors_of_scenes(tmp_path):
    chunks = create_chunk_predictor("das3r", weights=str(tmp_path / "mine.pth"), iterations=3)
    assert chunks._predictor.settings.iterations == 3
    assert chunks._predictor.settings.weights == str(tmp_path / "mine.pth")
    with pytest.raises(InputError, match="geometric has no setting called iterations"):
        create_chunk_predictor("geometric", iterations=3)
    with pytest.raises(InputError, match="da3-small has no setting called iterations"):
        create_chunk_predictor("da3-small", iterations=3)


@pytest.mark.parametrize(("name", "there"), [("7scenes", "chess"), ("dtu64", "scan24"), ("hiroom", "a/b/c")])
def test_a_scene_that_does_not_exist_is_said_with_those_that_do(tmp_path, name, there, capsys):
    _MADE[name][0](tmp_path)
    common = ["--data_folder", str(tmp_path), "--output_dir", str(tmp_path / "out"), "--silent"]
    assert launch(["--mode=eval_pose", f"--eval_dataset={name}", "--seq_list", "nope", *common]) == 2
    assert re.search(f"{name} has no scene nope in .*{name}; there are: {there}\\.\n", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_a_data_set_without_its_inner_folder_is_said(tmp_path, capsys):
    (tmp_path / "7scenes").mkdir()
    common = ["--data_folder", str(tmp_path), "--output_dir", str(tmp_path / "out"), "--silent"]
    assert launch(["--mode=eval_pose", "--eval_dataset=7scenes", "--full_seq", *common]) == 2
    assert re.match(r"launch.py: .*7scenes holds no scenes; get it from the data set", capsys.readouterr().err)
