"""Point maps and relative poses end to end: a predictor that knows the truth, and errors that are known by hand."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dynamic_predictor.evaluation.datasets.point_map_scenes import PointMapView
from dynamic_predictor.evaluation.view_benchmarks import (
    ViewBenchmarkSettings,
    run_co3d,
    run_point_maps,
    score_point_maps,
)
from dynamic_predictor.launch import main as launch
from dynamic_predictor.specs import registered
from scene.camera import Camera
from scene.errors import InputError
from tests.dynamic_predictor.evaluation.datasets.room_files import (
    OBJECT_WALK,
    WALKS,
    depth_png,
    make_co3d,
    make_neural_rgbd,
    make_seven_scenes,
)
from tests.dynamic_predictor.evaluation.knowing_predictor import KnowingPredictor, knowing


@pytest.mark.parametrize(
    ("data", "make", "scene", "points"),
    [
        ("7scenes", make_seven_scenes, "chess/seq-03", 3 * 110 * 160),
        ("neural_rgbd", make_neural_rgbd, "staircase", 3 * 120 * 160),
    ],
)
def test_the_truth_has_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str], data, make, scene, points) -> None:
    """In another world and unit; depth in the files is rounded to millimeters."""
    make(tmp_path)
    predictor = KnowingPredictor(WALKS[data])
    out = tmp_path / "out"
    words = ["--mode=eval_recon", f"--eval_dataset={data}", "--predictor=knowing", "--max_size=160", "--silent"]
    words += [f"--data_folder={tmp_path}", f"--results_dir={out}"]
    with registered(knowing(predictor)):
        assert launch(words) == 0
        assert launch(words) == 0
    assert predictor.calls == [[0, 1, 2] if data == "7scenes" else [0, 2, 4]]  # results are used again
    printed = capsys.readouterr().out
    assert scene in printed and "NC mean" in printed
    found = json.loads((out / "mv_recon" / f"{data}_knowing" / "mv_recon.json").read_text("utf-8"))
    scores = found["sequences"][scene]
    assert scores["accuracy"] < 1e-3 and scores["completion"] < 1e-3 and scores["normal_consistency"] > 0.999
    assert scores["true_points"] == scores["predicted_points"] == points
    assert found["overall"]["accuracy"] == scores["accuracy"] and found["figures"]["accuracy"]["unit"] == "meters"
    assert "registered (point to point, 0.1 m" in found["protocol"] and "160 pixels" in found["protocol"]
    single = out / "mv_recon" / f"{data}_knowing" / "mv_recon" / f"{scene.replace('/', '_')}.json"
    assert json.loads(single.read_text())["scores"] == scores


def test_a_pose_error_of_known_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The last of ten cameras is turned by 10.5 degrees about itself: 9 of 45 pairs have that error, the others none.
    Of thirty limits, ten are below it: (10 * 36 / 45 + 20) / 30."""
    make_co3d(tmp_path)
    words = ["--mode=eval_pose", "--eval_dataset=co3d", "--predictor=knowing", "--silent"]
    words += [f"--data_folder={tmp_path}", f"--output_dir={tmp_path / 'out'}"]
    with registered(knowing(KnowingPredictor(OBJECT_WALK, turn_last=10.5))):
        assert launch(words) == 0
        found = json.loads((tmp_path / "out" / "relpose.json").read_text("utf-8"))
        assert launch([*words, "--seq_list", "bench", "--max_frames=4", f"--output_dir={tmp_path / 'four'}"]) == 0
    expected = {"auc_3": 0.8, "auc_5": 0.8, "auc_15": (8 + 5) / 15, "auc_30": (8 + 20) / 30}
    assert set(found["sequences"]) == {"apple/1_2_3", "bench/7_8_9"} and set(found["groups"]) == {"apple", "bench"}
    for scores in (*found["sequences"].values(), *found["groups"].values(), found["overall"]):
        assert {key: scores[key] for key in expected} == pytest.approx(expected)
    errors = found["sequences"]["apple/1_2_3"]["rotation_errors"]
    assert sorted(np.round(errors, 3)) == [0] * 36 + [10.5] * 9
    assert found["left_out"]["apple/4_5_6"] == "20 images, fewer than 50"
    printed = capsys.readouterr().out
    assert re.search(r"apple +93\.3 +86\.7 +80\.0 +80\.0", printed) and "2 sequences are left out" in printed
    found = json.loads((tmp_path / "four" / "relpose.json").read_text("utf-8"))
    assert list(found["sequences"]) == ["bench/7_8_9"] and found["overall"]["auc_3"] == pytest.approx(0.5)


def test_pairs_of_a_category_count_together() -> None:
    from dynamic_predictor.evaluation.view_benchmarks import _pooled

    one = {"rotation_errors": [0.5], "translation_errors": [0.5]}
    three = {"rotation_errors": [2.5, 2.5, 40.0], "translation_errors": [0.0, 0.0, 0.0]}
    # below 1: 1 of 4, below 2: 1 of 4, below 3: 3 of 4
    assert _pooled([one, three])["auc_3"] == pytest.approx(5 / 12)


