"""launch.py from the command line on, with a predictor that knows the answers."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dynamic_predictor.contract import Prediction, Views
from scene.errors import InputError
from scene.folder import load_scene
from scene.formats.das3r import read_das3r
from scene.formats.tum import write_tum
from scene.open_scene import open_scene
from tests.dynamic_predictor.evaluation.known_answers import Oracle, OracleSettings, texture, true_poses, write
from tests.paths import ROOT

Launch = Callable[..., int]


def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def record(tmp_path: Path, clip: str) -> dict:
    return json.loads((out(tmp_path) / "evaluation" / f"{clip}.json").read_text())


def test_camera_paths(launch: Launch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert launch("--mode=eval_pose", "--eval_dataset=tum", "--full_seq", "--use_pred_mask") == 0
    printed = capsys.readouterr()
    assert "walk" in printed.out and "sit" in printed.out and "an oracle may be wrong" in printed.err
    assert "DAS3R" not in printed.out  # its figures are of other clips
    for clip in ("walk", "sit"):
        assert len(load_scene(out(tmp_path) / clip).frames) == 6
        found = record(tmp_path, clip)["pose"]
        assert found["ate"] < 1e-9 and found["rpe_translation"] < 1e-9 and found["rpe_rotation_degrees"] < 1e-6
        assert (out(tmp_path) / f"{clip}.png").stat().st_size > 5000
    tables = json.loads((out(tmp_path) / "evaluation" / "pose.json").read_text())
    assert set(tables[0]["rows"]) == {"walk", "sit"} and tables[0]["summary"]["mean"]["ate"] < 1e-9
    assert r"\begin{tabular}" in (out(tmp_path) / "evaluation" / "pose.tex").read_text()


def test_finished_clips_are_not_done_again(launch: Launch, oracle, tmp_path: Path) -> None:
    assert launch("--mode=eval_pose", "--eval_dataset=tum", "--seq_list", "walk") == 0
    assert launch("--mode=eval_pose", "--eval_dataset=tum", "--full_seq") == 0
    assert oracle.calls == [6, 6]
    # depth is scored on the scenes that are there, and scores of the other kind stay
    assert launch("--mode=eval_depth", "--eval_dataset=tum", "--full_seq", "--depth_alignment", "scale", "median") == 0
    assert oracle.calls == [6, 6]
    found = record(tmp_path, "walk")
    assert found["pose"]["frames"] == 6 and found["depth"]["scale"]["abs_rel"] < 1e-5
    assert found["depth"]["median"]["coverage"] == 1.0


def test_other_settings_do_not_mix(launch: Launch, oracle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert launch("--mode=eval_pose", "--eval_dataset=tum", "--seq_list", "walk") == 0
    assert launch("--mode=eval_pose", "--eval_dataset=tum", "--seq_list", "walk", "--max_frames=4", "--seed=1") == 2
    assert (
        "was made with another frames and seed; choose another --output_dir or add --overwrite"
        in capsys.readouterr().err
    )
    assert launch("--mode=eval_pose", "--eval_dataset=tum", "--seq_list", "walk", "--max_frames=4", "--overwrite") == 0
    assert oracle.calls == [6, 4] and len(load_scene(out(tmp_path) / "walk").frames) == 4


def test_strides_and_limits(launch: Launch, oracle, tmp_path: Path) -> None:
    assert (
        launch("--mode=eval_mask", "--eval_dataset=davis", "--full_seq", "--max_frames=5", "--pose_eval_stride=2") == 0
    )
    assert oracle.calls == [3] and record(tmp_path, "dog")["made_by"]["frames"] == [0, 2, 4]


def test_masks(launch: Launch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The annotation is the lower half of what is predicted."""
    assert launch("--mode=eval_mask", "--eval_dataset=davis", "--full_seq") == 0
    found = record(tmp_path, "dog")["mask"]
    assert found["j_mean"] == pytest.approx(0.5) and found["iou_pooled"] == pytest.approx(0.5) and found["frames"] == 6
    printed = capsys.readouterr().out
    assert "over clips" in printed and "oracle (1 of 8 clips)" in printed and "DAS3R" in printed


