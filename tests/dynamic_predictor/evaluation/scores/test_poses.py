"""Scores and plots of camera paths."""

from pathlib import Path

import numpy as np
import pytest

from dynamic_predictor.evaluation.scores.poses import plot_trajectory, score_poses
from scene.images import read_image
from tests.paths import DATA

GOLDEN = DATA / "das3r_metrics_pose.npz"


@pytest.mark.parametrize("case", ["c0", "c1", "c2"])
def test_scores_equal_the_reference(case: str) -> None:
    golden = np.load(GOLDEN)
    scores = score_poses(golden[f"{case}_est"], golden[f"{case}_gt"])
    found = (scores.ate, scores.rpe_translation, scores.rpe_rotation_degrees)
    expected = [golden[f"{case}_{name}"] for name in ("ate", "rpe_trans", "rpe_rot")]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_plots(tmp_path: Path) -> None:
    golden = np.load(GOLDEN)
    plot_trajectory(tmp_path / "both.png", golden["c0_est"], golden["c0_gt"], title="both")
    plot_trajectory(tmp_path / "alone.png", golden["c0_est"], None, title="alone")
    both, alone = (read_image(tmp_path / name).astype(int) for name in ("both.png", "alone.png"))
    orange = [(np.abs(image - [217, 102, 59]).sum(axis=2) < 30).sum() for image in (both, alone)]
    assert min(orange) > 200 and sorted(path.name for path in tmp_path.iterdir()) == ["alone.png", "both.png"]
