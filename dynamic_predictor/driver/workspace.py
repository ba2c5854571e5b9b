"""The folder that holds a clip while the driver works on it; every file in it is whole or not there.

    stream.json         the settings of the work; it is resumed only with the same settings
    frames/00000.png    the frames, shrunk to the wanted size
    observed/00000.png  which pixels of a frame were observed, for frames that were not observed everywhere
    undistorted/        the frames of the pinhole camera, where the lens distorts
    frames.txt          one line per frame: its position in the source, seconds
    found_shots.json    the shots of the clip, once they were looked for
    descriptors.f16     one row per frame, float16
    chunks/00003/       z_depth.npy, confidence.npy, motion.npy (if any), cameras.npz, chunk.json
    online.npz          the state of an online predictor after the last chunk
    loops/2-0.json      the result for a loop between two chunks

The clip is never in memory as a whole.
"""

import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dynamic_predictor.contract import Prediction
from scene.errors import InputError
from scene.files.arrays import MAX_ARCHIVE_BYTES, read_entries
from scene.files.atomic import atomic_file, atomic_folder, writing_error
from scene.files.json_files import plain, read_json, write_json
from scene.files.text import read_text
from scene.frame_files import frame_writer
from scene.frames import Frames, ImageFolderFrames
from scene.images import read_image, write_png
from scene.lens import Lens, lens_of_json
from scene.maps import FrameMaps, LoadedMaps
from scene.similarity import Similarity
from scene.undistortion import Undistortion

#: decoded images kept for reading again, in bytes
_FRAME_CACHE = 64 << 20


@dataclass(frozen=True)
class ChunkRecord:
    """How a chunk was joined to the one before: `step` takes it into the world of that chunk (None for the first)."""

    step: Similarity | None
    #: "points", "cameras and depth", "cameras" (where nothing else could be aligned), "online" (the predictor's own
    #: world) or "first"
    by: str
    relative_error: float
    support: float


