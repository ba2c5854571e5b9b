"""`stillsplat evaluate` against a truth with known scores."""

import json

import cv2
import numpy as np
import pytest


@pytest.fixture
def evaluated(run_cli, truth, tmp_path, fakes):
    def run(*arguments):
        out = tmp_path / "out"
        status, _, error = run_cli("run", truth / "rgb", "-o", out, "--predictor", "fake", "--overwrite", *arguments)
        assert status == 0, error
        status, output, error = run_cli("evaluate", out, "--truth", truth)
        assert status == 0, error
        return out, json.loads((out / "evaluation.json").read_text())["truth"], output

    return run


def image(path):
    return cv2.imread(str(path)).astype(float) / 255


def test_figures_equal_their_definitions(evaluated, truth):
    out, found, output = evaluated()
    figures = {name: entry["value"] for name, entry in found["figures"].items()}
    clean, behind = [], []
    for index in range(8):
        error = image(out / "renders" / f"{index:05d}.png") - image(truth / "clean" / f"{index:05d}.png")
        hidden = cv2.imread(str(truth / "mask" / f"{index:05d}.png"), 0) > 0
        clean.append(-10 * np.log10(np.mean(error**2)))
        behind.append(-10 * np.log10(np.mean(error[hidden] ** 2)))
    assert figures["psnr_clean"] == pytest.approx(np.mean(clean), abs=1e-5)
    assert figures["psnr_behind"] == pytest.approx(np.mean(behind), abs=1e-5)
    # the fake predictor is exact up to a scale of two
    assert figures["ate"] == pytest.approx(0, abs=1e-9) and figures["rpe_rotation"] == pytest.approx(0, abs=1e-9)
    assert figures["focal_error"] == pytest.approx(0, abs=1e-9)
    assert figures["depth_abs_rel"] == pytest.approx(0, abs=1e-6) and figures["depth_coverage"] == 1
    assert figures["mask_iou"] == 1
    assert found["alignment"]["scale"] == pytest.approx(0.5)
    assert figures["psnr_novel"] is not None and len(found["novel"]) == 1
    assert (out / "evaluation" / "novel_00000.png").exists()
    assert "psnr_behind" in output and "Against the truth" in (out / "report.html").read_text("utf-8")
    for entry in found["figures"].values():
        assert {"value", "unit", "protocol", "split", "masks", "frames", "code"} <= set(entry)


def test_selected_frames_are_compared_with_the_same_frames(evaluated, truth):
    out, found, _ = evaluated("--frames", "1:8:3", "--max-size", "32")
    assert [entry["file"] for entry in found["per_frame"]] == ["00000.png", "00001.png", "00002.png"]
    figures = {name: entry["value"] for name, entry in found["figures"].items()}
    values = []
    for index, position in enumerate((1, 4, 7)):
        reference = cv2.imread(str(truth / "clean" / f"{position:05d}.png"))
        reference = cv2.resize(reference, (32, 20), interpolation=cv2.INTER_AREA).astype(float) / 255
        error = image(out / "renders" / f"{index:05d}.png") - reference
        values.append(-10 * np.log10(np.mean(error**2)))
    assert figures["psnr_clean"] == pytest.approx(np.mean(values), abs=1e-5)
    assert found["figures"]["psnr_clean"]["frames"] == 3
    # the fake camera moves 0.05 per frame of the run, the true one 0.3 per selected frame
    assert found["alignment"]["scale"] == pytest.approx(0.05 / 0.3)


def test_truth_of_another_clip_is_refused(evaluated, run_cli, truth, tmp_path):
    out, _, _ = evaluated()
    cameras = json.loads((truth / "cameras.json").read_text())
    cameras["frames"] = cameras["frames"][:5]
    (truth / "cameras.json").write_text(json.dumps(cameras))
    status, _, error = run_cli("evaluate", out, "--truth", truth)
    assert status == 2 and "same clip" in error and error.splitlines()[-1].startswith("stillsplat: ")
    status, _, error = run_cli("evaluate", out, "--truth", tmp_path)
    assert status == 2 and "Traceback" not in error
