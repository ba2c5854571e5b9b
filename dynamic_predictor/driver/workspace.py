"""The folder where a stream lies while it is worked on: frames, descriptors and chunks, each file whole or not there.

    stream.json         what is being made; a stream goes on only with the same settings
    frames/00000.png    the images as they came, shrunk to the wanted size
    times.txt           one line per frame: seconds
    descriptors.f16     one row per frame, float16
    chunks/00003/       z_depth.npy, confidence.npy, motion.npy (if any), cameras.npz, alignment.json
    loops/2-0.json      what was found out about a loop between two chunks

Nothing here is ever in memory as a whole.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dynamic_predictor.driver.chunk_predictor import ChunkPrediction
from scene.errors import InputError
from scene.files.atomic import atomic_file, atomic_folder, writing_error
from scene.files.json_files import read_json
from scene.files.text import read_text
from scene.frames import ImageFolderFrames
from scene.images import write_png
from scene.similarity import Similarity

#: decoded images kept for reading again, in bytes
_FRAME_CACHE = 64 << 20


@dataclass(frozen=True)
class ChunkRecord:
    """How a chunk was joined to the one before: `step` takes it into the frame of that chunk (None for the first)."""

    step: Similarity | None
    #: "points", "cameras and depth", "cameras" (where nothing else could be aligned) or "first"
    by: str
    relative_error: float
    support: float


class StreamWorkspace:
    """Reads and writes the folder; see the module."""

    def __init__(self, folder: Path, settings: dict[str, Any], *, resume: bool) -> None:
        """Makes the folder, without what another stream has left in it, or with `resume` goes on with it.
        `InputError` when it was begun with other settings, or cannot be written."""
        self.folder = Path(folder)
        self._record = self.folder / "stream.json"
        if resume and self._record.exists():
            self._check_same(settings)
        else:
            try:
                for name in ("times.txt", "descriptors.f16"):
                    (self.folder / name).unlink(missing_ok=True)
                for name in ("frames", "chunks", "loops"):
                    if (self.folder / name).exists():
                        shutil.rmtree(self.folder / name)
                    (self.folder / name).mkdir(parents=True)
                _write_json(self._record, {"settings": settings, "frames_complete": False})
            except OSError as error:
                raise writing_error(self.folder, error) from error
        self._times = self._read_times()
        self._frame_size: tuple[int, int] | None = None

    def _check_same(self, settings: dict[str, Any]) -> None:
        found = read_json(self._record).get("settings")
        if not isinstance(found, dict):
            raise InputError(f"{self._record} is damaged; start again with --overwrite.")
        for key, value in settings.items():
            if found.get(key) != value:
                raise InputError(
                    f"{self.folder} was begun with {key} = {found.get(key)}, not {value}; repeat it as it was, or "
                    "start again with --overwrite."
                )

    # frames

    @property
    def frames_complete(self) -> bool:
        """Whether the source has ended; a resumed stream then needs it no more."""
        return bool(read_json(self._record).get("frames_complete"))

    def finish_frames(self) -> None:
        """Notes that no more frames will come."""
        record = read_json(self._record)
        _write_json(self._record, {**record, "frames_complete": True})

    def __len__(self) -> int:
        """How many frames there are."""
        return len(self._times)

    @property
    def times(self) -> Sequence[float]:
        """Seconds of each frame."""
        return self._times

    def append(self, time: float, image: np.ndarray) -> None:
        """Adds one frame, uint8 RGB (H, W, 3). `InputError` when its size differs from that of the first."""
        size = (image.shape[1], image.shape[0])
        if self._frame_size is None and self._times:
            first = self.frames([0])
            self._frame_size = (first.width, first.height)
        self._frame_size = self._frame_size or size
        if size != self._frame_size:
            raise InputError(
                f"Frame {len(self)} is {size[0]}x{size[1]} but the first is {self._frame_size[0]}x"
                f"{self._frame_size[1]}; all frames of a stream must have one size; bring them to one, "
                "or take images that do not belong together with stillsplat depth --each."
            )
        with atomic_file(self._frame_path(len(self))) as temporary:
            write_png(temporary, image)
        try:
            # the line makes the frame count: a image without one is written again
            with (self.folder / "times.txt").open("a", encoding="utf-8") as file:
                file.write(f"{time!r}\n")
        except OSError as error:
            raise writing_error(self.folder / "times.txt", error) from error
        self._times.append(float(time))

    def frames(self, indices: Sequence[int] | range | None = None) -> ImageFolderFrames:
        """Some of the frames, or all, read from the disk when they are used."""
        chosen = range(len(self)) if indices is None else indices
        return ImageFolderFrames(
            [self._frame_path(index) for index in chosen], [self._times[index] for index in chosen], _FRAME_CACHE
        )

    def _frame_path(self, index: int) -> Path:
        return self.folder / "frames" / f"{index:05d}.png"

    def _read_times(self) -> list[float]:
        path = self.folder / "times.txt"
        if not path.exists():
            return []
        times = []
        for line in read_text(path).splitlines(keepends=True):
            if not line.endswith("\n"):  # the machine stopped in the middle of it
                break
            try:
                times.append(float(line))
            except ValueError:
                raise InputError(f"{path} is damaged; start again with --overwrite.") from None
        if sum(1 for _ in path.open("rb")) != len(times):
            with atomic_file(path) as temporary:
                temporary.write_text("".join(f"{time!r}\n" for time in times), "utf-8")
        return times

    # descriptors

    def descriptor_count(self, size: int) -> int:
        """Of how many frames there are descriptors of `size` numbers."""
        path = self.folder / "descriptors.f16"
        return path.stat().st_size // (2 * size) if path.exists() else 0

    def append_descriptors(self, descriptors: np.ndarray) -> None:
        """Adds rows float (N, size) for the next frames."""
        path = self.folder / "descriptors.f16"
        row = 2 * descriptors.shape[1]
        try:
            with path.open("ab") as file:
                file.truncate(file.tell() // row * row)
                file.seek(0, 2)
                file.write(descriptors.astype("<f2").tobytes())
        except OSError as error:
            raise writing_error(path, error) from error

    def descriptors(self, size: int) -> np.ndarray:
        """All rows (N, size) float16, mapped from the disk."""
        count = self.descriptor_count(size)
        if count == 0:
            return np.zeros((0, size), np.float16)
        return np.memmap(self.folder / "descriptors.f16", np.dtype("<f2"), "r", shape=(count, size))

    # chunks

    def has_chunk(self, index: int) -> bool:
        return (self._chunk_path(index) / "alignment.json").exists()

    def write_chunk(self, index: int, prediction: ChunkPrediction, record: ChunkRecord) -> None:
        """Puts a chunk in place, whole."""
        with atomic_folder(self._chunk_path(index), overwrite=True) as folder:
            np.save(folder / "z_depth.npy", prediction.z_depth.astype(np.float32))
            np.save(folder / "confidence.npy", prediction.confidence.astype(np.float16))
            if prediction.motion is not None:
                motion = np.rint(np.clip(prediction.motion, 0.0, 1.0) * 255.0).astype(np.uint8)
                np.save(folder / "motion.npy", motion)
            np.savez(
                folder / "cameras.npz",
                world_from_camera=prediction.world_from_camera.astype(np.float64),
                intrinsics=prediction.intrinsics.astype(np.float64),
                is_metric=np.array(prediction.is_metric),
                unbounded_confidence=np.array(prediction.unbounded_confidence),
            )
            step = None if record.step is None else record.step.matrix.tolist()
            _write_json(
                folder / "alignment.json",
                {
                    "step": step,
                    "by": record.by,
                    "relative_error": float(record.relative_error),
                    "support": float(record.support),
                },
            )

    def read_chunk(self, index: int, frames: slice = slice(None)) -> ChunkPrediction:
        """Some frames of a chunk; only those are read from the disk."""
        folder = self._chunk_path(index)
        try:
            z_depth = np.load(folder / "z_depth.npy", mmap_mode="r", allow_pickle=False)[frames]
            confidence = np.load(folder / "confidence.npy", mmap_mode="r", allow_pickle=False)[frames]
            motion = None
            if (folder / "motion.npy").exists():
                stored = np.load(folder / "motion.npy", mmap_mode="r", allow_pickle=False)[frames]
                motion = stored.astype(np.float32) / 255.0
            with np.load(folder / "cameras.npz", allow_pickle=False) as cameras:
                return ChunkPrediction(
                    cameras["world_from_camera"][frames],
                    cameras["intrinsics"][frames],
                    np.array(z_depth),
                    np.array(confidence, np.float32),
                    motion,
                    bool(cameras["is_metric"]),
                    bool(cameras["unbounded_confidence"]),
                )
        except (OSError, ValueError, EOFError, KeyError) as error:
            raise InputError(f"{folder} is damaged; start again with --overwrite.") from error

    def read_map(self, index: int, kind: Literal["z_depth", "confidence", "motion"], place: int) -> np.ndarray:
        """One map (H, W) float32 of a chunk as it was predicted; nothing else is read."""
        path = self._chunk_path(index) / f"{kind}.npy"
        try:
            stored = np.load(path, mmap_mode="r", allow_pickle=False)[place]
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{path} is damaged; start again with --overwrite.") from error
        values = np.array(stored, np.float32)
        return values / np.float32(255.0) if kind == "motion" else values

    def read_cameras(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """`world_from_camera` (N, 4, 4) and `intrinsics` (N, 3, 3) of a whole chunk."""
        with np.load(self._chunk_path(index) / "cameras.npz", allow_pickle=False) as cameras:
            return cameras["world_from_camera"], cameras["intrinsics"]

    def has_motion(self, index: int) -> bool:
        """Whether a chunk has motion masks."""
        return (self._chunk_path(index) / "motion.npy").exists()

    def read_record(self, index: int) -> ChunkRecord:
        content = read_json(self._chunk_path(index) / "alignment.json")
        step = content.get("step")
        similarity = None if step is None else Similarity.from_matrix(np.asarray(step, np.float64))
        return ChunkRecord(similarity, str(content["by"]), float(content["relative_error"]), float(content["support"]))

    def _chunk_path(self, index: int) -> Path:
        return self.folder / "chunks" / f"{index:05d}"

    # loops

    def read_loop(self, later: int, earlier: int) -> dict[str, Any] | None:
        path = self.folder / "loops" / f"{later}-{earlier}.json"
        return read_json(path) if path.exists() else None

    def write_loop(self, later: int, earlier: int, content: dict[str, Any]) -> None:
        _write_json(self.folder / "loops" / f"{later}-{earlier}.json", content)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", "utf-8")
