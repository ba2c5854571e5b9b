"""Pair graphs: the pairs of frames that a two-view network predicts.

The names are those of DUSt3R, MonST3R and DAS3R:

- `complete`: every frame with every other;
- `swin-W`: a sliding window, offsets 1 .. W; `swinstride-W` takes every second offset (1, 3, 5, ...), `swin2stride-W`
  every third, `swinskip_start-W` starts at offset 2;
- `logwin-W`: offsets 1, 2, 4, ... 2^(W-1), forward and backward;
- `oneref-R`: frame R with every other.

Windows wrap around the end of the clip unless the name ends in `-noncyclic`. Every pair is predicted in both
directions, except with `oneref` and `swin-1`.
"""

import math
import re

from dynamic_predictor.das3r.global_alignment.official import OURS, Conventions
from scene.errors import InputError

Edge = tuple[int, int]

_DEFAULT_WINDOW = 3
_KINDS = ("complete", "swin", "swinstride", "swin2stride", "swinskip_start", "logwin", "oneref")
_NAME = re.compile(r"(?P<kind>[a-z0-9]+(?:_start)?)(?:-(?P<number>\d{1,6}))?(?P<open>-noncyclic)?")


def pair_edges(frame_count: int, graph: str = "swinstride-5-noncyclic", conventions: Conventions = OURS) -> list[Edge]:
    """The ordered pairs of frames of a clip. If they go both ways, the second half of the list is the first reversed.

    Raises `InputError` for fewer than two frames, an unknown name, and a graph without pairs.
    """
    if frame_count < 2:
        raise InputError(f"A pair graph needs at least two frames, and there are {frame_count}.")
    kind, number, cyclic = _parse(graph)
    if kind == "complete":
        pairs = [(i, j) for i in range(frame_count) for j in range(i)]
    elif kind == "oneref":
        reference = number or 0
        if reference >= frame_count:
            raise InputError(
                f'The pair graph "{graph}" refers to frame {reference} of a clip with {frame_count} frames; choose a '
                f"reference from 0 to {frame_count - 1}."
            )
        pairs = [(reference, j) for j in range(frame_count) if j != reference]
    else:
        pairs = _window_pairs(frame_count, _offsets(kind, number or _DEFAULT_WINDOW), cyclic, conventions)
    if not conventions.is_one_way(graph, kind, number) or frame_count == 2:
        pairs += [(j, i) for i, j in pairs]
    if not pairs and conventions.refuses_empty_graphs:
        raise InputError(
            f'The pair graph "{graph}" has no pairs for {frame_count} frames; choose another, or "complete".'
        )
    return pairs


def graph_for_clip(frame_count: int, graph: str, conventions: Conventions = OURS) -> str:
    """The name of the graph with its window shortened, if necessary, to half the clip, rounded up."""
    kind, number, cyclic = _parse(graph)
    if kind in ("complete", "oneref") or number is None:
        return graph
    largest = max(1, math.ceil((frame_count - 1) / 2))
    if number <= largest:
        return graph
    return f"{kind}-{largest}" + ("-noncyclic" if not cyclic and conventions.keeps_noncyclic else "")


def _parse(graph: str) -> tuple[str, int | None, bool]:
    match = _NAME.fullmatch(graph)
    if match is None or match["kind"] not in _KINDS:
        raise InputError(
            f'There is no pair graph called "{graph}"; choose complete, swin-W, swinstride-W, swin2stride-W, '
            "swinskip_start-W, logwin-W (each with -noncyclic at the end unless the clip is a loop) or oneref-R."
        )
    number = None if match["number"] is None else int(match["number"])
    if number == 0 and match["kind"] != "oneref":
        raise InputError(f'The pair graph "{graph}" has a window of zero frames; give it at least one.')
    return match["kind"], number, match["open"] is None


def _offsets(kind: str, window: int) -> list[int]:
    if kind == "logwin":
        steps = [2**k for k in range(min(window, 32))]
        return [-step for step in steps] + steps
    start = 2 if kind == "swinskip_start" else 1
    stride = {"swinstride": 2, "swin2stride": 3}.get(kind, 1)
    return list(range(start, start + stride * window, stride))


def _window_pairs(frame_count: int, offsets: list[int], cyclic: bool, conventions: Conventions) -> list[Edge]:
    pairs: set[Edge] = set()
    logarithmic = offsets[0] < 0
    for i in range(frame_count):
        for offset in offsets:
            j = (i + offset) % frame_count if cyclic else i + offset
            is_allowed = i != j or (conventions.pairs_frames_with_themselves and not logarithmic)
            if not 0 <= j < frame_count or not is_allowed:
                continue
            pairs.add((min(i, j), max(i, j)))
    return sorted(pairs)
