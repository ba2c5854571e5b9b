"""The streaming driver: frames in, one world out, with memory that does not grow with the clip.

Chunks of frames are predicted as soon as their frames are there, each is aligned to the one before over the frames
that both have, loops are closed at the end (VGGT-Long, Deng et al., 2025; Depth Anything 3's streaming). Of the clip
only one chunk and the overlap of the one before are in memory; everything else lies in a `StreamWorkspace`.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from dynamic_predictor.driver.chunk_predictor import ChunkPrediction, ChunkPredictor
from dynamic_predictor.driver.chunks import (
    AlignedChunk,
    ChunkAlignmentMethod,
    align_by_cameras,
    align_chunks,
    camera_seam,
    check_chunks,
    chunk_of_frame,
    chunk_windows,
    depth_scale,
)
from dynamic_predictor.driver.loop_closure import ImageDescriptor, LoopWindow, find_loops, loop_windows
from dynamic_predictor.driver.pose_graph import PoseGraphEdge, accumulate, close_loops
from dynamic_predictor.driver.sources import FrameSource, LiveSource
from dynamic_predictor.driver.workspace import ChunkRecord, StreamWorkspace
from scene.errors import InputError
from scene.progress import Progress, ignore_progress
from scene.similarity import Similarity, align_poses

#: a loop is believed when its points lie this close to those of both chunks, as a part of their distance
LOOP_RELATIVE_ERROR = 0.1
#: and when at least this share of the pixels takes part
LOOP_SUPPORT = 0.05
_DESCRIBED_AT_ONCE = 16
#: a jump of the path between chunks that is worth avoiding: parts of the depth plus radians
_VISIBLE_SEAM = 0.01
#: units of two chunks differ less than this; a ratio of two paths outside says that one of them does not move
_PLAUSIBLE_SCALES = (1e-4, 1e4)


@dataclass(frozen=True)
class StreamSettings:
    """`chunk_size` frames are predicted together and share `overlap` with the next chunk; `align` says what may differ
    between chunks; `loop`: whether loops are looked for, `loop_half` frames on either side of one are looked at."""

    chunk_size: int = 60
    overlap: int = 30
    align: ChunkAlignmentMethod = "sim3"
    loop: bool = True
    loop_half: int = 10

    def __post_init__(self) -> None:
        check_chunks(self.chunk_size, self.overlap)
        if self.align not in ("sim3", "se3", "scale+se3"):
            raise InputError(f'--align is "{self.align}"; choose sim3, se3 or scale+se3.')
        if self.loop_half < 2:
            raise InputError(f"A loop needs at least 2 frames on either side, not {self.loop_half}.")


@dataclass(frozen=True)
class FoundLoop:
    """A loop between two chunks and what became of it."""

    later_chunk: int
    earlier_chunk: int
    later_frames: tuple[int, int]
    earlier_frames: tuple[int, int]
    accepted: bool
    relative_error: float
    #: trust in the pose graph, 0 for loops that were not accepted
    weight: float = 0.0


@dataclass
class StreamResult:
    """Where every chunk lies in the world. Frames, depth and confidences stay in `workspace`."""

    workspace: StreamWorkspace
    windows: list[tuple[int, int]]
    world_from_chunk: list[Similarity]
    #: the same before loops were closed
    chained: list[Similarity]
    predictor: str
    is_metric: bool
    loops: list[FoundLoop] = field(default_factory=list)
    #: what the loops were looked for with; None when they were not
    descriptor: str | None = None
    warnings: list[str] = field(default_factory=list)

    def chunk_of(self, frame: int) -> tuple[int, int]:
        """The chunk whose prediction of `frame` counts (the later one in an overlap), and its place in that chunk."""
        chunk = chunk_of_frame(self.windows, frame)
        return chunk, frame - self.windows[chunk][0]


def run_stream(
    source: FrameSource | None,
    predictor: ChunkPredictor,
    workspace: StreamWorkspace,
    settings: StreamSettings,
    *,
    descriptor: ImageDescriptor | None = None,
    prepare: Callable[[np.ndarray], np.ndarray] = lambda image: image,
    progress: Progress = ignore_progress,
    warn: Callable[[str], None] = lambda sentence: None,
) -> StreamResult:
    """Takes `source` to its end and gives back where everything lies.

    What an earlier, stopped call with the same `workspace` has finished is not done again; when it had all frames,
    `source` may be None. `prepare` shrinks images before they are kept. Loops need `descriptor`. Ctrl-C ends a live
    source, whose frames are then finished; otherwise it stops the work, which can be taken up again. Raises
    `InputError` for a source with fewer than two frames and when the disk is full.
    """
    stream = _Stream(predictor, workspace, settings, descriptor if settings.loop else None, progress, warn)
    if source is not None and source.is_live and len(workspace) >= 2 and not workspace.frames_complete:
        stream.warn(f"{source.title} is not opened again: the {len(workspace)} frames of before are finished.")
        workspace.finish_frames()
    if not workspace.frames_complete:
        if source is None:
            raise InputError(f"{workspace.folder} has no source to read on from.")
        if isinstance(source, LiveSource):
            intake = _live_intake(source, workspace, prepare, progress)
        else:
            intake = _file_intake(source, workspace, prepare, progress)
        for _ in intake:
            try:
                stream.predict_what_is_ready(complete=False)
            except KeyboardInterrupt:
                if not isinstance(source, LiveSource):
                    raise
                source.stop()
        if source.ended:
            stream.warn(source.ended)
        if len(workspace) < 2:
            found = "no frame" if not len(workspace) else "only one frame"
            raise InputError(f"{source.title} has {found}; at least two are needed.")
        workspace.finish_frames()
    stream.predict_what_is_ready(complete=True)
    return stream.close()


class _Stream:
    """One run of `run_stream`."""

    def __init__(
        self,
        predictor: ChunkPredictor,
        workspace: StreamWorkspace,
        settings: StreamSettings,
        descriptor: ImageDescriptor | None,
        progress: Progress,
        warn: Callable[[str], None],
    ) -> None:
        self.predictor, self.workspace, self.settings = predictor, workspace, settings
        self.descriptor, self.progress, self._tell = descriptor, progress, warn
        self.warnings: list[str] = []
        self._said_of_chunks: set[str] = set()
        self._done = 0
        step = settings.chunk_size - settings.overlap
        self._window = lambda index: (index * step, index * step + settings.chunk_size)

    def warn(self, sentence: str) -> None:
        if sentence not in self.warnings:
            self.warnings.append(sentence)
            self._tell(sentence)

    def predict_what_is_ready(self, *, complete: bool) -> None:
        """Predicts every chunk whose frames are all there; with `complete`, the last, shorter ones too."""
        count = len(self.workspace)
        while True:
            if complete:
                windows = chunk_windows(count, self.settings.chunk_size, self.settings.overlap)
                if self._done >= len(windows):
                    return
                window, total = windows[self._done], len(windows)
            else:
                window, total = self._window(self._done), self._done + 2
                if window[1] > count:
                    return
            self.progress("chunks", self._done, total)
            if not self.workspace.has_chunk(self._done):
                self._predict(self._done, window)
            self._done += 1
            self.progress("chunks", self._done, total)

    def _predict(self, index: int, window: tuple[int, int]) -> None:
        prediction = self.predictor.predict_chunk(self.workspace.frames(range(*window)))
        if len(prediction) != window[1] - window[0]:
            raise ValueError(f"{self.predictor.name} gave {len(prediction)} frames for {window[1] - window[0]}")
        whole = self.workspace.frames_complete and window == (0, len(self.workspace))
        place = "" if whole else f"Frames {window[0]} to {window[1] - 1}: "
        for sentence in prediction.warnings:
            if sentence not in self._said_of_chunks:
                self._said_of_chunks.add(sentence)
                self.warn(f"{place}{sentence}")
        record = ChunkRecord(None, "first", 0.0, 1.0) if index == 0 else self._align(index, prediction)
        self.workspace.write_chunk(index, prediction, record)

    def _align(self, index: int, moved: ChunkPrediction) -> ChunkRecord:
        """Joins a chunk to the one before, over the frames that both have."""
        start = self._window(index)[0]
        first = start - self._window(index - 1)[0]
        reference = self.workspace.read_chunk(index - 1, slice(first, None))
        shared = min(len(reference), len(moved))
        try:
            aligned, by = self._align_frames(reference, slice(0, shared), moved, slice(0, shared))
        except InputError:
            raise
        except ValueError:
            self.warn(
                f"Chunks {index - 1} and {index} share no static pixels that both know; they were joined by their "
                "cameras alone."
            )
            poses = moved.world_from_camera[:shared], reference.world_from_camera[:shared]
            similarity = align_poses(*poses, with_scale=self.settings.align != "se3", use_orientations=True)
            if not _PLAUSIBLE_SCALES[0] < similarity.scale < _PLAUSIBLE_SCALES[1]:
                # cameras that stand still in one of the chunks, or move the other way, say nothing about its unit
                similarity = align_poses(*poses, with_scale=False, use_orientations=True)
            return ChunkRecord(similarity, "cameras", 1.0, 0.0)
        return ChunkRecord(aligned.similarity, by, aligned.relative_error, aligned.support)

    def _align_frames(
        self, reference: ChunkPrediction, reference_frames: slice, moved: ChunkPrediction, moved_frames: slice
    ) -> tuple[AlignedChunk, str]:
        """Aligns the same frames in two predictions, by their points; where those would make the path jump and the
        cameras themselves would not, by the cameras and the ratio of the depths. Says by which.

        The images fix where a camera is relative to what it sees better than how deep that is, above all while the
        camera hardly moves: then two chunks may disagree about depth and still agree about the path."""
        if reference.z_depth.shape[1:] != moved.z_depth.shape[1:]:
            raise InputError(
                f"{self.predictor.name} gave depth of {moved.z_depth.shape[2]}x{moved.z_depth.shape[1]} for one chunk "
                f"and {reference.z_depth.shape[2]}x{reference.z_depth.shape[1]} for another; use a fixed size."
            )
        reference_depth, moved_depth = reference.z_depth[reference_frames], moved.z_depth[moved_frames]
        reference_confidence = reference.static_confidence(reference_frames)
        moved_confidence = moved.static_confidence(moved_frames)
        aligned = align_chunks(
            reference.points(reference_frames),
            reference_confidence,
            reference_depth,
            moved.points(moved_frames),
            moved_confidence,
            moved_depth,
            method=self.settings.align,
        )
        poses = reference.world_from_camera[reference_frames], moved.world_from_camera[moved_frames]
        scale = 1.0
        if self.settings.align != "se3":
            weights = np.sqrt(reference_confidence * moved_confidence)
            scale = depth_scale(reference_depth[..., ::2, ::2], moved_depth[..., ::2, ::2], weights[..., ::2, ::2])
        typical_depth = float(np.median(reference_depth[reference_confidence > 0]))
        by_cameras = align_by_cameras(*poses, scale)
        seams = [camera_seam(found, *poses, typical_depth) for found in (aligned.similarity, by_cameras)]
        if seams[0] > _VISIBLE_SEAM and seams[1] < 0.5 * seams[0]:
            return replace(aligned, similarity=by_cameras), "cameras and depth"
        return aligned, "points"

    def close(self) -> StreamResult:
        """Loops and the final places of all chunks."""
        settings = self.settings
        windows = chunk_windows(len(self.workspace), settings.chunk_size, settings.overlap)
        records = [self.workspace.read_record(index) for index in range(len(windows))]
        steps = [record.step for record in records[1:] if record.step is not None]
        chained = accumulate(steps)
        loops = list(self._find_loops(windows)) if self.descriptor is not None and len(windows) > 1 else []
        edges = [edge for _, edge in loops if edge is not None]
        placed, loop_weights = chained, iter(())
        if edges:
            placed, loop_weights = self._closed(steps, edges)
        weights = iter(loop_weights)
        found = []
        for loop, edge in loops:
            weight = 0.0 if edge is None else float(next(weights))
            found.append(FoundLoop(**{**asdict(loop), "weight": weight}))
        first = self.workspace.read_chunk(0, slice(0, 1))
        return StreamResult(
            self.workspace,
            windows,
            placed,
            chained,
            self.predictor.name,
            first.is_metric,
            found,
            self.descriptor.name if self.descriptor is not None else None,
            self.warnings,
        )

    def _closed(self, steps: list[Similarity], edges: list[PoseGraphEdge]) -> tuple[list[Similarity], Sequence[float]]:
        """The places of all chunks with loops closed, and the trust in each loop.

        A chunk's own world can lie anywhere and have any unit, and errors of similarities mean something else in each.
        So they are measured in frames that look alike: at the camera in the middle of a chunk, with its median depth as
        the unit."""
        chunk_from_middle = [self._middle(index) for index in range(len(steps) + 1)]

        def between_middles(a: int, b: int, b_from_a: Similarity) -> Similarity:
            return chunk_from_middle[b].inverse() @ b_from_a @ chunk_from_middle[a]

        closed = close_loops(
            [between_middles(index + 1, index, step) for index, step in enumerate(steps)],
            [PoseGraphEdge(edge.a, edge.b, between_middles(edge.a, edge.b, edge.b_from_a)) for edge in edges],
            robust=True,
        )
        places = [
            chunk_from_middle[0] @ place @ middle.inverse()
            for place, middle in zip(closed.world_from_chunk, chunk_from_middle, strict=True)
        ]
        return places, closed.loop_weights.tolist()

    def _middle(self, index: int) -> Similarity:
        poses, _ = self.workspace.read_cameras(index)
        place = len(poses) // 2
        depth = self.workspace.read_chunk(index, slice(place, place + 1)).z_depth
        known = depth[depth > 0]
        unit = float(np.median(known)) if len(known) else 1.0
        return Similarity(unit, poses[place, :3, :3], poses[place, :3, 3])

    def _find_loops(self, windows: list[tuple[int, int]]) -> Iterator[tuple[FoundLoop, PoseGraphEdge | None]]:
        descriptor = self.descriptor
        assert descriptor is not None
        self._describe(descriptor)
        candidates = find_loops(self.workspace.descriptors(descriptor.size), threshold=descriptor.threshold)
        # neighbouring chunks share frames already
        wanted = [
            loop
            for loop in loop_windows(windows, candidates, half=self.settings.loop_half)
            if loop.later_chunk - loop.earlier_chunk > 1
        ]
        for done, loop in enumerate(wanted):
            self.progress("loops", done, len(wanted))
            content = self.workspace.read_loop(loop.later_chunk, loop.earlier_chunk)
            if content is None:
                content = self._look_at(loop, windows)
                self.workspace.write_loop(loop.later_chunk, loop.earlier_chunk, content)
            accepted = bool(content["accepted"])
            edge = None
            if accepted:
                matrix = np.asarray(content["earlier_from_later"], np.float64)
                edge = PoseGraphEdge(loop.later_chunk, loop.earlier_chunk, Similarity.from_matrix(matrix))
            error = float(content["relative_error"])
            yield (
                FoundLoop(
                    loop.later_chunk, loop.earlier_chunk, loop.later_frames, loop.earlier_frames, accepted, error
                ),
                edge,
            )
            self.progress("loops", done + 1, len(wanted))

    def _describe(self, descriptor: ImageDescriptor) -> None:
        count = len(self.workspace)
        begin = self.workspace.descriptor_count(descriptor.size)
        for start in range(begin, count, _DESCRIBED_AT_ONCE):
            indices = range(start, min(start + _DESCRIBED_AT_ONCE, count))
            frames = self.workspace.frames(indices)
            self.workspace.append_descriptors(descriptor.describe([frames.rgb8(index) for index in range(len(frames))]))
            self.progress("describing frames", indices.stop, count)

    def _look_at(self, loop: LoopWindow, windows: list[tuple[int, int]]) -> dict[str, Any]:
        """Predicts the frames of both sides together and aligns each side to its chunk."""
        later, earlier = range(*loop.later_frames), range(*loop.earlier_frames)
        together = self.predictor.predict_chunk(self.workspace.frames([*later, *earlier]))
        sides = []
        for chunk, frames, place in (
            (loop.later_chunk, later, slice(0, len(later))),
            (loop.earlier_chunk, earlier, slice(len(later), len(later) + len(earlier))),
        ):
            start = windows[chunk][0]
            stored = self.workspace.read_chunk(chunk, slice(frames.start - start, frames.stop - start))
            try:
                sides.append(self._align_frames(stored, slice(0, len(frames)), together, place)[0])
            except InputError:
                raise
            except ValueError:
                return {"accepted": False, "relative_error": 1.0}
        later_from_loop, earlier_from_loop = (side.similarity for side in sides)
        error = max(side.relative_error for side in sides)
        support = min(side.support for side in sides)
        return {
            "accepted": bool(error < LOOP_RELATIVE_ERROR and support > LOOP_SUPPORT),
            "relative_error": float(error),
            "earlier_from_later": (earlier_from_loop @ later_from_loop.inverse()).matrix.tolist(),
        }


def _file_intake(
    source: FrameSource, workspace: StreamWorkspace, prepare: Callable[[np.ndarray], np.ndarray], progress: Progress
) -> Iterator[int]:
    """Keeps the frames of a file one by one; yields their number after each."""
    for seconds, image in source.images(skip=len(workspace)):
        workspace.append(seconds, prepare(image))
        if source.total:
            progress("reading frames", len(workspace), source.total)
        yield len(workspace)


def _live_intake(
    source: LiveSource, workspace: StreamWorkspace, prepare: Callable[[np.ndarray], np.ndarray], progress: Progress
) -> Iterator[int]:
    """Keeps the frames of a live source in a thread of its own, so that none is missed while chunks are predicted;
    yields the number of frames whenever it has grown. Ctrl-C ends the source and is not raised."""
    failure: list[BaseException] = []

    def keep() -> None:
        try:
            for seconds, image in source.images():
                workspace.append(seconds, prepare(image))
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    seen = len(workspace)
    while True:
        alive = thread.is_alive()
        count = len(workspace)
        if count > seen:
            seen = count
            progress("live frames", count, source.total or count + 1)
            yield count
        elif alive:
            try:
                time.sleep(0.02)
            except KeyboardInterrupt:
                source.stop()
        if not alive and len(workspace) == seen:
            break
    if failure:
        raise failure[0]
