"""Which pairs of frames a two-view network is asked about.

The names are those of DUSt3R, MonST3R and DAS3R:

- `complete`: every frame with every other;
- `swin-W`: a sliding window, offsets 1 .. W; `swinstride-W` takes every second offset (1, 3, 5, ...), `swin2stride-W`
  every third, `swinskip_start-W` starts at offset 2;
- `logwin-W`: offsets 1, 2, 4, ... 2^(W-1), to both sides;
- `oneref-R`: frame R with every other.

Windows close into a ring over the clip's end unless the name ends in `-noncyclic`. Every pair is asked in both
directions, but for `oneref` and `swin-1`.
"""

import math
import re

from scene.errors import InputError

Edge = tuple[int, int]

_DEFAULT_WINDOW = 3
_KINDS = ("complete", "swin", "swinstride", "swin2stride", "swinskip_start", "logwin", "oneref")
_NAME = re.compile(r"(?P<kind>[a-z0-9]+(?:_start)?)(?:-(?P<number>\d{1,6}))?(?P<open>-noncyclic)?")


def pair_edges(
    frame_count: int,
    graph: str = "swinstride-5-noncyclic",
    *,
    prefilter: str | None = None,
    symmetrize: bool = True,
    strict_official: bool = False,
) -> list[Edge]:
    """The ordered pairs (first frame, second frame) of a clip. Where pairs go both ways the second half of the list
    mirrors the first.

    `prefilter`: `seqD` keeps pairs at most D frames apart, `cycD` the same on a ring. With `strict_official` a cyclic
    window that spans the clip also pairs frames with themselves (twice), and every name that begins with `swin-1` (so
    `swin-12` too) is asked in one direction only, as in the official code.

    Raises `InputError` for fewer than two frames, a name that is not known, and a graph without pairs.
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
        pairs = _window_pairs(frame_count, _offsets(kind, number or _DEFAULT_WINDOW), cyclic, keep_self=strict_official)
    if strict_official:
        one_way = kind == "oneref" or graph.startswith("swin-1")
    else:
        one_way = kind == "oneref" or (kind == "swin" and number == 1)
    if (symmetrize and not one_way) or frame_count == 2:
        pairs += [(j, i) for i, j in pairs]
    if prefilter is not None:
        pairs = _filtered(pairs, prefilter)
    if not pairs and not strict_official:
        raise InputError(
            f'The pair graph "{graph}" has no pairs for {frame_count} frames; choose another, or "complete".'
        )
    return pairs


def graph_for_clip(frame_count: int, graph: str, *, strict_official: bool = False) -> str:
    """The name of the graph with a window that fits a clip: at most half of it, rounded up. With `strict_official` a
    name that is shortened loses its `-noncyclic`, as in the official evaluation: short clips become rings."""
    kind, number, cyclic = _parse(graph)
    if kind in ("complete", "oneref") or number is None:
        return graph
    largest = max(1, math.ceil((frame_count - 1) / 2))
    if number <= largest:
        return graph
    return f"{kind}-{largest}" + ("" if cyclic or strict_official else "-noncyclic")


def _parse(graph: str) -> tuple[str, int | None, bool]:
    match = _NAME.fullmatch(graph)
    if match is None or match["kind"] not in _KINDS:
        raise InputError(
            f'There is no pair graph called "{graph}"; choose complete, swin-W, swinstride-W, swin2stride-W, '
            "swinskip_start-W, logwin-W (each with -noncyclic at the end if the clip is no loop) or oneref-R."
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


def _window_pairs(frame_count: int, offsets: list[int], cyclic: bool, *, keep_self: bool) -> list[Edge]:
    pairs: set[Edge] = set()
    logarithmic = offsets[0] < 0
    for i in range(frame_count):
        for offset in offsets:
            j = (i + offset) % frame_count if cyclic else i + offset
            if not 0 <= j < frame_count or (i == j and (logarithmic or not keep_self)):
                continue
            pairs.add((min(i, j), max(i, j)))
    return sorted(pairs)


def _filtered(pairs: list[Edge], prefilter: str) -> list[Edge]:
    match = re.fullmatch(r"(seq|cyc)(\d{1,6})", prefilter)
    if match is None:
        raise InputError(
            f'There is no pair filter called "{prefilter}"; write seqD or cycD with a distance D in frames.'
        )
    limit = int(match[2])
    count = 1 + max((max(pair) for pair in pairs), default=0)
    ring = match[1] == "cyc"

    def distance(i: int, j: int) -> int:
        apart = abs(i - j)
        return min(apart, abs(count - apart)) if ring else apart

    return [(i, j) for i, j in pairs if distance(i, j) <= limit]