def test_true_masks_and_focal(launch: Launch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert launch("--mode=eval_mask", "--eval_dataset=davis", "--full_seq", "--use_gt_mask") == 0
    assert record(tmp_path, "dog")["mask"]["j_mean"] == 1.0
    assert launch("--mode=eval_pose", "--eval_dataset=tum", "--seq_list", "walk", "--use_gt_focal") == 2
    assert "walk has no true focal length" in capsys.readouterr().err
    assert launch("--mode=eval_pose", "--use_gt_mask", "--use_pred_mask") == 2
    assert "exclude each other" in capsys.readouterr().err


def test_das3r_layout(launch: Launch, tmp_path: Path) -> None:
    assert launch("--mode=eval_pose", "--eval_dataset=tum", "--full_seq", "--layout=das3r") == 0
    scene = read_das3r(out(tmp_path) / "walk")
    assert len(scene.frames) == 6 and open_scene(out(tmp_path) / "walk").predictor == "das3r"
    # what DAS3R's averaging script looks for, as it looks for it
    content = (out(tmp_path) / "walk_eval_metric.txt").read_text()
    for heading in (
        r"APE w.r.t. translation part \(m\)",
        r"RPE w.r.t. translation part \(m\)",
        "RPE w.r.t. rotation angle in degrees",
    ):
        match = re.search(heading + r".*?rmse\s+([0-9.]+)", content, re.DOTALL)
        assert match is not None and float(match.group(1)) < 1e-6
    log = (out(tmp_path) / "_error_log.txt").read_text()
    assert "tum-walk" in log and "Average ATE: 0.00000" in log
    assert (
        launch("--mode=eval_depth", "--eval_dataset=tum", "--full_seq", "--layout=das3r", "--depth_alignment=scale")
        == 0
    )
    assert record(tmp_path, "sit")["depth"]["scale"]["delta_1"] == 1.0


def test_single_images(launch: Launch, oracle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert launch("--mode=eval_depth", "--eval_dataset=nyu", "--depth_alignment", "median", "none") == 0
    assert oracle.calls == [1, 1] and sorted(p.name for p in (out(tmp_path) / "val").iterdir()) == [
        "0depth.npy",
        "1depth.npy",
    ]
    assert "75.0" not in capsys.readouterr().out
    assert launch("--mode=eval_depth", "--eval_dataset=nyu", "--depth_alignment", "none") == 0
    assert oracle.calls == [1, 1]
    assert json.loads((out(tmp_path) / "evaluation/depth.json").read_text())[0]["rows"]["val"][
        "abs_rel"
    ] == pytest.approx(0.75)
    assert launch("--mode=eval_pose", "--eval_dataset=nyu") == 2
    assert (
        launch("--mode=eval_depth", "--eval_dataset=nyu", "--predictor=geometric", f"--output_dir={tmp_path / 'other'}")
        == 2
    )
    assert "needs a moving camera" in capsys.readouterr().err


def test_one_bad_clip_does_not_lose_the_others(
    launch: Launch, data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data_folder / "tum/sit/rgb_90/1.200000.png").write_bytes(b"no image")
    assert launch("--mode=eval_pose", "--eval_dataset=tum", "--full_seq", "--layout=das3r") == 1
    printed = capsys.readouterr()
    assert "1 of 2 clips failed: sit." in printed.err and "1.200000.png" in printed.err
    assert record(tmp_path, "walk")["pose"]["frames"] == 6 and not (out(tmp_path) / "sit").exists()
    assert "Exception in sequence sit" in (out(tmp_path) / "_error_log.txt").read_text()


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("input", "The oracle does not like this clip."),
        ("bug", "ZeroDivisionError: an error of ours"),
        ("memory", "The memory is not enough; use a smaller --max_size or --max_frames."),
    ],
)
def test_a_predictor_that_fails(
    launch: Launch,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    sentence: str,
) -> None:
    def failing(self: Oracle, settings: OracleSettings) -> None:
        self.settings = OracleSettings(fails_on=kind)

    monkeypatch.setattr(Oracle, "__init__", failing)
    assert launch("--mode=eval_pose", "--eval_dataset=tum", "--full_seq") == 2
    error = capsys.readouterr().err
    assert sentence in error and ("clips failed" in error) == (kind != "input")
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("out*/**/*") if path.is_file())
    assert left == ["out/evaluation/sit_error.txt", "out/evaluation/walk_error.txt"] * (kind == "bug")
    assert (tmp_path / "out").exists() == (kind == "bug") and not list(tmp_path.rglob("out/.*"))


