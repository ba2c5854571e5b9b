"""Refined masks, with a segmenter that needs no weights."""

import numpy as np

from dynamic_predictor.mask_refinement.refining import completed, refined_masks
from tests.dynamic_predictor.mask_refinement.color_segmenter import (
    BLUE,
    GREEN,
    GROUND,
    HEIGHT,
    RED,
    WIDTH,
    ColorSegmenter,
    clip_of,
    with_halo,
)

COUNT = 14
ACROSS = [(10 + 5 * frame, 20, 24, 30) for frame in range(COUNT)]
BACK = [(120 - 4 * frame, 75, 30, 26) for frame in range(COUNT)]


def _stack(maps) -> np.ndarray:
    return np.stack([maps[frame] for frame in range(len(maps))])


def test_masks_get_the_shapes_of_the_objects():
    frames, shown = clip_of([(RED, ACROSS), (GREEN, BACK)])
    truth = shown.any(axis=0)
    given = with_halo(truth)
    for at_once in (1, 8):
        found = refined_masks(frames, given, ColorSegmenter(), at_once=at_once)
        assert (found.objects, found.refined, found.left_out) == (2, 2, 0)
        np.testing.assert_array_equal(_stack(found.masks) > 0.5, truth)
    assert (given > 0.5).sum() > 1.4 * truth.sum()


def test_an_object_without_evidence_in_some_frames_is_followed_through_them():
    frames, shown = clip_of([(RED, ACROSS)])
    given = with_halo(shown[0])
    given[[0, 1, 6, 12, 13]] = 0  # it was missed there
    found = refined_masks(frames, given, ColorSegmenter())
    np.testing.assert_array_equal(_stack(found.masks) > 0.5, shown[0])


def test_a_wrong_spot_of_few_frames_is_no_object_of_the_whole_clip():
    resting = [(60, 40, 30, 30)] * COUNT
    frames, shown = clip_of([(BLUE, resting)])
    given = np.zeros((COUNT, HEIGHT, WIDTH), np.float32)
    given[6:8] = with_halo(shown[0])[6:8]
    masks = _stack(refined_masks(frames, given, ColorSegmenter()).masks)
    assert (masks > 0.5).any(axis=(1, 2)).sum() <= 2 + 2 * 2


def test_what_floods_the_static_scene_is_refused():
    frames, shown = clip_of([(RED, ACROSS), (GREEN, BACK)])
    given = with_halo(shown.any(axis=0))
    found = refined_masks(frames, given, ColorSegmenter(floods=[RED]))
    assert (found.objects, found.refined) == (2, 1)
    masks = _stack(found.masks)
    np.testing.assert_array_equal(masks[:, 70:] > 0.5, shown[1][:, 70:])
    np.testing.assert_array_equal(masks[:, :60], given[:, :60])

    segmenter = ColorSegmenter(floods=[RED, GREEN])
    found = refined_masks(frames, given, segmenter)
    assert found.refined == 0 and not segmenter.followed
    assert found.masks is given


def test_masks_of_static_ground_alone_stay_as_they_are():
    # motion masks may be wrong, and then what is under them is the ground
    frames, _ = clip_of([(RED, [None] * COUNT)])
    given = np.zeros((COUNT, HEIGHT, WIDTH), np.float32)
    given[:, 30:60, 40:70] = 1.0
    found = refined_masks(frames, given, ColorSegmenter())
    assert (found.objects, found.refined) == (1, 0)
    assert GROUND not in (RED, GREEN) and found.masks is given


def test_nothing_is_asked_where_nothing_moves():
    frames, _ = clip_of([(RED, ACROSS)])
    segmenter = ColorSegmenter()
    given = np.zeros((COUNT, HEIGHT, WIDTH), np.float32)
    found = refined_masks(frames, given, segmenter)
    assert (found.objects, found.refined) == (0, 0) and not segmenter.asked and found.masks is given


def test_objects_that_others_cover_get_no_prompt_of_their_own():
    # a gap in the evidence makes two objects of one; the larger one is followed through the gap
    frames, shown = clip_of([(RED, ACROSS)])
    given = with_halo(shown[0])
    given[3:7] = 0
    segmenter = ColorSegmenter()
    found = refined_masks(frames, given, segmenter, at_once=1)
    assert (found.objects, found.refined) == (1, 1) and len(segmenter.followed) == 1
    np.testing.assert_array_equal(_stack(found.masks) > 0.5, shown[0])


def test_the_largest_objects_come_first():
    frames, shown = clip_of([(RED, ACROSS), (GREEN, [(130 - frame, 80, 12, 12) for frame in range(COUNT)])])
    given = with_halo(shown.any(axis=0))
    found = refined_masks(frames, given, ColorSegmenter(), most=1)
    assert (found.objects, found.refined, found.left_out) == (1, 1, 1)
    masks = _stack(found.masks)
    np.testing.assert_array_equal(masks[:, :60] > 0.5, shown[0][:, :60])
    np.testing.assert_array_equal(masks[:, 70:], given[:, 70:])


def test_progress_counts_up_to_its_total():
    frames, shown = clip_of([(RED, ACROSS), (GREEN, BACK)])
    last: dict[str, tuple[int, int]] = {}

    def progress(stage: str, done: int, total: int) -> None:
        assert done == last.get(stage, (0, 0))[0] + 1 <= total
        last[stage] = done, total

    refined_masks(frames, with_halo(shown.any(axis=0)), ColorSegmenter(), progress)
    assert len(last) == 3 and all(done == total for done, total in last.values())


def test_halos_go_and_thick_rests_stay():
    segment = np.zeros((HEIGHT, WIDTH), bool)
    segment[30:70, 40:60] = True
    given = with_halo(segment[None], 4)[0]
    shadow = np.zeros_like(segment)
    shadow[66:86, 44:90] = True
    apart = np.zeros_like(segment)
    apart[5:9, 100:140] = True  # thin, but no part of the object
    mask = np.maximum(given, np.maximum(shadow, apart).astype(np.float32))
    mask[(mask < 0.5) & (np.arange(WIDTH) < 75)] = 0.3
    found = completed(mask, segment, segment)
    assert (found[segment] == 1).all() and (found[apart] == 1).all()
    assert (found[shadow & ~segment] == 1).mean() > 0.9
    halo = (given > 0.5) & ~segment & ~shadow
    assert (found[halo] == 0).all() and halo.sum() > 200
    assert (found[100:, :20] == 0.3).all()  # doubts far away stay
    nothing = np.zeros_like(segment)
    np.testing.assert_array_equal(completed(mask, nothing, nothing), mask)
    # of an object that was found in part only, nothing goes
    np.testing.assert_array_equal(completed(mask, segment, nothing), np.maximum(mask, segment))
