"""Interlaced video: recognized by its flags and its motion, and turned into whole pictures.

FFmpeg's `idet` compares each line with the fields before and after: where things move, the two fields of an interlaced
picture are of two moments. `bwdif` (the weighting of the BBC, with the motion test of yadif) makes whole pictures of
them; film that was spread over fields at 3:2 is put together again by `fieldmatch`, and the picture that this doubles
in each five is dropped.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import av
import av.error
import numpy as np
from av.filter import Graph

FieldOrder = Literal["top", "bottom"]
#: frames by which a clip is judged, and the share of the moving ones that must agree
EVIDENCE_FRAMES = 40
_AGREE, _MINIMUM_MOVING = 0.7, 5
#: share of repeated fields of 3:2 pulldown (2 in 5), in a clip that shows both of them
_PULLDOWN = (0.25, 0.55)
_PULLDOWN_CYCLE = 5

Place = TypeVar("Place")


@dataclass(frozen=True)
class Fields:
    """How the pictures of a video are made of fields."""

    kind: Literal["progressive", "interlaced", "pulldown"]
    order: FieldOrder = "top"
    #: by flags alone, because nothing moved that would show it
    by_flags_only: bool = False


class FieldEvidence:
    """Judges a clip by its first frames."""

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._seen: Counter[str] = Counter()
        self._repeated: Counter[str] = Counter()
        self._flagged = 0

    def add(self, frame: av.VideoFrame) -> None:
        """Takes the next frame."""
        self._flagged += bool(frame.interlaced_frame)
        if self._graph is None:
            self._graph = _graph(frame, [("idet", "")])
        self._graph.push(frame)
        self._count(_pulled(self._graph))

    def verdict(self, order_by_flags: FieldOrder) -> Fields:
        """What the frames are; `order_by_flags` is used where nothing moves."""
        if self._graph is None:
            return Fields("progressive")
        self._graph.push(None)
        self._count(_pulled(self._graph))
        top, bottom, whole = (self._seen[name] for name in ("tff", "bff", "progressive"))
        moving, frames = top + bottom + whole, sum(self._repeated.values())
        repeats = [self._repeated[name] / max(frames, 1) for name in ("top", "bottom")]
        order: FieldOrder = "top" if top >= bottom else "bottom"
        if moving < _MINIMUM_MOVING:
            return Fields("interlaced", order_by_flags, True) if self._flagged else Fields("progressive")
        combed = max(top, bottom) / moving
        if combed >= 0.4 and _PULLDOWN[0] <= sum(repeats) <= _PULLDOWN[1] and min(repeats) >= 0.08:
            return Fields("pulldown", order)
        if combed >= _AGREE or (self._flagged and combed >= 0.2):
            return Fields("interlaced", order)
        return Fields("progressive")  # flags of whole pictures that were sent as fields say nothing

    def _count(self, frames: Iterable[av.VideoFrame]) -> None:
        for frame in frames:
            self._seen[frame.metadata.get("lavfi.idet.single.current_frame", "")] += 1
            self._repeated[frame.metadata.get("lavfi.idet.repeated.current_frame", "")] += 1


class WholePictures(Generic[Place]):
    """Turns frames with fields into whole pictures, one by one, each with what the caller keeps about it."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self._graph: Graph | None = None
        self._waiting: deque[Place] = deque()
        self._cycle: list[tuple[av.VideoFrame, Place, float]] = []
        self._before: np.ndarray | None = None

    def put(self, frame: av.VideoFrame, place: Place) -> Iterator[tuple[av.VideoFrame, Place]]:
        """Takes the next frame; gives the pictures that are whole now."""
        if self._graph is None:
            parity = "tff" if self._fields.order == "top" else "bff"
            chain = [("bwdif", f"mode=send_frame:parity={parity}:deint=all")]
            if self._fields.kind == "pulldown":
                matched = f"order={parity}:mode=pc_n:combmatch=full"
                chain = [("fieldmatch", matched), ("bwdif", f"mode=send_frame:parity={parity}:deint=interlaced")]
            self._graph = _graph(frame, chain)
        self._waiting.append(place)
        self._graph.push(frame)
        yield from self._placed(_pulled(self._graph))

    def finish(self) -> Iterator[tuple[av.VideoFrame, Place]]:
        """The pictures that were still waiting."""
        if self._graph is not None:
            self._graph.push(None)
            yield from self._placed(_pulled(self._graph))
        yield from ((frame, place) for frame, place, _ in self._cycle)
        self._cycle = []

    def _placed(self, frames: Iterable[av.VideoFrame]) -> Iterator[tuple[av.VideoFrame, Place]]:
        for frame in frames:
            if not self._waiting:
                return
            place = self._waiting.popleft()
            if self._fields.kind != "pulldown":
                yield frame, place
                continue
            yield from self._without_double(frame, place)

    def _without_double(self, frame: av.VideoFrame, place: Place) -> Iterator[tuple[av.VideoFrame, Place]]:
        luma = frame.reformat(width=160, height=120, format="gray").to_ndarray().astype(np.int16)
        change = np.inf if self._before is None else float(np.abs(luma - self._before).mean())
        self._before = luma
        self._cycle.append((frame, place, change))
        if len(self._cycle) == _PULLDOWN_CYCLE:
            double = min(range(_PULLDOWN_CYCLE), key=lambda index: self._cycle[index][2])
            yield from ((kept, where) for index, (kept, where, _) in enumerate(self._cycle) if index != double)
            self._cycle = []


def _graph(frame: av.VideoFrame, chain: list[tuple[str, str]]) -> Graph:
    graph = Graph()
    node = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
    for name, options in [*chain, ("buffersink", "")]:
        following = graph.add(name, options) if options else graph.add(name)
        node.link_to(following)
        node = following
    graph.configure()
    return graph


def _pulled(graph: Graph) -> Iterator[av.VideoFrame]:
    while True:
        try:
            yield graph.pull()  # type: ignore[misc]
        except (av.error.BlockingIOError, av.error.EOFError):
            return