def test_a_scene_that_cannot_be_written_leaves_nothing(
    launch: Launch, monkeypatch: pytest.MonkeyPatch, data_folder: Path, tmp_path: Path
) -> None:
    def full(*arguments, **options) -> None:
        raise InputError("the disk is full")

    monkeypatch.setattr("dynamic_predictor.evaluation.harness.save_scene", full)
    deep = f"--output_dir={tmp_path / 'a' / 'b'}"
    assert launch("--mode=eval_pose", "--eval_dataset=tum", "--full_seq", deep) == 2
    assert not (tmp_path / "a").exists()
    dog = data_folder / "davis/DAVIS/JPEGImages/480p/dog"
    (tmp_path / "a").mkdir()  # an empty folder of the user's stays
    assert launch("--mode=eval_pose_custom", f"--dir_path={dog}", deep) == 2
    assert launch("--mode=eval_mask", "--eval_dataset=davis", "--full_seq", f"--output_dir={tmp_path / 'a'}") == 2
    assert list((tmp_path / "a").iterdir()) == []


def test_a_polite_kill_leaves_nothing_half_done(
    launch: Launch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It comes while the second clip is predicted."""
    predict, before = Oracle.predict, signal.getsignal(signal.SIGTERM)

    def interrupted(self: Oracle, views: Views, **rest) -> Prediction:
        if len(Oracle.calls) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return predict(self, views, **rest)

    monkeypatch.setattr(Oracle, "predict", interrupted)
    assert launch("--mode=eval_pose", "--eval_dataset=tum", "--full_seq") == 130
    assert "Stopped; what was finished is kept" in capsys.readouterr().err
    assert sorted(path.name for path in out(tmp_path).iterdir()) == ["evaluation", "sit", "sit.png"]
    monkeypatch.setattr(Oracle, "predict", predict)
    assert launch("--mode=eval_pose", "--eval_dataset=tum", "--full_seq") == 0
    assert Oracle.calls == [6, 6] and signal.getsignal(signal.SIGTERM) == before


def test_frames_of_ones_own(
    launch: Launch, data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = data_folder / "davis/DAVIS/JPEGImages/480p/dog"
    (tmp_path / "out.png").write_bytes(b"an image of the user's")
    assert launch("--mode=eval_pose_custom", f"--dir_path={frames}", "--max_frames=4", "--layout=das3r") == 0
    printed = capsys.readouterr()
    assert len(read_das3r(out(tmp_path)).frames) == 4 and "train_gui.py -s" in printed.out
    assert "an oracle may be wrong" in printed.err
    # all that is written lies in the folder
    assert (out(tmp_path) / "path.png").stat().st_size > 5000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "out", "out.png"]
    assert (tmp_path / "out.png").read_bytes() == b"an image of the user's"
    assert launch("--mode=eval_pose_custom") == 2
    assert "needs --dir_path" in capsys.readouterr().err


def test_a_folder_that_is_there_is_refused_before_the_work(
    launch: Launch, oracle, data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    custom = ("--mode=eval_pose_custom", f"--dir_path={data_folder / 'davis/DAVIS/JPEGImages/480p/dog'}")
    assert launch(*custom, "--layout=das3r") == 0 and oracle.calls == [6]
    assert launch(*custom) == 2 and oracle.calls == [6]
    assert "out exists already; choose another --output_dir or add --overwrite." in capsys.readouterr().err
    # a scene of the other layout is a scene
    assert launch(*custom, "--overwrite") == 0 and len(load_scene(out(tmp_path)).frames) == 6
    assert launch(*custom, "--overwrite", "--layout=das3r") == 0 and len(read_das3r(out(tmp_path)).frames) == 6
    assert oracle.calls == [6, 6, 6]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    for layout in ("scene", "das3r"):
        assert launch(*custom, "--overwrite", f"--layout={layout}", f"--output_dir={tmp_path / 'mine'}") == 2
        assert "holds other things than a scene and is not replaced" in capsys.readouterr().err
    assert launch(*custom, "--overwrite", f"--output_dir={tmp_path / 'mine' / 'letter.txt'}") == 2
    assert "letter.txt exists and is not a folder; choose another --output_dir." in capsys.readouterr().err
    assert oracle.calls == [6, 6, 6] and (tmp_path / "mine" / "letter.txt").read_text() == "dear"


def test_what_has_no_truth_is_said(launch: Launch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert launch("--mode=eval_pose", "--eval_dataset=davis", "--full_seq") == 0
    assert "1 of 1 clips have no truth for --mode=eval_pose: dog. Their scenes are in" in capsys.readouterr().out
    assert len(load_scene(out(tmp_path) / "dog").frames) == 6


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Say what to do with --mode: train, eval_pose"),
        (["--mode=fly"], "Argument --mode: invalid choice: 'fly'"),
        (["--mode=eval_pose", "--lr=1e-3"], "--lr is not an option of --mode=eval_pose: it belongs to --mode=train"),
        (["--mode=eval_pose", "--sam2_mask_refine"], "run --refine-masks sam2 refines those of a scene"),
        (["--mode=eval_pose", "--n_itre=3"], "Unrecognized arguments: --n_itre=3"),
        (["--mode=eval_pose", "--n_iter=3"], "--n_iter: the predictor oracle has nothing of that kind"),
        (["--mode=eval_pose", "--eval_dataset=kity"], "Argument --eval_dataset: invalid choice"),
        (["--mode=eval_pose", "--eval_dataset=bonn"], "Bonn RGB-D Dynamic is not in .*; get it: curl"),
        (["--mode=eval_pose", "--eval_dataset=tum", "--seq_list", "run"], "tum has no clip run in .*: sit, walk"),
        (["--mode=eval_pose", "--pretrained=das3r_checkpoint-last.pth", "--predictor="], "get das3r`, or put"),
        (["--mode=eval_pose", "--predictor=magic"], 'There is no predictor called "magic"; choose one of: '),
        (["--mode=eval_pose", "--flow=dis", "--use_gt_mask"], "--flow: the predictor oracle has nothing of that kind"),
        (["--mode=eval_pose", "--max_frames=-3"], "-3 is not at least 0"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(
    launch: Launch, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert launch(*arguments) == 2
    error = capsys.readouterr().err
    assert re.search(sentence, error) and "Traceback" not in error


def test_every_option_of_das3r_is_known() -> None:
    """By the table of its options: each is taken, refused with a reason, or without effect with what has one."""
    from dynamic_predictor.launch_options import _NOTED, _REFUSED, _parser

    names = """
        model pretrained train_criterion test_criterion train_dataset test_dataset seed batch_size test_batch_size
        accum_iter epochs weight_decay lr blr min_lr warmup_epochs amp cudnn_benchmark eval_only fixed_eval_set resume
        num_workers world_size local_rank dist_url eval_freq save_freq keep_freq print_freq wandb num_save_visual mode
        threshold pose_eval_freq pose_eval_stride scene_graph_type save_best_pose n_iter save_pose_qualitative
        temporal_smoothing_weight not_shared_focal use_gt_focal pose_schedule flow_loss_weight
        cananical_space_loss_weight flow_loss_fn use_gt_mask use_pred_mask evaluate_davis not_batchify dir_path
        motion_mask_thre sam2_mask_refine flow_loss_start_epoch flow_loss_thre pxl_thresh depth_regularize_weight
        translation_weight silent full_seq seq_list eval_dataset no_crop output_dir
    """.split()
    taken = {name.removeprefix("--") for name in _parser()._option_string_actions}
    assert [name for name in names if (name in taken) == (name in {**_REFUSED, **_NOTED})] == []


def test_as_a_script_from_the_root_and_from_elsewhere(data_folder: Path, tmp_path: Path) -> None:
    """As users call it: the repository is found, and modules in the script's folder hide nothing."""
    for folder, script in (
        (ROOT, "dynamic_predictor/launch.py"),
        (tmp_path, str(ROOT / "dynamic_predictor/launch.py")),
    ):
        done = subprocess.run(
            [sys.executable, script, "--mode=eval_pose", "--pretrained=missing.pth", "--use_pred_mask"],
            cwd=folder, capture_output=True, text=True, timeout=60, env={"PATH": ""},
        )  # fmt: skip
        assert done.returncode == 2 and done.stderr.startswith("launch.py: There is no file missing.pth"), done.stderr


@pytest.mark.parametrize(
    ("words", "option"),
    [(["--mode=train"], "--batch_size"), (["--mode", "train"], "--batch_size"), (["--mode=eval_pose"], "--max_size")],
)
def test_too_little_memory_says_what_to_lower(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], option: str
) -> None:
    from dynamic_predictor import launch as module

    def fails(given: list[str]) -> int:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("dynamic_predictor.training.command.main", fails)
    monkeypatch.setattr(module, "_evaluate", fails)
    assert module.main(words) == 2
    assert re.fullmatch(rf"launch.py: The memory is not enough; .*{option}.*\n", capsys.readouterr().err)


