"""Training losses against the official ones: values, details and gradients."""

import numpy as np
import pytest
import torch

from dynamic_predictor.das3r.network import ViewPrediction
from dynamic_predictor.training.two_view.losses import ViewTruth, pair_losses, validation_losses


@pytest.fixture(scope="module")
def golden(shared):
    with np.load(shared / "parity" / "das3r" / "train_losses.npz") as archive:
        return {key: archive[key] for key in archive.files}


def truths(golden):
    return tuple(
        ViewTruth(
            *(
                torch.from_numpy(golden[f"gt{k}_{name}"])
                for name in ("pts3d", "valid_mask", "dynamic_mask", "camera_pose")
            )
        )
        for k in (1, 2)
    )


def predictions(golden):
    def leaf(name):
        return torch.from_numpy(golden[name]).requires_grad_()

    one = ViewPrediction(leaf("pred1_pts3d"), leaf("pred1_conf"), leaf("pred1_dynamic_mask"))
    two = ViewPrediction(leaf("pred2_pts3d_in_other_view"), leaf("pred2_conf"), leaf("pred2_dynamic_mask"))
    return one, two


def test_training_loss_and_gradients(golden):
    found = predictions(golden)
    terms = pair_losses(found, truths(golden), alpha=0.2)
    loss = sum(term.mean for name, term in terms.items() if name.startswith("weighted"))
    assert loss.item() == pytest.approx(float(golden["loss"]), rel=1e-5)
    for ours, theirs in [
        ("weighted_points_1", "conf_loss_1"),
        ("weighted_points_2", "conf_loss2"),
        ("weighted_motion_1", "conf_mmask_loss_1"),
        ("weighted_motion_2", "conf_mmask_loss_2"),
        ("points_1", "Regr3D_MMask_pts3d_1"),
        ("points_2", "Regr3D_MMask_pts3d_2"),
        ("motion_1", "Regr3D_MMask_mmask_1"),
        ("motion_2", "Regr3D_MMask_mmask_2"),
    ]:
        assert terms[ours].mean.item() == pytest.approx(float(golden[f"detail_{theirs}"]), rel=1e-4), ours
    loss.backward()
    for prediction, names in zip(
        found,
        (
            ("pred1_pts3d", "pred1_conf", "pred1_dynamic_mask"),
            ("pred2_pts3d_in_other_view", "pred2_conf", "pred2_dynamic_mask"),
        ),
        strict=True,
    ):
        for tensor, name in zip((prediction.points, prediction.confidence, prediction.motion), names, strict=True):
            wanted = golden[f"grad_{name}"]
            np.testing.assert_allclose(
                tensor.grad.numpy(), wanted, rtol=1e-3, atol=1e-5 * np.abs(wanted).max(), err_msg=name
            )


def test_validation_loss(golden):
    terms = validation_losses(predictions(golden), truths(golden))
    assert sum(term.mean for term in terms.values()).item() == pytest.approx(float(golden["test_loss"]), rel=1e-5)
    for number in (1, 2):
        for ours, theirs in (("points", "pts3d"), ("motion", "mmask")):
            wanted = float(golden[f"testdetail_Regr3D_ScaleShiftInv_MMask_{theirs}_{number}"])
            assert terms[f"{ours}_{number}"].mean.item() == pytest.approx(wanted, rel=1e-4)


def test_sums_of_parts_give_the_mean_of_the_whole(golden):
    found, wanted = predictions(golden), truths(golden)
    whole = pair_losses(found, wanted)
    parts = [
        pair_losses(
            tuple(ViewPrediction(p.points[rows], p.confidence[rows], p.motion[rows]) for p in found),
            tuple(ViewTruth(t.points[rows], t.valid[rows], t.motion[rows], t.world_from_camera[rows]) for t in wanted),
        )
        for rows in (slice(0, 1), slice(1, 4))
    ]
    for name, term in whole.items():
        total = sum(part[name].total for part in parts) / sum(part[name].count for part in parts)
        assert total.item() == pytest.approx(term.mean.item(), rel=1e-5)
