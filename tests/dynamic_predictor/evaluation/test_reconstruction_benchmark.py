"""Depth Anything 3's benchmark on small folders in the layouts of its data sets, with simulated predictors."""

import re
from dataclasses import replace

import cv2
import numpy as np
import pytest
from dynamic_predictor.driver.chunk_predictor import ChunkPrediction
from dynamic_predictor.driver.predictors import create_chunk_predictor

from benchmarks.simulated_stream import SimulatedPredictor
from dynamic_predictor.evaluation.datasets.reconstruction import RECONSTRUCTION_DATASETS
from dynamic_predictor.evaluation.reconstruction_benchmark import BenchmarkSettings, run_benchmark, sample_views
from dynamic_predictor.launch import main as launch
from scene.errors import InputError
from tests.dynamic_predictor.evaluation.datasets.reconstruction_files import (
    MADE,
    WALK,
    make_dtu,
    make_dtu64,
    make_hiroom,
)


def test_perfect_prediction(tmp_path, monkeypatch):
    make_hiroom(tmp_path)
    # coarser than the protocol, as the images are
    coarse = replace(RECONSTRUCTION_DATASETS["hiroom"], voxel_size=0.06, truncation=0.18, threshold=0.1)
    monkeypatch.setitem(RECONSTRUCTION_DATASETS, "hiroom", coarse)
    monkeypatch.setattr("dynamic_predictor.evaluation.reconstruction_benchmark._SURFACE_POINTS", 60_000)
    settings = BenchmarkSettings("hiroom", tmp_path, tmp_path / "results")
    pose = run_benchmark(settings, "pose", SimulatedPredictor(WALK))
    assert pose.scores["a/b/c"]["auc_3"] == 1.0 and not pose.failures
    surface = run_benchmark(settings, "recon", SimulatedPredictor(WALK, noise=0.002))
    scores = surface.scores["a/b/c"]
    # parts of the floor and ceiling are not visible, but all predicted points lie on the surface
    assert scores["precision"] > 0.97 and scores["accuracy"] < 0.05
    assert (tmp_path / "results" / "evaluation" / "hiroom_recon.json").exists()
    assert "AUC@3" in pose.table and "F-score" in surface.table


@pytest.mark.parametrize("posed", [False, True])
def test_dtu(tmp_path, posed, monkeypatch):
    make_dtu(tmp_path)
    monkeypatch.setattr("dynamic_predictor.evaluation.reconstruction_benchmark._SURFACE_POINTS", 60_000)

    class Posed(SimulatedPredictor):
        def predict_posed_chunk(self, frames, camera_from_world, intrinsics):
            chunk = self.predict_chunk(frames)
            unit = np.median(chunk.z_depth[0] / WALK.z_depth(0))
            return ChunkPrediction(
                np.linalg.inv(camera_from_world), intrinsics, chunk.z_depth / np.float32(unit), chunk.confidence
            )

    settings = BenchmarkSettings("dtu", tmp_path, tmp_path / "out", scenes=("scan1",), posed=posed)
    report = run_benchmark(settings, "recon", Posed(WALK, noise=0.002))
    scores = report.scores["scan1"]
    # most of the floor is not visible, and even less of it in four views
    assert scores["accuracy"] < 0.06 and scores["completeness"] < 1.5
    assert scores["overall"] == pytest.approx((scores["accuracy"] + scores["completeness"]) / 2)
    assert np.isnan(scores["f_score"]) and "–" in report.table
    (tmp_path / "dtu" / "SampleSet" / "mvs_data" / "ObsMask" / "Plane1.mat").write_bytes(b"nothing")
    assert "scan 1" in run_benchmark(settings, "recon", Posed(WALK)).failures["scan1"]


class _WrongCameras(SimulatedPredictor):
    """Turns every second camera by a wrong angle."""

    def predict_chunk(self, frames):
        chunk = super().predict_chunk(frames)
        turn = np.eye(4)
        turn[:3, :3] = cv2.Rodrigues(np.array([0.0, 0.6, 0.0]))[0]
        chunk.world_from_camera[::2] = chunk.world_from_camera[::2] @ turn
        return chunk


