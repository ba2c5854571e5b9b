"""Which frames form a sequence."""

import numpy as np
import pytest

from dynamic_predictor.training.datasets.sampling import (
    fewest_frames,
    input_masks,
    run_positions,
    shuffled_in_blocks,
    star_positions,
    walk_positions,
)
from dynamic_predictor.training.datasets.spec import SequenceRule


def _many(count: int, start: int, views: int, rule: SequenceRule, times: int = 300, **options):
    return [run_positions(count, start, views, rule, np.random.default_rng(seed), **options) for seed in range(times)]


def test_intervals_are_within_the_rule() -> None:
    rule = SequenceRule(7, shortest_interval=2, video=1.0, equal_intervals=0.0)
    seen = set()
    for positions, is_video in _many(200, 20, 5, rule):
        steps = np.diff(positions)
        assert is_video and positions[0] == 20 and steps.min() >= 2 and steps.max() <= 7
        seen.update(steps.tolist())
    assert seen == {2, 3, 4, 5, 6, 7}
    assert {step for positions, _ in _many(200, 0, 5, rule, halved=True) for step in np.diff(positions)} == {2, 3}


def test_equal_intervals_and_shares() -> None:
    rule = SequenceRule(8, video=0.6, equal_intervals=0.5)
    drawn = _many(400, 0, 6, rule, times=1000)
    videos = [positions for positions, is_video in drawn if is_video]
    assert len(videos) / 1000 == pytest.approx(0.6, abs=0.06)
    assert all(positions == sorted(positions) for positions in videos)
    equal = [positions for positions in videos if len(set(np.diff(positions))) == 1]
    assert len(equal) / len(videos) == pytest.approx(0.5, abs=0.06)
    assert {positions[1] for positions in equal} == set(range(1, 9))
    others = [positions for positions, is_video in drawn if not is_video]
    assert sum(positions != sorted(positions) for positions in others) > 0.95 * len(others)


def test_frames_are_different_and_in_the_run() -> None:
    for rule in (SequenceRule(25), SequenceRule(128, video=1.0), SequenceRule(2, video=0.0, block=3)):
        for count, start, views in ((30, 3, 10), (30, 20, 10), (12, 0, 12), (40, 39, 1), (5, 0, 2)):
            for positions, _ in _many(count, start, views, rule, times=40):
                assert len(set(positions)) == views and start in positions
                assert min(positions) >= start and max(positions) < count


def test_a_run_of_exactly_the_right_length_is_taken_whole() -> None:
    assert run_positions(10, 4, 6, SequenceRule(video=0.0), np.random.default_rng(0)) == ([4, 5, 6, 7, 8, 9], True)


def test_short_runs_are_repeated() -> None:
    revisited = unordered = 0
    for positions, is_video in _many(9, 4, 12, SequenceRule(3, video=0.5)):
        assert len(positions) == 12 and set(positions) <= set(range(9)) and len(set(positions)) >= 2
        cycle = len(set(positions))
        revisited += positions == [positions[index % cycle] for index in range(12)]
        unordered += not is_video
    assert 100 < revisited < 250 and unordered > 100
    for count, start in ((4, 0), (4, 3), (2, 0)):
        for positions, is_video in _many(count, start, 4, SequenceRule(video=1.0), times=30):
            assert is_video or len(set(positions)) < 4
            assert set(positions) <= set(range(count))


def test_blocks_are_shuffled_inside_only() -> None:
    shuffled = shuffled_in_blocks(range(10), 4, np.random.default_rng(1))
    assert (
        sorted(shuffled[:4]) == [0, 1, 2, 3] and sorted(shuffled[4:8]) == [4, 5, 6, 7] and shuffled != list(range(10))
    )
    assert sorted(shuffled_in_blocks(range(10), None, np.random.default_rng(1))) == list(range(10))


def test_a_third_of_the_frames_is_enough_with_repeats() -> None:
    assert [fewest_frames(views, repeats=True) for views in (1, 2, 4, 10, 64)] == [1, 2, 3, 3, 21]
    assert fewest_frames(64, repeats=False) == 64


def test_star_follows_the_overlap() -> None:
    others, overlaps = np.arange(1, 7), np.array([0.5, 0.5, 1e-9, 1e-9, 1e-9, 1e-9])

    def draw(seed: int, views: int, **options):
        generator = np.random.default_rng(seed)
        return star_positions(
            0,
            others,
            overlaps,
            views,
            generator,
            **{"repeats": False, "weighted": True, "reference_first": True, **options},
        )

    assert all(draw(seed, 3)[:1] == [0] and set(draw(seed, 3)[1:]) == {1, 2} for seed in range(10))
    assert draw(0, 8) is None
    assert len(draw(0, 8, repeats=True)) == 8
    uniform = {at for seed in range(30) for at in draw(seed, 4, weighted=False, reference_first=False)}
    assert uniform == set(range(7))


def test_walk_goes_along_overlaps_and_backtracks() -> None:
    # 0 - 1 - 2, and 1 - 3 - 4; a dead end at 2
    edges = {0: [1], 1: [0, 2, 3], 2: [1], 3: [1, 4], 4: [3]}
    neighbors = [(np.array(edges[at]), np.ones(len(edges[at]))) for at in range(5)]
    for seed in range(20):
        path = walk_positions(0, neighbors, 5, np.random.default_rng(seed), repeats=False)
        assert path is not None and sorted(path) == [0, 1, 2, 3, 4] and path[:2] == [0, 1]
        assert path.index(3) < path.index(4)
    assert walk_positions(0, neighbors, 6, np.random.default_rng(0), repeats=False) is None
    repeated = walk_positions(0, neighbors, 6, np.random.default_rng(0), repeats=True)
    assert repeated is not None and len(repeated) == 6 and set(repeated) == {0, 1, 2, 3, 4}
    alone = [(np.array([], int), np.array([]))]
    assert walk_positions(0, alone, 2, np.random.default_rng(0), repeats=True) is None


def test_input_masks() -> None:
    images, rays = input_masks(20000, (0.7, 0.25, 0.05), True, np.random.default_rng(0))
    assert images[0] and not rays[0]
    shares = [(images & ~rays).mean(), (~images & rays).mean(), (images & rays).mean()]
    assert shares == pytest.approx([0.7, 0.25, 0.05], abs=0.01)
    images, rays = input_masks(100, (0.7, 0.25, 0.05), False, np.random.default_rng(0))
    assert images.all() and not rays.any()