def plane(folder: Path, depth: np.ndarray, index: int) -> PointMapView:
    depth_png(folder / f"{index}.png", depth)
    intrinsics = np.array([[100.0, 0, 30], [0, 100.0, 20], [0, 0, 1]])
    return PointMapView(folder / "none.png", folder / f"{index}.png", np.eye(4), intrinsics)


def test_a_rough_plane_by_hand(tmp_path: Path) -> None:
    """A plane of 60x40 points, 2 cm apart, with every second point 2 mm in front and the others 2 mm behind. The lower
    median shifts it by 2 mm, and the registration takes that back."""
    view = plane(tmp_path, np.full((40, 60), 2.0), 0)
    camera = Camera.from_intrinsics(60, 40, view.intrinsics, np.eye(4))
    flat = np.full((40, 60), 2.0)
    found = score_point_maps([(0.3 * flat, camera)] * 2, [view] * 2)
    assert found["accuracy"] == pytest.approx(0, abs=1e-9) and found["normal_consistency"] == pytest.approx(1)
    rough = flat + 0.002 * np.where((np.arange(40)[:, None] + np.arange(60)) % 2, 1, -1)
    found = score_point_maps([(rough, camera)] * 2, [view] * 2)
    assert found["accuracy"] == pytest.approx(0.002, rel=0.1) and found["completion"] == pytest.approx(0.002, rel=0.1)
    assert 0.98 < found["normal_consistency"] < 1


def test_unknown_depth_is_left_out(tmp_path: Path) -> None:
    """In the truth from both clouds, in the prediction from the predicted one."""
    half = np.full((40, 60), 2.0)
    half[:, :30] = 0
    views = [plane(tmp_path, np.full((40, 60), 2.0), 0), plane(tmp_path, half, 1)]
    camera = Camera.from_intrinsics(60, 40, views[0].intrinsics, np.eye(4))
    flat = np.full((40, 60), 2.0)
    found = score_point_maps([(flat, camera)] * 2, views)
    assert (found["predicted_points"], found["true_points"]) == (3600, 3600)
    assert found["accuracy"] == pytest.approx(0, abs=1e-9) and found["completion"] == pytest.approx(0, abs=1e-9)
    flat[0] = 0
    found = score_point_maps([(flat, camera)] * 2, views)
    assert (found["predicted_points"], found["true_points"]) == (3600 - 90, 3600)
    with pytest.raises(InputError, match="No pixel has both"):
        score_point_maps([(np.zeros((40, 60)), camera)] * 2, views)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--mode=eval_depth", "--eval_dataset=co3d"], "co3d has true cameras only; use --mode=eval_pose"),
        (["--mode=eval_pose", "--eval_dataset=neural_rgbd"], "neural_rgbd is for --mode=eval_recon"),
        (["--mode=eval_recon", "--eval_dataset=eth3d", "--recon_protocol=cut3r"], "cut3r is for 7scenes, neural_rgbd"),
        (["--mode=eval_recon", "--eval_dataset=neural_rgbd", "--recon_protocol=da3"], "has no surfaces to compare"),
        (["--mode=eval_recon", "--eval_dataset=neural_rgbd", "--posed"], "--posed has no effect on neural_rgbd"),
        (["--mode=eval_pose", "--eval_dataset=co3d", "--use_gt_mask"], "--use_gt_mask has no effect on co3d"),
        (["--mode=eval_pose", "--eval_dataset=co3d", "--recon_protocol=da3"], "--recon_protocol is of --mode=eval_rec"),
        (["--mode=eval_recon", "--eval_dataset=neural_rgbd"], "Neural RGB-D is not in .*neural_rgbd; download"),
        (["--mode=eval_recon", "--eval_dataset=7scenes"], "7-Scenes is not in .*7scenes; download"),
        (["--mode=eval_pose", "--eval_dataset=co3d", "--max_frames=1"], "at least two images"),
    ],
)
def test_what_cannot_be_is_one_sentence(tmp_path: Path, capsys, words: list[str], sentence: str) -> None:
    out = tmp_path / "out"
    assert launch([*words, f"--data_folder={tmp_path}", f"--output_dir={out}", "--silent"]) == 2
    error = capsys.readouterr().err
    assert re.search(sentence, error) and "Traceback" not in error
    assert not out.exists()


def test_unknown_names_and_predictors_without_cameras(tmp_path: Path) -> None:
    make_co3d(tmp_path)
    make_neural_rgbd(tmp_path)
    settings = ViewBenchmarkSettings("co3d", tmp_path, tmp_path / "out", predictor="knowing", names=("apple", "hat"))
    spec = knowing(KnowingPredictor(OBJECT_WALK))
    with registered(spec), pytest.raises(InputError, match="has no hat on the disk; there are: apple, bench"):
        run_co3d(settings)
    with registered(replace(spec, cameras=False)), pytest.raises(InputError, match="finds no cameras"):
        run_point_maps(replace(settings, dataset="neural_rgbd", names=None))
