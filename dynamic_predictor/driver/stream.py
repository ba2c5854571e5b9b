"""A clip predicted chunk by chunk in one world, with memory that does not grow with the clip.

Chunks of frames are predicted as soon as their frames are stored, each is aligned to the one before over the frames
that both have, and loops are closed at the end (VGGT-Long, Deng et al., 2025; Depth Anything 3's streaming). Only one
chunk and the overlap of the one before are in memory; everything else lies in a `StreamWorkspace`. An online predictor
keeps one world itself: it steps as soon as a frame is stored (`online`), and its chunks do not overlap and need no
alignment.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, cast

import numpy as np

from dynamic_predictor.contract import OnlinePredictor, Prediction, Predictor, Views
from dynamic_predictor.driver.intake import Intake
from dynamic_predictor.driver.latency import LiveRecord, median_and_tail
from dynamic_predictor.driver.live_cuts import LiveCuts
from dynamic_predictor.driver.live_source import LiveSource
from dynamic_predictor.driver.online import OnlineSteps
from dynamic_predictor.driver.seams import align_by_poses, align_predictions
from dynamic_predictor.driver.settings import LivePolicy, StreamSettings
from dynamic_predictor.driver.sources import FrameSource
from dynamic_predictor.driver.workspace import ChunkRecord, StreamWorkspace, stacked
from dynamic_predictor.place_recognition.descriptors import ImageDescriptor
from dynamic_predictor.predictor_spec import PredictorSpec
from dynamic_predictor.stitching.chunk_windows import chunk_of_frame, chunk_windows
from dynamic_predictor.stitching.loop_closure import LoopWindow, find_loops, loop_windows
from dynamic_predictor.stitching.pose_graph import PoseGraphEdge, accumulate, close_loops
from scene.errors import InputError
from scene.frames import Frames
from scene.maps import maps_of_size
from scene.progress import Progress, ignore_progress, note_progress
from scene.similarity import Similarity

#: a function from frames and their indices in the clip to views with known masks, focal length or cameras
KnownViews = Callable[[Frames, Sequence[int] | range], Views]
#: is told the index of a frame, its view and its prediction (of one view, in the world of the first frame) as soon as
#: that is there. A frame that two chunks share is told twice, and the later one counts
OnPrediction = Callable[[int, Views, Prediction], None]

#: largest relative distance between the points of an accepted loop and those of both chunks
LOOP_RELATIVE_ERROR = 0.1
#: smallest share of pixels that support an accepted loop
LOOP_SUPPORT = 0.05
_DESCRIBED_AT_ONCE = 16


@dataclass(frozen=True)
class FoundLoop:
    """A loop candidate between two chunks, and whether it was accepted."""

    later_chunk: int
    earlier_chunk: int
    later_frames: tuple[int, int]
    earlier_frames: tuple[int, int]
    accepted: bool
    relative_error: float
    #: weight in the pose graph, 0 for loops that were not accepted
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
    #: name of the image descriptor; None when no loops were looked for
    descriptor: str | None = None
    warnings: list[str] = field(default_factory=list)
    #: latency and drops of a live source, seconds per step of an online predictor: for the provenance
    timing: dict[str, Any] = field(default_factory=dict)

    def chunk_of(self, frame: int) -> tuple[int, int]:
        """The chunk whose prediction of `frame` counts (the later one in an overlap), and its place in that chunk."""
        chunk = chunk_of_frame(self.windows, frame)
        return chunk, frame - self.windows[chunk][0]


def run_stream(
    source: FrameSource | None,
    predictor: Predictor,
    spec: PredictorSpec,
    workspace: StreamWorkspace,
    settings: StreamSettings,
    *,
    known: KnownViews = lambda frames, indices: Views(frames),
    max_size: int | None = None,
    descriptor: ImageDescriptor | None = None,
    progress: Progress = ignore_progress,
    warn: Callable[[str], None] = lambda sentence: None,
    on_prediction: OnPrediction | None = None,
    find_lens: bool = False,
) -> StreamResult:
    """Predicts all of `source` and returns where every chunk lies.

    Chunks that an earlier, stopped call with the same `workspace` has finished are reused; when it had all frames,
    `source` may be None. Frames are shrunk to `max_size`. Loops need `descriptor`. Ctrl-C ends a live source, whose
    frames are then finished; otherwise, or the second time, it stops the work, which can be resumed. `on_prediction`
    is called in this thread. `find_lens`: the first chunk may find a lens that distorts; the frames of the workspace
    are undistorted then. Raises `InputError` for a source with fewer than two frames and when the disk is full.
    """
    online = cast(OnlinePredictor, predictor) if spec.online else None
    stream = _Stream(
        predictor,
        online,
        spec,
        workspace,
        settings,
        known,
        descriptor if settings.loop else None,
        progress,
        warn,
        on_prediction,
    )
    stream.find_lens = find_lens and workspace.lens is None
    if source is not None and source.is_live and len(workspace) >= 2 and not workspace.frames_complete:
        stream.warn(f"{source.title} is not opened again: the {len(workspace)} frames of before are finished.")
        workspace.finish_frames()
    if not workspace.frames_complete:
        if source is None:
            raise InputError(f"{workspace.folder} is incomplete and needs the source that it was made from.")
        policy: LivePolicy = settings.live_policy or ("latest" if online is not None else "all")
        intake = Intake(source, workspace, max_size=max_size, live_policy=policy, progress=progress)
        if isinstance(source, LiveSource):
            stream.live = LiveRecord(source, policy)
            stream.cuts = LiveCuts(workspace, source.title, stream.warn)
        intake.take_all(stream.predict_what_is_there)
        for sentence in intake.warnings:
            stream.warn(sentence)
        intake.finish()
    stream.predict_the_rest()
    return stream.close()


class _Stream:
    """One run of `run_stream`."""

    def __init__(
        self,
        predictor: Predictor,
        online: OnlinePredictor | None,
        spec: PredictorSpec,
        workspace: StreamWorkspace,
        settings: StreamSettings,
        known: KnownViews,
        descriptor: ImageDescriptor | None,
        progress: Progress,
        warn: Callable[[str], None],
        on_prediction: OnPrediction | None,
    ) -> None:
        self.predictor, self.name = predictor, spec.name
        self.workspace, self.settings, self.known = workspace, settings, known
        self.descriptor, self.progress, self._tell = None if online else descriptor, progress, warn
        self.steps = None if online is None else OnlineSteps(online, workspace, self._view, self._stepped)
        self.live: LiveRecord | None = None
        self.cuts: LiveCuts | None = None
        self._on_prediction, self._world_from_chunk = on_prediction, Similarity.identity()
        #: on the disk as well, so that those of an interrupted run reach the scene in their order
        self.warnings: list[str] = workspace.noted("warnings")
        self._said_of_chunks = workspace.noted("said_of_chunks")
        for sentence in self.warnings:
            warn(sentence)
        self._done = 0
        self._overlap = 0 if online else settings.overlap
        self.shares_focal = spec.shares_focal
        self.find_lens = False

    def _window(self, index: int) -> tuple[int, int]:
        start = index * (self.settings.chunk_size - self._overlap)
        return start, start + self.settings.chunk_size

    def _windows(self) -> list[tuple[int, int]]:
        count, size = len(self.workspace), self.settings.chunk_size
        if self.steps is None:
            return chunk_windows(count, size, self._overlap)
        return [(start, min(start + size, count)) for start in range(0, count, size)]

    def warn(self, sentence: str) -> None:
        if sentence not in self.warnings:
            self.warnings.append(sentence)
            self.workspace.note("warnings", self.warnings)
            self._tell(sentence)

    def predict_what_is_there(self) -> None:
        """Predicts every chunk whose frames are all there; an online predictor steps to the last frame."""
        if self.cuts is not None:
            self.cuts.look()
        count = len(self.workspace)
        while self._window(self._done)[1] <= count:
            self._finish_chunk(self._window(self._done), self._done + 2)
        if self.steps is not None:
            self.steps.advance(self._done, self._window(self._done)[0], count)

    def predict_the_rest(self) -> None:
        """After the last frame: predicts what is left."""
        windows = self._windows()
        while self._done < len(windows):
            self._finish_chunk(windows[self._done], len(windows))

    def _finish_chunk(self, window: tuple[int, int], total: int) -> None:
        """Predicts and stores the next chunk, unless an earlier run has."""
        index = self._done
        self.progress("chunks", index, total)
        if self.steps.is_whole(index) if self.steps is not None else self.workspace.has_chunk(index):
            self._announce(index, window, stored=None)
        elif self.steps is not None:
            self.steps.advance(index, *window)
            self._store(index, window, self.steps.whole_chunk())
            self.steps.store_state(index)
        else:
            chunk = self._predicted_chunk(window)
            self._store(index, window, chunk)
            self._announce(index, window, stored=chunk)
            self._note_latency(range(window[0] + (self._overlap if index else 0), window[1]))
        self._done = index + 1
        self.progress("chunks", self._done, total)

    def _predicted_chunk(self, window: tuple[int, int]) -> Prediction:
        views = self._views(range(*window))
        if self.find_lens and window[0] == 0:
            views = replace(views, find_lens=True)
        prediction = self.predictor.predict(views)
        if prediction.lens is not None:
            self.workspace.set_lens(prediction.lens)
            views = self._views(range(*window))
        if prediction.motion is None and views.motion_masks is not None:
            height, width = prediction.size
            return replace(prediction, motion=stacked(maps_of_size(views.motion_masks, (width, height))))
        return prediction

    def _store(self, index: int, window: tuple[int, int], prediction: Prediction) -> None:
        if len(prediction) != window[1] - window[0]:
            raise ValueError(f"{self.name} gave {len(prediction)} frames for {window[1] - window[0]}")
        whole = self.workspace.frames_complete and window == (0, len(self.workspace))
        place = "" if whole else f"Frames {window[0]} to {window[1] - 1}: "
        for sentence in prediction.warnings:
            if sentence not in self._said_of_chunks:
                self._said_of_chunks.append(sentence)
                self.warn(f"{place}{sentence}")
                self.workspace.note("said_of_chunks", self._said_of_chunks)
        if index == 0:
            record = ChunkRecord(None, "first", 0.0, 1.0)
        elif self.steps is not None:
            record = ChunkRecord(Similarity.identity(), "online", 0.0, 1.0)
        else:
            record = self._align(index, prediction)
        self.workspace.write_chunk(index, prediction, record)

    def _stepped(self, frame: int, view: Views, prediction: Prediction) -> None:
        """An online predictor has predicted one more frame."""
        self._note_latency(range(frame, frame + 1))
        if self._on_prediction is not None:
            self._on_prediction(frame, view, prediction)

    def _announce(self, index: int, window: tuple[int, int], *, stored: Prediction | None) -> None:
        """Tells the listener of all frames of a chunk that was stored; None: by an earlier run."""
        if self._on_prediction is None:
            return
        step = self.workspace.read_record(index).step
        self._world_from_chunk = self._world_from_chunk if step is None else self._world_from_chunk @ step
        chunk = self.workspace.read_chunk(index) if stored is None else stored
        for place, frame in enumerate(range(*window)):
            self._on_prediction(frame, self._view(frame), _moved_view(chunk, place, self._world_from_chunk))

    def _note_latency(self, frames: range) -> None:
        if self.live is not None:
            self.live.note([self.workspace.times[frame] for frame in frames])
            note_progress(self.progress, "live frames", self.live.sentence())

    def _view(self, frame: int) -> Views:
        return self._views([frame])

    def _views(self, indices: Sequence[int] | range) -> Views:
        """Some frames with what is known about them. All chunks share one focal length where the predictor can be given
        one: without a known one, that of the first chunk, unless the lens zooms there."""
        views = self.known(self.workspace.frames(indices), indices)
        if views.focal is None and self.shares_focal and self.workspace.has_chunk(0):
            focals = self.workspace.read_cameras(0)[1][:, 0, 0]
            if focals.max() <= focals.min() * (1 + 1e-6):
                return replace(views, focal=float(focals[0]))
        return views

    def _align(self, index: int, moved: Prediction) -> ChunkRecord:
        """Joins a chunk to the one before, over the frames that both have."""
        start = self._window(index)[0]
        first = start - self._window(index - 1)[0]
        reference = self.workspace.read_chunk(index - 1, slice(first, None))
        shared = min(len(reference), len(moved))
        try:
            frames = slice(0, shared)
            aligned, by = align_predictions(reference, frames, moved, frames, self.settings, self.name)
        except InputError:
            raise
        except ValueError:
            self.warn(
                f"Chunks {index - 1} and {index} share no static pixels with known depth; they were joined by their "
                "cameras alone."
            )
            poses = moved.poses()[:shared], reference.poses()[:shared]
            similarity = align_by_poses(*poses, with_scale=self.settings.align != "se3")
            return ChunkRecord(similarity, "cameras", 1.0, 0.0)
        return ChunkRecord(aligned.similarity, by, aligned.relative_error, aligned.support)

    def close(self) -> StreamResult:
        """Finds loops and optimizes the similarities of all chunks."""
        windows = self._windows()
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
            self.name,
            first.is_metric,
            found,
            self.descriptor.name if self.descriptor is not None else None,
            self.warnings,
            self._timing(),
        )

    def _timing(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.steps is not None:
            found["seconds_per_step"] = median_and_tail(self.steps.seconds)
        if self.live is not None:
            found["live"] = self.live.summary()
        return found

    def _closed(self, steps: list[Similarity], edges: list[PoseGraphEdge]) -> tuple[list[Similarity], Sequence[float]]:
        """`world_from_chunk` of all chunks after loop closure, and the final weight of each loop.

        The world of a chunk has an arbitrary origin and scale, on which errors of similarities depend. Therefore they
        are measured in normalized frames: at the camera in the middle of a chunk, with its median depth as the unit."""
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
        depth = self.workspace.read_map(index, "z_depth", place)
        known = depth[depth > 0]
        unit = float(np.median(known)) if len(known) else 1.0
        return Similarity(unit, poses[place, :3, :3], poses[place, :3, 3])

    def _find_loops(self, windows: list[tuple[int, int]]) -> Iterator[tuple[FoundLoop, PoseGraphEdge | None]]:
        descriptor = self.descriptor
        assert descriptor is not None
        self._describe(descriptor)
        candidates = find_loops(self.workspace.descriptors(descriptor.size), threshold=descriptor.threshold)
        # neighboring chunks share frames already
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
        together = self.predictor.predict(self._views([*later, *earlier]))
        sides = []
        for chunk, frames, place in (
            (loop.later_chunk, later, slice(0, len(later))),
            (loop.earlier_chunk, earlier, slice(len(later), len(later) + len(earlier))),
        ):
            start = windows[chunk][0]
            stored = self.workspace.read_chunk(chunk, slice(frames.start - start, frames.stop - start))
            try:
                aligned = align_predictions(stored, slice(0, len(frames)), together, place, self.settings, self.name)[0]
                sides.append(aligned)
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


def _moved_view(chunk: Prediction, place: int, world_from_chunk: Similarity) -> Prediction:
    """One view of a chunk in another world."""
    assert chunk.intrinsics is not None
    one = slice(place, place + 1)
    return replace(
        chunk,
        z_depth=np.asarray(chunk.z_depth[place], np.float32)[None] * np.float32(world_from_chunk.scale),
        confidence=np.asarray(chunk.confidence[place], np.float32)[None],
        motion=None if chunk.motion is None else np.asarray(chunk.motion[place], np.float32)[None],
        world_from_camera=world_from_chunk.apply_to_poses(chunk.poses()[one]),
        intrinsics=chunk.intrinsics[one],
        points=None,
        exportable=None,
    )