def test_training_gets_its_own_options(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    received = []
    monkeypatch.setattr("dynamic_predictor.training.command.main", lambda words: received.append(words) or 0)
    from dynamic_predictor.launch import main

    assert main(["--mode=train", "--lr=3", "--anything"]) == 0
    assert received == [["--mode=train", "--lr=3", "--anything"]]


def test_true_focal_reaches_the_predictor(oracle, data_folder: Path, tmp_path: Path) -> None:
    """Sintel's cameras say 50 pixels at 64; frames are half as wide."""
    import struct

    from dynamic_predictor.evaluation.harness import EvaluationSettings, evaluate

    root = data_folder / "sintel/training"
    for index, pose in enumerate(true_poses(4), start=1):
        write(root / "final/alley_2" / f"frame_{index:04d}.png", texture(index))
        (root / "camdata_left/alley_2").mkdir(parents=True, exist_ok=True)
        matrix = np.array([[50.0, 0, 31.5], [0, 50, 23.5], [0, 0, 1]])
        content = struct.pack("<f", 202021.25) + matrix.tobytes() + np.linalg.inv(pose)[:3].tobytes()
        (root / "camdata_left/alley_2" / f"frame_{index:04d}.cam").write_bytes(content)
    settings = EvaluationSettings(
        "sintel",
        tmp_path / "focal",
        predictor="oracle",
        data_folder=data_folder,
        clips=("alley_2",),
        max_size=32,
        use_true_focal=True,
    )
    assert not evaluate(settings, "pose").failures
    assert load_scene(tmp_path / "focal/alley_2").cameras[0].fx == pytest.approx(25.0)


def test_a_path_that_is_wrong_gets_the_errors_it_has(launch: Launch, data_folder: Path, tmp_path: Path) -> None:
    """The truth of one clip is moved by noise of a known size."""
    from scene.trajectory import absolute_trajectory_error

    noisy = true_poses()
    noisy[:, :3, 3] += np.random.default_rng(0).normal(0, 0.05, (6, 3))
    write_tum(data_folder / "tum/walk/groundtruth_90.txt", [1 + index / 10 for index in range(6)], noisy)
    assert launch("--mode=eval_pose", "--eval_dataset=tum", "--seq_list", "walk") == 0
    expected = absolute_trajectory_error(true_poses(), noisy).rmse
    assert record(tmp_path, "walk")["pose"]["ate"] == pytest.approx(expected, rel=1e-6) and expected > 0.01
