"""Overlaps of views out of depth and cameras."""

import numpy as np
import pytest

from dynamic_predictor.preparation.frames import RawFrame
from dynamic_predictor.preparation.overlaps import coarse_view, overlap_pairs
from tests.dynamic_predictor.training.datasets.exact_scene import intrinsics, pinhole_rays, pose_of, render


def _frame(turned: float, height: float = 0.0) -> RawFrame:
    """The first view turned by an angle about the vertical axis, and moved up."""
    pose = pose_of(0)
    cosine, sine = np.cos(np.radians(turned)), np.sin(np.radians(turned))
    pose[:3, :3] = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]]) @ pose[:3, :3]
    pose[1, 3] -= height
    shown = render(pose, pinhole_rays(intrinsics()))
    return RawFrame("", shown.rgb, shown.z_depth, intrinsics(), pose)


def test_overlap_falls_with_the_angle() -> None:
    """A horizontal field of view of 58 degrees: views 10 degrees apart share about five sixths."""
    pairs = overlap_pairs([coarse_view(_frame(angle)) for angle in (0, 10, 20, 30, 150)])
    found = {(int(first), int(second)): overlap for first, second, overlap in pairs}
    assert [found[0, other] for other in (1, 2, 3)] == pytest.approx([0.82, 0.64, 0.46], abs=0.12)
    assert found[0, 1] > found[0, 2] > found[0, 3] and not any(4 in pair for pair in found)


def test_hidden_surfaces_do_not_overlap() -> None:
    seen, hidden = _frame(0), _frame(0)
    # a card in front of the second camera
    hidden.z_depth[:, :] = 0.5
    pairs = overlap_pairs([coarse_view(seen), coarse_view(hidden)])
    assert len(pairs) == 0
    assert len(overlap_pairs([coarse_view(seen), coarse_view(_frame(0, height=0.2))])) == 2
    assert overlap_pairs([]).shape == (0, 3)
