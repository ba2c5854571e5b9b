"""Evidence of single objects, their tracks, and the prompts for them."""

import numpy as np

from dynamic_predictor.mask_refinement.contract import Prompt, tracking_order
from dynamic_predictor.mask_refinement.evidence import frame_evidence, halo_width
from dynamic_predictor.mask_refinement.objects import moving_objects
from dynamic_predictor.mask_refinement.prompting import prompt_frames, prompts_of
from scene.progress import ignore_progress
from tests.dynamic_predictor.mask_refinement.color_segmenter import HEIGHT, RED, WIDTH, clip_of, with_halo


def _two_that_touch() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.float32)
    mask[20:60, 20:50] = mask[20:60, 56:90] = 1.0
    mask[36:44, 50:56] = 1.0  # their halos meet
    return mask


def test_things_that_touch_have_cores_of_their_own():
    mask = _two_that_touch()
    evidence = frame_evidence(mask, 3)
    assert len(evidence.cores) == 2 and all(core.frame == 3 for core in evidence.cores)
    right, left = evidence.cores  # the larger one first
    assert (evidence.owner == left.label)[20:60, 20:50].all() and (evidence.owner == right.label)[20:60, 58:90].all()
    np.testing.assert_array_equal(evidence.owner > 0, mask > 0.5)
    assert halo_width(mask.shape) == 4.0 and evidence.depth[evidence.core].min() > 4.0
    assert left.extent_area + right.extent_area == int(mask.sum())
    assert not left.touches_border and left.confidence == 1.0


def test_doubts_and_specks_have_no_core():
    mask = np.zeros((HEIGHT, WIDTH), np.float32)
    mask[10:40, 10:40] = 0.6
    mask[80:82, 80:82] = 1.0
    evidence = frame_evidence(mask, 0)
    assert not evidence.cores and not evidence.owner.any() and evidence.moving.sum() == 904


def test_cores_are_linked_over_short_gaps():
    places = [(10 + 6 * frame, 30, 30, 40) for frame in range(12)]
    other = [(100, 80, 30, 30)] * 3 + [None] * 9
    _, shown = clip_of([(RED, places), ((1, 2, 3), other)])
    masks = with_halo(shown.any(axis=0), 2)
    masks[5:7] = 0
    first, second = moving_objects(masks, ignore_progress)
    assert sorted(first.cores) == [0, 1, 2, 3, 4, 7, 8, 9, 10, 11] and sorted(second.cores) == [0, 1, 2]
    assert first.weight > second.weight
    masks[2:] = 0
    masks[1] = 0  # one frame alone is noise
    assert moving_objects(masks, ignore_progress) == []
    assert len(moving_objects(masks[:1], ignore_progress)) == 2  # except where there is no other


def test_prompts_come_from_frames_that_show_the_object_best():
    # it enters at the left border; in frame 6 it is largest
    sizes = [20, 20, 24, 28, 32, 36, 40, 32, 32, 32]
    places = [(max(0, 14 * frame - 30), 30, size, size) for frame, size in enumerate(sizes)]
    _, shown = clip_of([(RED, places)])
    masks = with_halo(shown[0], 3)
    (item,) = moving_objects(masks, ignore_progress)
    chosen = prompt_frames(item)
    assert chosen[0] == 6 and len(chosen) == 3 and 0 not in chosen
    assert min(abs(a - b) for a in chosen for b in chosen if a != b) >= 9 / 5
    with_box, without = prompts_of(item.cores[6], frame_evidence(masks[6], 6))
    x, y, size, _ = places[6]
    assert with_box.box == (x - 3, y - 3, x + size + 3, y + size + 3) and without.box is None
    assert len(with_box.points) > 1 and with_box.frame == 6
    for column, row in with_box.points:
        assert x < column < x + size and y < row < y + size
    apart = np.linalg.norm(with_box.points[:1] - with_box.points[1:], axis=1)
    assert (apart > 5).all()
    np.testing.assert_array_equal(with_box.points, without.points)


def test_each_object_is_visited_once_per_frame_from_its_prompts_on():
    point = np.zeros((1, 2), np.float32)
    objects = [[Prompt(4, point), Prompt(7, point)], [Prompt(2, point)]]
    steps = tracking_order(10, objects)
    for index, prompts in enumerate(objects):
        visited = [step.frame for step in steps if step.concerned[index]]
        assert sorted(visited) == list(range(10))
        assert [step.frame for step in steps if step.concerned[index] and step.is_prompt] == [
            prompt.frame for prompt in prompts
        ]
    first = [step.frame for step in steps if step.concerned[0]]
    assert first == [4, 7, 5, 6, 8, 9, 3, 2, 1, 0]
    assert all(step.is_backwards == (step.frame < 4) for step in steps if step.concerned[0])
    assert max(step.frame for step in steps if step.is_backwards) == 3
