"""`stillsplat evaluate` with annotations."""

import json

import cv2
import numpy as np


def test_annotations_of_a_finished_run_give_the_same_scores(run_cli, clip, tmp_path, fakes):
    masks = tmp_path / "annotations"
    masks.mkdir()
    for index in range(8):
        mask = np.zeros((40, 64), np.uint8)
        mask[8:22, 3 + 4 * index : 14 + 4 * index] = 255
        cv2.imwrite(str(masks / f"{index}.png"), mask)
    command = ("run", clip, "--predictor", "fake", "--test-every", 3)
    assert run_cli(*command, "-o", tmp_path / "at_once", "--annotations", masks)[0] == 0
    assert run_cli(*command, "-o", tmp_path / "after")[0] == 0
    assert run_cli("evaluate", tmp_path / "after", "--annotations", masks)[0] == 0
    at_once = json.loads((tmp_path / "at_once" / "metrics.json").read_text())["scores"]
    after = json.loads((tmp_path / "after" / "evaluation.json").read_text())["annotations"]["scores"]
    assert at_once == after
    assert 0.5 < after["all"]["mask_iou"]["value"] < 1
