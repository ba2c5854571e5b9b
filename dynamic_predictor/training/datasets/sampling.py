"""Which frames form a sequence: pure functions of their arguments and a generator of random numbers."""

from collections.abc import Sequence

import numpy as np

from dynamic_predictor.training.datasets.spec import SequenceRule


def fewest_frames(views: int, *, repeats: bool) -> int:
    """How many different frames a sequence of `views` needs; with `repeats`, a third of them."""
    return max(views // 3, min(views, 3)) if repeats else views


def run_positions(
    count: int, start: int, views: int, rule: SequenceRule, generator: np.random.Generator, *, halved: bool = False
) -> tuple[list[int], bool]:
    """`views` positions of a run of `count` frames that begin at `start`, and whether they are in order of time.

    Intervals are uniform between the bounds of `rule` (the upper one is half as large when `halved`), but so that twice
    the mean would still fit in the run; what would lie beyond its end is replaced by other frames after `start`. A
    video is in order and may have equal intervals; else the order is random within blocks. A run that is too short is
    begun earlier, and its frames are repeated: in the same order, at random, or at random in order of time.
    """
    after = count - 1 - start
    if after < views - 1:
        return _repeated(count, start, views, rule, generator)
    if after == views - 1:
        return list(range(start, count)), True
    longest = rule.longest_interval // 2 if halved else rule.longest_interval
    longest = max(min(longest, 2 * after // max(views - 1, 1)), rule.shortest_interval)
    intervals = generator.integers(rule.shortest_interval, longest + 1, views - 1)
    is_video = bool(generator.random() < rule.video)
    if is_video and generator.random() < rule.equal_intervals:
        intervals[:] = generator.integers(1, min(after // max(views - 1, 1), longest) + 1)
    positions = start + np.concatenate([[0], np.cumsum(intervals)])
    positions = positions[positions < count]
    others = np.setdiff1d(np.arange(start, count), positions)
    positions = np.concatenate([positions, generator.choice(others, views - len(positions), replace=False)])
    if is_video:
        return sorted(int(position) for position in positions), True
    return shuffled_in_blocks(positions, rule.block, generator), False


def _repeated(
    count: int, start: int, views: int, rule: SequenceRule, generator: np.random.Generator
) -> tuple[list[int], bool]:
    first = int(generator.integers(0, start + 1))
    different = min(max(count - 1 - start, 2), count - first, views)
    longest = max(min(rule.longest_interval, (count - 1 - first) // max(different - 1, 1)), 1)
    is_video = bool(generator.random() < rule.video)
    intervals = generator.integers(1, longest + 1, different - 1)
    if is_video and generator.random() < rule.equal_intervals:
        intervals[:] = generator.integers(1, longest + 1)
    positions = first + np.concatenate([[0], np.cumsum(intervals)])
    order = generator.random()
    if rule.video == 1.0 or order < 0.5:  # the sequence is revisited
        once = positions.tolist() if is_video else shuffled_in_blocks(positions, rule.block, generator)
        return [once[index % len(once)] for index in range(views)], is_video
    drawn = generator.choice(positions, views).tolist()
    return (drawn if order < 0.9 else sorted(drawn)), False


def shuffled_in_blocks(
    positions: Sequence[int] | np.ndarray, block: int | None, generator: np.random.Generator
) -> list[int]:
    """The positions in random order within each block of `block` of them; None: all together."""
    size = block or max(len(positions), 1)
    return [
        int(position)
        for at in range(0, len(positions), size)
        for position in generator.permutation(np.asarray(positions[at : at + size]))
    ]


def star_positions(
    reference: int,
    others: np.ndarray,
    overlaps: np.ndarray,
    views: int,
    generator: np.random.Generator,
    *,
    repeats: bool,
    weighted: bool,
    reference_first: bool,
) -> list[int] | None:
    """`views` frames out of `reference` and the `others` that overlap it, or None if there are too few."""
    if len(others) + 1 < fewest_frames(views, repeats=repeats):
        return None
    weights = overlaps / overlaps.sum() if weighted else None
    if reference_first:
        again = repeats and len(others) < views - 1
        return [reference, *generator.choice(others, views - 1, replace=again, p=weights).tolist()]
    pool = np.concatenate([[reference], others])
    if weighted:
        weights = np.concatenate([[1.0], overlaps])
        weights /= weights.sum()
    return generator.choice(pool, views, replace=len(pool) < views, p=weights).tolist()


def walk_positions(
    start: int,
    neighbors: Sequence[tuple[np.ndarray, np.ndarray]],
    views: int,
    generator: np.random.Generator,
    *,
    repeats: bool,
) -> list[int] | None:
    """A walk of `views` frames over a graph of overlaps, or None if it reaches too few from `start`.

    `neighbors` has the overlapping frames and weights of every frame. Frames are not visited twice; at a dead end the
    walk goes on from the last frame that still has unvisited neighbors. With `repeats`, what is then missing is filled
    with frames of the walk.
    """
    path, stack, visited = [start], [start], {start}
    while stack and len(path) < views:
        frames, weights = neighbors[stack[-1]]
        open_ = np.array([frame not in visited for frame in frames], bool)
        if not open_.any():
            stack.pop()
            continue
        chances = weights[open_] / weights[open_].sum()
        chosen = int(generator.choice(frames[open_], p=chances))
        path.append(chosen)
        stack.append(chosen)
        visited.add(chosen)
    if len(path) < fewest_frames(views, repeats=repeats):
        return None
    return path + generator.choice(path, views - len(path)).tolist() if len(path) < views else path


def input_masks(
    views: int, kinds: tuple[float, float, float], metric: bool, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """For each view, whether the network is given its image and whether its rays, bool (views,) each.

    The first view, and all views of sets that are not metric, are images; others are images, rays or both with the
    probabilities `kinds`.
    """
    drawn = generator.choice(3, views, p=np.asarray(kinds) / sum(kinds))
    drawn[0] = 0
    if not metric:
        drawn[:] = 0
    return drawn != 1, drawn != 0