def test_bad_prediction(tmp_path):
    make_hiroom(tmp_path)
    settings = BenchmarkSettings("hiroom", tmp_path, tmp_path / "results")
    assert run_benchmark(settings, "pose", _WrongCameras(WALK)).scores["a/b/c"]["auc_30"] < 0.6


def test_each_warning_is_reported_once(tmp_path):
    class Warning(SimulatedPredictor):
        def predict_chunk(self, frames):
            return replace(super().predict_chunk(frames), warnings=("DIS stands in for RAFT.",) * 2)

    make_hiroom(tmp_path)
    said = []
    run_benchmark(BenchmarkSettings("hiroom", tmp_path, tmp_path / "results"), "pose", Warning(WALK), say=said.append)
    assert said == ["a/b/c: DIS stands in for RAFT."]


def test_sample_of_views_is_reproducible(tmp_path):
    make_dtu64(tmp_path)
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
def test_launch_refuses_impossible_evaluations(arguments, tmp_path, capsys):
    for name in ("dtu64", "7scenes"):
        (tmp_path / name).mkdir()
    status = launch([*arguments, "--data_folder", str(tmp_path), "--output_dir", str(tmp_path / "out"), "--silent"])
    assert status == 2 and capsys.readouterr().err.startswith("launch.py: ")


def test_launch_scores_a_predictor(tmp_path, monkeypatch, capsys):
    make_hiroom(tmp_path)
    monkeypatch.setattr(
        "dynamic_predictor.driver.predictors.create_chunk_predictor", lambda *a, **b: SimulatedPredictor(WALK)
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
    make_hiroom(tmp_path)
    common = ["--mode=eval_pose", "--eval_dataset=hiroom", "--data_folder", str(tmp_path), "--silent"]
    assert launch([*common, f"--output_dir={tmp_path / 'out'}", *words]) == 2
    error = capsys.readouterr().err
    assert re.match(f"launch.py: {reason}", error) and len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_failed_scene_leaves_no_files(tmp_path):
    class Failing(SimulatedPredictor):
        def predict_chunk(self, frames):
            raise InputError("This is not to be had.")

    make_hiroom(tmp_path)
    report = run_benchmark(BenchmarkSettings("hiroom", tmp_path, tmp_path / "out" / "deep"), "pose", Failing(WALK))
    assert report.failures == {"a/b/c": "This is not to be had."} and not (tmp_path / "out").exists()


class _Sizes(SimulatedPredictor):
    """Records the width of the images."""

    def predict_chunk(self, frames):
        self.width = frames.width
        return super().predict_chunk(frames)


@pytest.mark.parametrize(
    ("words", "width", "resolution"),
    [([], 96, None), (["--max_size=48"], 48, 48), (["--max_size=48", "--device=cpu"], 48, 48)],
)
def test_options_reach_the_predictor(tmp_path, monkeypatch, words, width, resolution):
    make_hiroom(tmp_path)
    predictor, asked = _Sizes(WALK), {}

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
def test_missing_scene_is_reported_with_existing_ones(tmp_path, name, there, capsys):
    MADE[name][0](tmp_path)
    common = ["--data_folder", str(tmp_path), "--output_dir", str(tmp_path / "out"), "--silent"]
    assert launch(["--mode=eval_pose", f"--eval_dataset={name}", "--seq_list", "nope", *common]) == 2
    assert re.search(f"{name} has no scene nope in .*{name}; there are: {there}\\.\n", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_data_set_without_scenes(tmp_path, capsys):
    (tmp_path / "7scenes").mkdir()
    common = ["--data_folder", str(tmp_path), "--output_dir", str(tmp_path / "out"), "--silent"]
    assert launch(["--mode=eval_pose", "--eval_dataset=7scenes", "--full_seq", *common]) == 2
    assert re.match(r"launch.py: .*7scenes holds no scenes; get it from the data set", capsys.readouterr().err)