class StreamWorkspace:
    """Reads and writes the folder; see the module."""

    def __init__(
        self, folder: Path, settings: dict[str, Any], *, resume: bool, notes: Mapping[str, Any] | None = None
    ) -> None:
        """Makes the folder with `notes` (see `note`), without what another stream has left in it, or with `resume`
        continues it.
        `InputError` when it was begun with other settings, or cannot be written."""
        self.folder = Path(folder)
        self._record = self.folder / "stream.json"
        self._undistortion: Undistortion | None = None
        if resume and self._record.exists():
            self._check_same(settings)
        else:
            try:
                for name in ("frames.txt", "found_shots.json", "descriptors.f16"):
                    (self.folder / name).unlink(missing_ok=True)
                for name in ("frames", "undistorted", "observed", "chunks", "loops"):
                    if (self.folder / name).exists():
                        shutil.rmtree(self.folder / name)
                (self.folder / "online.npz").unlink(missing_ok=True)
                # first of all, so that a folder is recognized whenever the process is killed
                write_json(self._record, {"settings": settings, "frames_complete": False, **(notes or {})})
                for name in ("frames", "observed", "chunks", "loops"):
                    (self.folder / name).mkdir(parents=True)
            except OSError as error:
                raise writing_error(self.folder, error) from error
        #: where each frame lies in the source, counted from 0, and its seconds
        self.positions: list[int] = []
        self._times: list[float] = []
        self._read_frame_list()
        size = read_json(self._record).get("source_size")
        #: (width, height) of the frames of the source, before they were shrunk
        self.source_size: tuple[int, int] | None = (int(size[0]), int(size[1])) if isinstance(size, list) else None

    def _check_same(self, settings: dict[str, Any]) -> None:
        found = read_json(self._record).get("settings")
        if not isinstance(found, dict):
            raise InputError(f"{self._record} is damaged; start again with --overwrite.")
        for key, value in settings.items():
            if found.get(key) != plain(value):
                raise InputError(
                    f"{self.folder} was begun with {key} = {found.get(key)}, not {value}; repeat it as it was, or "
                    "start again with --overwrite."
                )

    # frames

    @property
    def frames_complete(self) -> bool:
        """Whether the source has ended: resumed work does not need it again."""
        return bool(read_json(self._record).get("frames_complete"))

    def finish_frames(self) -> None:
        """Records that the source has ended."""
        self.note("frames_complete", True)

    def note(self, name: str, value: Any) -> None:
        """Keeps a JSON value with the settings, for a resumed run."""
        write_json(self._record, {**read_json(self._record), name: value})

    def noted(self, name: str) -> list[str]:
        """The texts that `note` kept under `name`, also in an earlier run."""
        found = read_json(self._record).get(name)
        return [str(item) for item in found] if isinstance(found, list) else []

    @property
    def source_description(self) -> dict[str, Any]:
        """What the driver found out about the source (`FrameSource.description`); empty before it has ended."""
        found = read_json(self._record).get("source")
        return found if isinstance(found, dict) else {}

    def __len__(self) -> int:
        """How many frames there are."""
        return len(self._times)

    @property
    def times(self) -> Sequence[float]:
        """Seconds of each frame."""
        return self._times

    def append(
        self,
        time: float,
        image: np.ndarray,
        *,
        position: int | None = None,
        source_size: tuple[int, int] | None = None,
        observed: np.ndarray | None = None,
    ) -> None:
        """Adds one frame, uint8 RGB (H, W, 3), which is number `position` of a source of the size `source_size` (width,
        height). `observed`: uint8 (H, W), 255 = observed; None: all is."""
        position = len(self) if position is None else position
        if self.source_size is None:
            self.source_size = source_size or (image.shape[1], image.shape[0])
            self.note("source_size", list(self.source_size))
        if observed is not None:
            self.write_observed(len(self), observed)
        with atomic_file(self._frame_path(len(self))) as temporary:
            write_png(temporary, image)
        self._add_to_list(position, time)

    def take(
        self, frames: Frames, *, positions: Sequence[int] | None = None, observed: FrameMaps | None = None
    ) -> None:
        """Makes all of `frames` the frames of the workspace; PNG files of ours are hard-linked. `positions`: where they
        lie in the source; `observed`: what they have observed."""
        write = frame_writer(frames)
        for index in range(len(frames)):
            if observed is not None:
                values = observed[index]
                if values.min() < 1.0:
                    self.write_observed(index, np.rint(255.0 * values).astype(np.uint8))
            write(index, self._frame_path(index))
            self._add_to_list(index if positions is None else positions[index], frames.timestamps[index])
        self.finish_frames()

    def _add_to_list(self, position: int, time: float) -> None:
        try:
            # a frame counts once its line is there: an image without one is written again
            with (self.folder / "frames.txt").open("a", encoding="utf-8") as file:
                file.write(f"{position} {time!r}\n")
        except OSError as error:
            raise writing_error(self.folder / "frames.txt", error) from error
        self.positions.append(position)
        self._times.append(float(time))

    def frames(self, indices: Sequence[int] | range | None = None) -> ImageFolderFrames:
        """Some of the frames, or all, read from the disk when they are used; undistorted, where the lens distorts."""
        undistortion = self.undistortion
        if undistortion is None:
            return self.input_frames(indices)
        chosen = range(len(self)) if indices is None else indices
        paths = [self.folder / "undistorted" / f"{index:05d}.png" for index in chosen]
        for index, path in zip(chosen, paths, strict=True):
            if not path.exists():
                with atomic_file(path) as temporary:
                    write_png(temporary, undistortion.image(self.input_frames([index]).rgb8(0)))
        return self._stored(paths, chosen)

    def input_frames(self, indices: Sequence[int] | range | None = None) -> ImageFolderFrames:
        """Some of the frames, or all, as the lens has seen them."""
        chosen = range(len(self)) if indices is None else indices
        return self._stored([self._frame_path(index) for index in chosen], chosen)

    def _stored(self, paths: list[Path], indices: Sequence[int] | range) -> ImageFolderFrames:
        return ImageFolderFrames(paths, [self._times[index] for index in indices], _FRAME_CACHE, stored_as_png=True)

    @property
    def lens(self) -> Lens | None:
        """The lens of the frames, where it distorts."""
        return None if self.undistortion is None else self.undistortion.lens

    @property
    def undistortion(self) -> Undistortion | None:
        """The mapping to the pinhole camera that `frames` are those of."""
        if self._undistortion is None:
            values = read_json(self._record).get("lens")
            if values is not None:
                self._undistortion = Undistortion.of(lens_of_json(values, self._record), centered=True)
        return self._undistortion

    def set_lens(self, lens: Lens) -> None:
        """From here on, `frames` and `observed` are undistorted. Raises `InputError` where that is impossible."""
        self._undistortion = Undistortion.of(lens, centered=True)
        self.note("lens", lens.as_json())

    def _frame_path(self, index: int) -> Path:
        return self.folder / "frames" / f"{index:05d}.png"

    def write_observed(self, index: int, observed: np.ndarray) -> None:
        """Stores which pixels of a frame were observed, uint8 (H, W), 255 = observed."""
        with atomic_file(self._observed_path(index)) as temporary:
            write_png(temporary, observed)

    def observed(self, indices: Sequence[int] | range | None = None) -> FrameMaps | None:
        """What some of the frames, or all, have observed (`scene.observed`), read from the disk when used; None where
        all of them is observed."""
        chosen = range(len(self)) if indices is None else indices
        paths = [self._observed_path(index) for index in chosen]
        if not any(path.exists() for path in paths):
            return None
        frames, undistortion = self.frames(chosen), self.undistortion

        def read(place: int) -> np.ndarray:
            if not paths[place].exists():
                return np.ones((frames.height, frames.width), np.float32)
            observed = read_image(paths[place])[..., 0].astype(np.float32) / 255.0
            return observed if undistortion is None else undistortion.mask(observed)

        return LoadedMaps(len(paths), read)

    def _observed_path(self, index: int) -> Path:
        return self.folder / "observed" / f"{index:05d}.png"

    def _read_frame_list(self) -> None:
        path = self.folder / "frames.txt"
        if not path.exists():
            return
        lines = read_text(path).splitlines(keepends=True)
        for line in lines:
            if not line.endswith("\n"):  # the process was stopped while it wrote the line
                break
            with _damage(path):
                position, seconds = line.split()
                self.positions.append(int(position))
                self._times.append(float(seconds))
        if len(lines) != len(self):
            with atomic_file(path) as temporary:
                temporary.write_text("".join(lines[: len(self)]), "utf-8")

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
        return (self._chunk_path(index) / "chunk.json").exists()

    def write_chunk(self, index: int, prediction: Prediction, record: ChunkRecord) -> None:
        """Stores a chunk, whole or not at all."""
        poses, intrinsics = prediction.world_from_camera, prediction.intrinsics
        assert poses is not None and intrinsics is not None, "a chunk needs cameras"
        with atomic_folder(self._chunk_path(index), overwrite=True) as folder:
            np.save(folder / "z_depth.npy", stacked(prediction.z_depth))
            np.save(folder / "confidence.npy", stacked(prediction.confidence))
            if prediction.motion is not None:
                motion = np.rint(np.clip(stacked(prediction.motion), 0.0, 1.0) * 255.0).astype(np.uint8)
                np.save(folder / "motion.npy", motion)
            np.savez(folder / "cameras.npz", world_from_camera=poses, intrinsics=intrinsics)
            write_json(
                folder / "chunk.json",
                {
                    "step": None if record.step is None else record.step.matrix,
                    "by": record.by,
                    "relative_error": float(record.relative_error),
                    "support": float(record.support),
                    "is_metric": prediction.is_metric,
                    "has_network_confidence": prediction.has_network_confidence,
                    "provenance": prediction.provenance,
                },
            )

    def read_chunk(self, index: int, frames: slice = slice(None)) -> Prediction:
        """Some frames of a chunk; only those are read from the disk."""
        description = read_json(self._chunk_path(index) / "chunk.json")
        poses, intrinsics = self.read_cameras(index)
        motion = self._read_maps(index, "motion", frames).astype(np.float32) / 255.0 if self.has_motion(index) else None
        return Prediction(
            z_depth=self._read_maps(index, "z_depth", frames),
            confidence=self._read_maps(index, "confidence", frames),
            world_from_camera=poses[frames],
            intrinsics=intrinsics[frames],
            motion=motion,
            is_metric=bool(description.get("is_metric")),
            has_network_confidence=bool(description.get("has_network_confidence")),
            provenance=description.get("provenance") or {},
        )

    def read_map(self, index: int, kind: Literal["z_depth", "confidence", "motion"], place: int) -> np.ndarray:
        """One map (H, W) float32 of a chunk as it was predicted; nothing else is read."""
        values = self._read_maps(index, kind, place).astype(np.float32)
        return values / np.float32(255.0) if kind == "motion" else values

    def _read_maps(self, index: int, kind: str, chosen: int | slice) -> np.ndarray:
        path = self._chunk_path(index) / f"{kind}.npy"
        with _damage(path):
            return np.array(np.load(path, mmap_mode="r", allow_pickle=False)[chosen])

    def read_cameras(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """`world_from_camera` (N, 4, 4) and `intrinsics` (N, 3, 3) of a whole chunk."""
        path = self._chunk_path(index) / "cameras.npz"
        with _damage(path):
            cameras = read_entries(path, ("world_from_camera", "intrinsics"))
        return cameras["world_from_camera"], cameras["intrinsics"]

    def has_motion(self, index: int) -> bool:
        """Whether a chunk has motion masks."""
        return (self._chunk_path(index) / "motion.npy").exists()

    def read_record(self, index: int) -> ChunkRecord:
        content = read_json(self._chunk_path(index) / "chunk.json")
        step = content.get("step")
        similarity = None if step is None else Similarity.from_matrix(np.asarray(step, np.float64))
        return ChunkRecord(similarity, str(content["by"]), float(content["relative_error"]), float(content["support"]))

    def _chunk_path(self, index: int) -> Path:
        return self.folder / "chunks" / f"{index:05d}"

    # the state of an online predictor

    def write_state(self, chunk: int, state: Mapping[str, np.ndarray]) -> None:
        """Stores the state of an online predictor after `chunk`."""
        with atomic_file(self.folder / "online.npz") as temporary, temporary.open("wb") as file:
            np.savez(file, **{**state, "after_chunk": np.array(chunk)})  # type: ignore[arg-type]

    def stored_state(self) -> int:
        """The chunk whose state was stored last; -1 where there is none. The state itself is not read."""
        path = self.folder / "online.npz"
        if not path.exists():
            return -1
        with _damage(path):
            return int(read_entries(path, ("after_chunk",))["after_chunk"])

    def read_state(self) -> tuple[int, dict[str, np.ndarray]] | None:
        """The chunk and the state after it that were stored last; None where there are none."""
        path = self.folder / "online.npz"
        if not path.exists():
            return None
        with _damage(path):
            state = read_entries(path, limit=MAX_ARCHIVE_BYTES)
            return int(state.pop("after_chunk")), state

    # loops

    def read_loop(self, later: int, earlier: int) -> dict[str, Any] | None:
        path = self.folder / "loops" / f"{later}-{earlier}.json"
        return read_json(path) if path.exists() else None

    def write_loop(self, later: int, earlier: int, content: dict[str, Any]) -> None:
        write_json(self.folder / "loops" / f"{later}-{earlier}.json", content)


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Raises `InputError` when `path` cannot be read."""
    try:
        yield
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is damaged; start again with --overwrite.") from error


def stacked(maps: FrameMaps) -> np.ndarray:
    """(N, H, W) float32 of maps that fit into memory."""
    if isinstance(maps, np.ndarray):
        return maps.astype(np.float32, copy=False)
    return np.stack([maps[index] for index in range(len(maps))]).astype(np.float32, copy=False)
