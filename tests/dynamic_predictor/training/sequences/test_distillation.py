"""The distillation loss against the official one, and its gradient against finite differences."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from dynamic_predictor.training.sequences.distillation import (
    WEIGHTS,
    GeometryPredictions,
    camera_term,
    distillation_terms,
)
from tests.paths import ROOT

GOLDENS = ROOT / "tests" / "data" / "streamvggt_distillation.npz"
NAMES = {
    "points": "pts3d_in_other_view",
    "confidence": "conf",
    "depth": "depth",
    "depth_confidence": "depth_conf",
    "pose_encoding": "camera_pose",
    "tracks": "track",
    "visibility": "vis",
    "track_confidence": "track_conf",
}


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDENS) as archive:
        return {key: torch.from_numpy(archive[key]) for key in archive.files}


def predictions(golden, who: str) -> GeometryPredictions:
    def stacked(name: str) -> torch.Tensor:
        values = torch.stack([golden[f"distill_{who}_{view}_{name}"] for view in range(3)], dim=1)
        return values[..., 0] if name == "depth" else values

    return GeometryPredictions(**{field: stacked(name) for field, name in NAMES.items()})


def valid(golden) -> torch.Tensor:
    return torch.stack([golden[f"distill_teacher_{view}_valid_mask"] for view in range(3)], dim=1)


def weighted(terms) -> dict[str, float]:
    return {name: WEIGHTS[name] * term.mean().item() for name, term in terms.items()}


def test_terms_and_loss_equal_the_official_ones(golden):
    student, teacher, known = predictions(golden, "student"), predictions(golden, "teacher"), valid(golden)
    found = weighted(distillation_terms(student, teacher, known, strict_official=True))
    point = torch.tensor([0.1, 0.7, 0.3])
    if not torch.linalg.cross(point, point).any():
        pytest.skip(
            "the official loss contains rounding errors of fused multiply-add, which this machine does not have"
        )
    for name, theirs in (("camera", "Lcamera"), ("depth", "Ldepth"), ("points", "Lpmap"), ("track", "Ltrack")):
        assert found[name] == pytest.approx(float(golden[theirs]), rel=1e-5), name
    assert sum(found.values()) == pytest.approx(float(golden["loss"]), rel=1e-5)


def test_without_the_rounding_errors_of_the_corners_only_the_points_differ(golden):
    student, teacher, known = predictions(golden, "student"), predictions(golden, "teacher"), valid(golden)
    official = weighted(distillation_terms(student, teacher, known, strict_official=True))
    found = weighted(distillation_terms(student, teacher, known))
    for name in ("camera", "depth", "track"):
        assert found[name] == official[name]
    # 4 of the 4 normals of each pixel of maps of 8x10, 4x5 and 2x3 are of corners, with cosines of -1 to 1
    assert 0 < abs(found["points"] - official["points"]) <= WEIGHTS["points"] / 3 * (1 / 80 + 1 / 20 + 1 / 6)


def test_the_small_copy_of_the_goldens_is_the_shared_one(shared, golden):
    details = json.loads((shared / "parity" / "streamvggt" / "maths.json").read_text())
    assert float(golden["loss"]) == details["distill_loss"]
    with np.load(shared / "parity" / "streamvggt" / "maths.npz") as archive:
        for key in (key for key in archive.files if key.startswith("distill_")):
            np.testing.assert_array_equal(golden[key], archive[key])


def test_gradients_equal_finite_differences(golden):
    def double(geometry: GeometryPredictions) -> GeometryPredictions:
        return GeometryPredictions(**{field.name: vars(geometry)[field.name].double() for field in fields(geometry)})

    student, teacher, known = (
        double(predictions(golden, "student")),
        double(predictions(golden, "teacher")),
        valid(golden),
    )

    def loss(geometry: GeometryPredictions) -> torch.Tensor:
        terms = distillation_terms(geometry, teacher, known)
        return torch.stack([WEIGHTS[name] * term.mean() for name, term in terms.items()]).sum()

    generator = torch.Generator().manual_seed(0)
    for name in NAMES:
        leaf = vars(student)[name].clone().requires_grad_()
        loss(replace(student, **{name: leaf})).backward()
        assert leaf.grad is not None
        direction, step = torch.randn(leaf.shape, generator=generator, dtype=torch.float64), 1e-7
        ends = [loss(replace(student, **{name: leaf.detach() + sign * step * direction})) for sign in (1, -1)]
        numeric = float(ends[0] - ends[1]) / (2 * step)
        assert float((leaf.grad * direction).sum()) == pytest.approx(numeric, rel=1e-3, abs=1e-6), name


def test_sequences_do_not_change_each_other_and_a_scale_of_the_student_does_not_matter(golden):
    student, teacher, known = predictions(golden, "student"), predictions(golden, "teacher"), valid(golden)
    alone = distillation_terms(student, teacher, known)
    both = GeometryPredictions(
        **{name: torch.cat([vars(student)[name], 2 * vars(student)[name].flip(0)]) for name in NAMES}
    )
    twice = GeometryPredictions(
        **{name: vars(teacher)[name].repeat(2, *[1] * (vars(teacher)[name].dim() - 1)) for name in NAMES}
    )
    terms = distillation_terms(both, twice, known.repeat(2, 1, 1, 1))
    for name, term in alone.items():
        torch.testing.assert_close(terms[name][:1], term)
    scaled = replace(student, depth=3 * student.depth + 1.0, points=0.5 * student.points + torch.tensor([1.0, 2, 3]))
    for name, term in distillation_terms(scaled, teacher, known).items():
        torch.testing.assert_close(term, alone[name], rtol=1e-4, atol=1e-5)


def test_views_without_depth_count_whole_and_small_camera_errors_are_squared(golden):
    student, teacher, known = predictions(golden, "student"), predictions(golden, "teacher"), valid(golden)
    none, all_pixels = torch.zeros_like(known), torch.ones_like(known)
    for name, term in distillation_terms(student, teacher, none).items():
        torch.testing.assert_close(term, distillation_terms(student, teacher, all_pixels)[name])
    zero = torch.zeros(1, 1, 9)
    assert camera_term(zero, zero + 0.05).item() == pytest.approx(2.5 * 0.5 * 0.05**2 / 0.1)
    assert camera_term(zero, zero + 1.0).item() == pytest.approx(2.5 * 0.95)
