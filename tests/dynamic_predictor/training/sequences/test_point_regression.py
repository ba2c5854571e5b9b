"""The losses of CUT3R's training against values and gradients of the official ones.

The goldens are random predictions about six sequences: metric; without scale; with cameras only; with depth only;
single views without and with scale; some views without an image, and sky.
"""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from dynamic_predictor.training.sequences.point_regression import (
    SequencePredictions,
    SequenceTruth,
    encoded_poses,
    regression_terms,
    scale_errors,
)
from tests.paths import ROOT

NAMES = {
    "world_points": "pts3d_in_other_view",
    "world_confidence": "conf",
    "poses": "camera_pose",
    "own_points": "pts3d_in_self_view",
    "own_confidence": "conf_self",
    "colors": "rgb",
}


@pytest.fixture(scope="module")
def golden():
    with np.load(ROOT / "tests" / "data" / "cut3r_training_losses.npz") as archive:
        return {key: torch.from_numpy(archive[key]) for key in archive.files}


@pytest.fixture
def truth(golden) -> SequenceTruth:
    return SequenceTruth(
        golden["world"],
        golden["valid"],
        golden["sky"],
        golden["poses"],
        golden["images"],
        golden["img_mask"],
        golden["is_metric"],
        golden["camera_only"],
        golden["depth_only"],
        golden["single_view"],
    )


@pytest.fixture
def predicted(golden) -> SequencePredictions:
    return SequencePredictions(
        **{field: golden[f"pred_{name}"].clone().requires_grad_() for field, name in NAMES.items()}
    )


def views(predicted: SequencePredictions, begin: int, end: int) -> SequencePredictions:
    return SequencePredictions(**{name: value[:, begin:end] for name, value in vars(predicted).items()})


def loss_of(terms, *, colors: bool = False) -> torch.Tensor:
    names = ("own_points", "world_points", "poses", *(("colors",) if colors else ()))
    return torch.stack([terms[name].mean.mean() for name in names if name in terms]).sum()


@pytest.mark.parametrize("case", ["all_kinds", "same_kind", "chunk", "rgb"])
def test_losses_and_gradients_equal_the_official_ones(golden, truth, predicted, case):
    if case == "chunk":
        terms = regression_terms(views(predicted, 1, 3), truth.views(1, 3), first_camera=truth.world_from_camera[:, 0])
    else:
        terms = regression_terms(predicted, truth, by_kind=case == "all_kinds")
    if case == "rgb":
        loss = terms["colors"].mean
    else:
        loss = loss_of(terms)
        torch.testing.assert_close(terms["poses"].mean, golden[f"{case}_pose_loss"])
    torch.testing.assert_close(loss, golden[f"{case}_loss"])
    loss.backward()
    for field, name in NAMES.items():
        wanted = golden.get(f"{case}_grad_{name}")
        found = vars(predicted)[field].grad
        if wanted is None:
            assert found is None or not found.any(), name
        else:
            torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-5 * float(wanted.abs().max()))


def test_the_loss_of_vggts_points_equals_the_official_one(golden, truth, predicted):
    """With the weights of `streamvggt_recipe.PointRecipe`: points alone, and poses up to a limit."""
    truth = replace(truth, camera_only=torch.zeros_like(truth.camera_only))
    world_only = SequencePredictions(predicted.world_points, predicted.world_confidence, predicted.poses)
    terms = regression_terms(world_only, truth, by_kind=False)
    torch.testing.assert_close(terms["poses"].mean, golden["points_pose_loss"])
    loss = 2 * terms["world_points"].mean.mean() + 5 * terms["poses"].mean.clip(max=0.3)
    torch.testing.assert_close(loss, golden["points_loss"])
    loss.backward()
    for field in ("world_points", "world_confidence"):
        wanted = golden[f"points_grad_{NAMES[field]}"]
        assert torch.allclose(vars(predicted)[field].grad, wanted, rtol=1e-3, atol=1e-5 * float(wanted.abs().max()))


def test_validation_equals_the_official_one(golden, truth, predicted):
    terms = scale_errors(predicted, truth)
    loss = sum(term.mean.sum() for term in terms.values())
    torch.testing.assert_close(loss, golden["validation_loss"])


def test_counts_are_known_before_the_predictions(truth, predicted):
    terms, counts = regression_terms(predicted, truth), truth.counts()
    assert set(terms) == set(counts)
    for name, term in terms.items():
        assert torch.equal(term.count, counts[name]), name


def test_sums_of_parts_give_the_loss_of_the_whole(truth, predicted):
    whole = regression_terms(predicted, truth)
    parts = []
    for rows in (slice(0, 2), slice(2, 6)):
        part = SequenceTruth(**{field.name: vars(truth)[field.name][rows] for field in fields(truth)})
        found = SequencePredictions(**{name: value[rows] for name, value in vars(predicted).items()})
        parts.append(regression_terms(found, part))
    for name, term in whole.items():
        count = torch.stack([part[name].count for part in parts]).sum(dim=0)
        torch.testing.assert_close(torch.stack([part[name].total for part in parts]).sum(dim=0) / count, term.mean)


def test_perfect_predictions_have_no_distance_and_scale_matters_only_for_metric_scenes(truth):
    truth = replace(truth, sky=torch.zeros_like(truth.sky), has_image=torch.ones_like(truth.has_image))
    camera1 = torch.linalg.inv(truth.world_from_camera[:, :1])
    own = torch.linalg.inv(truth.world_from_camera)

    def move(matrix):
        return (
            torch.einsum("bvij,bvhwj->bvhwi", matrix[..., :3, :3].expand(-1, 3, -1, -1), truth.points)
            + (matrix[..., None, None, :3, 3])
        )

    poses, ones = encoded_poses(camera1 @ truth.world_from_camera), torch.ones_like(truth.valid, dtype=torch.float32)
    perfect = SequencePredictions(move(camera1), ones, poses, move(own), ones)
    assert loss_of(regression_terms(perfect, truth)).item() == pytest.approx(0, abs=1e-4)
    twice = replace(
        perfect,
        world_points=2 * perfect.world_points,
        own_points=2 * move(own),
        poses=torch.cat([2 * poses[..., :3], poses[..., 3:]], dim=-1),
    )
    whole = regression_terms(twice, truth)
    assert loss_of(whole).item() > 0.1
    free = replace(truth, metric=torch.zeros_like(truth.metric))
    assert loss_of(regression_terms(twice, free)).item() == pytest.approx(0, abs=1e-4)


def test_nothing_valid_is_no_error(truth, predicted):
    nothing = replace(truth, valid=torch.zeros_like(truth.valid), sky=torch.zeros_like(truth.sky))
    loss = loss_of(regression_terms(predicted, nothing), colors=True)
    loss.backward()
    assert torch.isfinite(loss)
    for name, value in vars(predicted).items():
        assert value.grad is None or torch.isfinite(value.grad).all(), name
