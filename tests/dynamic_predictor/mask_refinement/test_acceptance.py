"""Which masks of a followed object are believed."""

import numpy as np

from dynamic_predictor.mask_refinement.acceptance import Agreement, accepted_frames, agreement

GOOD, FLOODED, BESIDE = Agreement(0.9, 0.9), Agreement(1.0, 0.1), Agreement(0.0, 0.0)


def test_agreement_is_measured_in_pixels():
    segment, core, moving = np.zeros((3, 10, 10), bool)
    segment[:, :4], core[:5, 2:6], moving[:, 1:7] = True, True, True
    found = agreement(segment, core, moving)
    assert (found.coverage, found.precision) == (0.5, 0.75)
    assert found.quality == 0.375 and found.is_enough
    empty = np.zeros((10, 10), bool)
    assert not agreement(empty, core, moving).is_enough
    assert agreement(segment, empty, moving).coverage == 0


def test_one_of_two_things_that_share_a_core_is_believed():
    assert Agreement(0.3, 0.95).is_enough and not Agreement(0.3, 0.7).is_enough
    assert not FLOODED.is_enough and not BESIDE.is_enough


def test_most_frames_with_evidence_must_agree():
    areas = [100] * 10
    assert accepted_frames(areas, {frame: GOOD for frame in range(10)}) == [True] * 10
    mixed = {frame: GOOD if frame < 6 else FLOODED for frame in range(10)}
    assert accepted_frames(areas, mixed) == [True] * 6 + [False] * 4
    mixed[5] = FLOODED
    assert accepted_frames(areas, mixed) == [False] * 10
    assert accepted_frames(areas, {}) == [False] * 10


def test_frames_without_evidence_follow_while_the_area_stays():
    seen = {frame: GOOD for frame in range(4, 8)}
    assert accepted_frames([100] * 12, seen) == [True] * 12
    # for as many frames as agreed
    assert accepted_frames([100] * 20, seen) == [True] * 12 + [False] * 8
    # until it is another thing
    areas = [100] * 12
    areas[2], areas[9] = 500, 40
    assert accepted_frames(areas, seen) == [False] * 3 + [True] * 6 + [False] * 3
    # a frame in which it is hidden is no obstacle, and has nothing to believe
    areas = [100] * 12
    areas[9] = 0
    assert accepted_frames(areas, seen) == [True] * 9 + [False] + [True] * 2
    # a frame that disagrees is
    assert accepted_frames([100] * 12, {**seen, 9: FLOODED}) == [True] * 9 + [False] * 3
