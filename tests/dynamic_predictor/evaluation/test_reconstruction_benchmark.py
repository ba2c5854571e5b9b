"""Depth Anything 3's benchmark on small folders in the layouts of its data sets, with simulated predictors."""

import re
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest

from dynamic_predictor.evaluation.datasets.reconstruction import RECONSTRUCTION_DATASETS
from dynamic_predictor.evaluation.reconstruction_benchmark import (
    BenchmarkReport,
    BenchmarkSettings,
    run_benchmark,
    sample_views,
)
from dynamic_predictor.launch import main as launch
from dynamic_predictor.networks.devices import resolved_device
from dynamic_predictor.specs import registered
from scene.errors import InputError
from tests.dynamic_predictor.evaluation.datasets.reconstruction_files import (
    WALK,
    make_dtu,
    make_dtu64,
    make_hiroom,
)
from tests.simulated_stream import SPEC, SimulatedPredictor


def benchmark(settings, kind, predictor, spec=SPEC, **more) -> BenchmarkReport:
    """Scores `predictor`, of the row `spec`."""
    with registered(spec):
        return run_benchmark(replace(settings, predictor=spec.name), kind, predictor=predictor, **more)


def test_perfect_prediction(tmp_path, monkeypatch):
    make_hiroom(tmp_path)
    # coarser than the protocol, as the images are
    coarse = replace(RECONSTRUCTION_DATASETS["hiroom"], voxel_size=0.06, truncation=0.18, threshold=0.1)
    monkeypatch.setitem(RECONSTRUCTION_DATASETS, "hiroom", coarse)
    monkeypatch.setattr("dynamic_predictor.evaluation.reconstruction_benchmark._SURFACE_POINTS", 60_000)
    settings = BenchmarkSettings("hiroom", tmp_path, tmp_path / "results")
    pose = benchmark(settings, "pose", SimulatedPredictor(WALK))
    assert pose.scores["a/b/c"]["auc_3"] == 1.0 and not pose.failures
    surface = benchmark(settings, "recon", SimulatedPredictor(WALK, noise=0.002))
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
        def predict(self, views, **more):
            found = super().predict(views)
            if views.world_from_camera is None:
                return found
            unit = np.float32(np.median(found.z_depth[0] / WALK.z_depth(0)))
            return replace(
                found,
                world_from_camera=views.world_from_camera,
                intrinsics=views.intrinsics,
                z_depth=found.z_depth / unit,
            )

    spec = replace(SPEC, known_poses=posed)
    settings = BenchmarkSettings("dtu", tmp_path, tmp_path / "out", scenes=("scan1",), posed=posed)
    report = benchmark(settings, "recon", Posed(WALK, noise=0.002), spec)
    scores = report.scores["scan1"]
    # most of the floor is not visible, and even less of it in four views
    assert scores["accuracy"] < 0.06 and scores["completeness"] < 1.5
    assert scores["overall"] == pytest.approx((scores["accuracy"] + scores["completeness"]) / 2)
    assert np.isnan(scores["f_score"]) and "–" in report.table
    (tmp_path / "dtu" / "SampleSet" / "mvs_data" / "ObsMask" / "Plane1.mat").write_bytes(b"nothing")
    assert "scan 1" in benchmark(settings, "recon", Posed(WALK), spec).failures["scan1"]


class _WrongCameras(SimulatedPredictor):
    """Turns every second camera by a wrong angle."""

    def predict(self, views, **more):
        chunk = super().predict(views)
        turn = np.eye(4)
        turn[:3, :3] = cv2.Rodrigues(np.array([0.0, 0.6, 0.0]))[0]
        chunk.world_from_camera[::2] = chunk.world_from_camera[::2] @ turn
        return chunk


def test_bad_prediction(tmp_path):
    make_hiroom(tmp_path)
    settings = BenchmarkSettings("hiroom", tmp_path, tmp_path / "results")
    assert benchmark(settings, "pose", _WrongCameras(WALK)).scores["a/b/c"]["auc_30"] < 0.6


def test_each_warning_is_reported_once(tmp_path):
    class Warning(SimulatedPredictor):
        def predict(self, views, **more):
            return replace(super().predict(views), warnings=("DIS stands in for RAFT.",) * 2)

    make_hiroom(tmp_path)
    said = []
    benchmark(BenchmarkSettings("hiroom", tmp_path, tmp_path / "results"), "pose", Warning(WALK), say=said.append)
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


def test_launch_scores_a_predictor(tmp_path, capsys):
    make_hiroom(tmp_path)
    common = ["--data_folder", str(tmp_path), "--output_dir", str(tmp_path / "out"), "--silent"]
    with registered(replace(SPEC, settings_type=lambda: _Settings, load=lambda *_: SimulatedPredictor(WALK))):
        assert launch(["--mode=eval_pose", "--eval_dataset=hiroom", "--predictor", "simulated", *common]) == 0
    assert "1.0000" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--n_iter=3"], "--n_iter: the predictor geometric has nothing of that kind"),
        (["--predictor=da3-small", "--flow=dis", "--no_crop"], "--no_crop, --flow: the predictor da3-small has"),
        (["--predictor=da3-mono"], "The predictor da3-mono finds no cameras"),
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
        def predict(self, views, **more):
            raise InputError("This is not to be had.")

    make_hiroom(tmp_path)
    report = benchmark(BenchmarkSettings("hiroom", tmp_path, tmp_path / "out" / "deep"), "pose", Failing(WALK), SPEC)
    assert report.failures == {"a/b/c": "This is not to be had."} and not (tmp_path / "out").exists()


class _Sizes(SimulatedPredictor):
    """Records the width of the images."""

    def predict(self, views, **more):
        self.width = views.frames.width
        return super().predict(views)


@dataclass(frozen=True)
class _Settings:
    process_res: int = 504


@pytest.mark.parametrize(
    ("words", "width", "resolution"),
    [([], 96, 504), (["--max_size=48"], 48, 48), (["--max_size=48", "--device=cpu", "--seed=3"], 48, 48)],
)
def test_options_reach_the_predictor(tmp_path, words, width, resolution):
    make_hiroom(tmp_path)
    predictor, loaded = _Sizes(WALK), []

    def load(settings, device, seed):
        loaded.append((settings.process_res, device, seed))
        return predictor

    common = ["--data_folder", str(tmp_path), "--output_dir", str(tmp_path / "out"), "--silent"]
    with registered(replace(SPEC, settings_type=lambda: _Settings, size_setting="process_res", load=load)):
        assert launch(["--mode=eval_pose", "--eval_dataset=hiroom", "--predictor", "simulated", *common, *words]) == 0
    assert predictor.width == width
    assert loaded == [(resolution, resolved_device("cpu" if "--device=cpu" in words else "auto"), 3 * len(words[2:]))]
