"""The scenes of a training set, their frames, and which frames overlap."""

import re
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path

import numpy as np

from dynamic_predictor.training.datasets.array_formats import with_hdf5
from dynamic_predictor.training.datasets.frame_files import FrameFiles
from dynamic_predictor.training.datasets.inert_pickle import read_pickled_file, read_text_array
from dynamic_predictor.training.datasets.spec import Scenes, TrainingSetSpec
from scene.errors import InputError
from scene.files.arrays import check_npy, read_entries, read_npy
from scene.files.json_files import read_json
from scene.files.text import read_text
from scene.frames import natural_order
from scene.images import IMAGE_SUFFIXES

#: names of scenes that the user leaves out, one per line
EXCLUDED_FILE = "excluded_scenes.txt"
SETS_FILE = "megadepth_sets_64.npz"
SELECTED_FILE = "selected_seqs_train.json"


@dataclass
class SceneFrames:
    """The frames of one scene, by run and in order of time within a run."""

    name: str
    folder: Path
    #: (run, frame)
    frames: list[tuple[str, str]]
    #: per frame, as stored, for sets that store cameras per scene
    poses: np.ndarray | None = None
    intrinsics: np.ndarray | None = None
    scale: float = 1.0
    #: per frame, the positions of overlapping frames and their overlaps; None: not known
    neighbors: list[tuple[np.ndarray, np.ndarray]] | None = None
    #: positions of frames that see the same thing
    sets: list[np.ndarray] = field(default_factory=list)

    @cached_property
    def runs(self) -> list[tuple[str, int, int]]:
        """Name, first position and end of every run."""
        names = [run for run, _ in self.frames]
        starts = [at for at, run in enumerate(names) if at == 0 or names[at - 1] != run]
        return [(names[at], at, end) for at, end in zip(starts, [*starts[1:], len(names)], strict=True)]

    def files(self, position: int) -> FrameFiles:
        run, frame = self.frames[position]
        return FrameFiles(self.folder, run, frame)


def list_scenes(spec: TrainingSetSpec, root: Path) -> list[SceneFrames]:
    """All scenes in the processed folder `root`, in natural order. Raises `InputError` if there are none, or for lists
    and overlaps that are missing or damaged."""
    if not root.is_dir():
        raise InputError(f"{root} does not exist; prepare {spec.title} there first (docs/training_data.md).")
    rule = spec.scenes
    if rule.listed_by == "selected":
        scenes = _selected_scenes(rule, root)
    elif rule.listed_by == "sets":
        scenes = _set_scenes(root)
    else:
        folders = [root] if rule.folders == "." else [path for path in root.glob(rule.folders) if path.is_dir()]
        folders.sort(key=lambda path: natural_order(path.relative_to(root).as_posix()))
        scenes = [
            SceneFrames(path.relative_to(root).as_posix(), path, [])
            for path in folders
            if not any(part.startswith(".") for part in path.relative_to(root).parts)
        ]
    left_out = read_text(root / EXCLUDED_FILE).split() if (root / EXCLUDED_FILE).is_file() else []
    scenes = [scene for scene in scenes if _is_wanted(rule, scene.name, root) and scene.name not in left_out]
    for scene in scenes:
        if rule.metadata:
            _read_metadata(spec, scene)
        elif not scene.frames:
            scene.frames = _listed_frames(spec, scene.folder)
    scenes = [scene for scene in scenes if scene.frames]
    if not scenes:
        raise InputError(f"{root} holds no scenes of {spec.title} in its processed layout (docs/training_data.md).")
    if rule.invalid and (root / rule.invalid).is_file():
        _leave_out_invalid(root / rule.invalid, scenes)
    if spec.cameras.scales:
        _read_scales(spec, root, scenes)
    if spec.overlap is not None:
        _read_overlaps(spec, root, scenes)
    return scenes


def _is_wanted(rule: Scenes, name: str, root: Path) -> bool:
    if rule.included and not any(fnmatch(name, pattern) for pattern in rule.included):
        return False
    if rule.not_in and (root.parent / f"{root.name}{rule.not_in}" / name).is_dir():
        return False
    return not any(fnmatch(name, pattern) for pattern in rule.excluded)


def _listed_frames(spec: TrainingSetSpec, folder: Path) -> list[tuple[str, str]]:
    """Runs and names of all frames of a scene that have an image."""
    expression = re.escape(spec.image).replace(r"\{frame\}", "(?P<frame>[^/]+)").replace(r"\{run\}", "(?P<run>[^/]+?)")
    frames = []
    for path in folder.glob(spec.image.format(run="*", frame="*")):
        match = re.fullmatch(expression, path.relative_to(folder).as_posix())
        if match is None or match["frame"].startswith("."):
            continue
        run = match["run"] if "{run}" in spec.image else _prefix(spec.scenes, match["frame"])
        if run not in spec.scenes.excluded_runs:
            frames.append((run, match["frame"]))
    return sorted(frames, key=lambda names: (natural_order(names[0]), _time_order(names[1])))


def _time_order(frame: str) -> tuple[float, list[tuple[int, int | str]]]:
    """A sort key: names that are numbers, also with decimals, by their value; others in natural order after them."""
    try:
        return float(frame), []
    except ValueError:
        return np.inf, natural_order(frame)


def _prefix(rule: Scenes, frame: str) -> str:
    return next((prefix for prefix in rule.run_prefixes if frame.startswith(prefix)), "")


def _selected_scenes(rule: Scenes, root: Path) -> list[SceneFrames]:
    """Scenes of a list {category: {scene: [numbers of frames]}}."""
    path = root / SELECTED_FILE
    scenes = []
    for category, sequences in sorted(read_json(path).items()):
        if not isinstance(sequences, dict):
            raise InputError(f"{path} has no scenes for {category}; prepare the set again.")
        for name, numbers in sorted(sequences.items()):
            try:
                frames = [("", rule.number.format(int(number))) for number in sorted(numbers)]
            except (TypeError, ValueError):
                raise InputError(f"{path} has something other than frame numbers for {category}/{name}.") from None
            scenes.append(SceneFrames(f"{category}/{name}", root / category / name, frames))
    return scenes


def _set_scenes(root: Path) -> list[SceneFrames]:
    """MegaDepth: rows of `sets` are the number of a scene and those of 64 of its images."""
    path = root / SETS_FILE
    names, images = read_text_array(path, "scenes"), read_text_array(path, "images")
    rows = read_entries(path, ["sets"])["sets"].astype(np.int64)
    if rows.ndim != 2 or not len(rows) or rows[:, 0].max() >= len(names) or rows[:, 1:].max() >= len(images):
        raise InputError(f"{path} has sets of scenes or images that it does not name; get it again.")
    scenes = []
    for number in np.unique(rows[:, 0]):
        own = rows[rows[:, 0] == number, 1:]
        used, positions = np.unique(own, return_inverse=True)
        name = "/".join(names[number].split())
        frames = [("", images[image]) for image in used]
        scenes.append(SceneFrames(name, root / name, frames, sets=list(positions.reshape(own.shape))))
    return scenes


def _read_metadata(spec: TrainingSetSpec, scene: SceneFrames) -> None:
    """Frames, and cameras where they are stored per scene, from the scene's own file."""
    path = scene.folder / spec.scenes.metadata
    stored = [name for name in (spec.cameras.pose, spec.cameras.intrinsics) if not spec.cameras.path]
    pairs = spec.overlap is not None and spec.overlap.source == "pairs"
    entries = read_entries(path, ["images", *(str(name) for name in stored), *(["pairs"] if pairs else [])])
    names = [_without_suffix(str(name)) for name in entries["images"]]
    if any(len(entries[str(name)]) != len(names) for name in stored):
        raise InputError(f"{path} has other numbers of cameras than of images; prepare the set again.")
    there = {frame for _, frame in _listed_frames(spec, scene.folder)}
    kept = [index for index, name in enumerate(names) if name in there]
    kept.sort(key=lambda index: (_prefix(spec.scenes, names[index]), natural_order(names[index])))
    scene.frames = [(_prefix(spec.scenes, names[index]), names[index]) for index in kept]
    if stored:
        scene.poses = entries[str(spec.cameras.pose)][kept]
        scene.intrinsics = entries[spec.cameras.intrinsics][kept]
    if pairs:
        position = np.full(len(names), -1)
        position[kept] = np.arange(len(kept))
        scene.neighbors = _neighbors(entries["pairs"], position, len(kept), spec, path)


def _without_suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in IMAGE_SUFFIXES else name


def _leave_out_invalid(path: Path, scenes: list[SceneFrames]) -> None:
    def read(file) -> dict[str, set[str]]:
        texts = {scene.name: file[scene.name]["invalid_pairs"][:] for scene in scenes if scene.name in file}
        return {
            name: {text.decode() if isinstance(text, bytes) else str(text) for text in values}
            for name, values in texts.items()
        }

    invalid = with_hdf5(path, read)
    for scene in scenes:
        damaged = invalid.get(scene.name, set())
        scene.frames = [names for names in scene.frames if "_".join(names) not in damaged]


def _read_scales(spec: TrainingSetSpec, root: Path, scenes: list[SceneFrames]) -> None:
    path = root / spec.cameras.scales
    scales = read_json(path)
    for scene in scenes:
        value = scales.get(scene.name)
        if not isinstance(value, int | float) or value <= 0:
            raise InputError(f"{path} has no positive scale for {scene.name}; add it or remove the scene.")
        scene.scale = 1.0 / value / 1000


def _read_overlaps(spec: TrainingSetSpec, root: Path, scenes: list[SceneFrames]) -> None:
    assert spec.overlap is not None
    source = spec.overlap.source
    if source == "matrix":
        _read_matrices(spec, root / spec.overlap.path, scenes)
    for scene in scenes:
        path = scene.folder / spec.overlap.path
        if source == "file":
            pairs = read_npy(path, check_npy(path, None))
            scene.neighbors = _neighbors(pairs, np.arange(len(scene.frames)), len(scene.frames), spec, path)
        elif source == "groups":
            scene.neighbors = _grouped(spec, scene, path)


def _neighbors(
    pairs: np.ndarray, positions: np.ndarray, count: int, spec: TrainingSetSpec, path: Path
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Neighbors of `count` frames from pairs (first, second, overlap) of numbers that `positions` maps to frames."""
    assert spec.overlap is not None
    pairs = np.asarray(pairs, np.float64).reshape(-1, 3)
    numbers = pairs[:, :2].astype(np.int64)
    if len(numbers) and (numbers.min() < 0 or numbers.max() >= len(positions)):
        raise InputError(f"{path} has pairs of frames that do not exist; prepare the set again.")
    first, second = positions[numbers].T
    good = (first >= 0) & (second >= 0) & (pairs[:, 2] > spec.overlap.lowest) & (pairs[:, 2] < spec.overlap.highest)
    first, second, overlap = first[good], second[good], pairs[good, 2]
    if spec.overlap.form == "walk":
        overlap = overlap - spec.overlap.lowest
    order = np.argsort(first, kind="stable")
    bounds = np.searchsorted(first[order], np.arange(count + 1))
    return [
        (second[order[begin:end]], overlap[order[begin:end]])
        for begin, end in zip(bounds[:-1], bounds[1:], strict=True)
    ]


def _read_matrices(spec: TrainingSetSpec, path: Path, scenes: list[SceneFrames]) -> None:
    """Sparse matrices of overlaps, with the names of their frames, from an HDF5 file."""

    def read(file) -> dict[str, tuple[list[str], np.ndarray]]:
        found = {}
        for scene in scenes:
            if scene.name in file:
                group = file[scene.name]
                names = [name.decode() if isinstance(name, bytes) else str(name) for name in group["basenames"][:]]
                found[scene.name] = names, np.column_stack([*group["indices"][:], group["values"][:]])
        return found

    found = with_hdf5(path, read)
    for scene in scenes:
        if scene.name not in found:
            raise InputError(f"{path} has no overlaps of {scene.name}; get it again or remove the scene.")
        names, pairs = found[scene.name]
        position = {frame: at for at, (_, frame) in enumerate(scene.frames)}
        positions = np.array([position.get(name, -1) for name in names], np.int64)
        scene.neighbors = _neighbors(pairs, positions, len(scene.frames), spec, path)


def _grouped(spec: TrainingSetSpec, scene: SceneFrames, path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Map-free: a pickled {(run, frame): [((run, frame), overlap)]} with the numbers of runs and frames."""
    position = {
        tuple(int("".join(filter(str.isdigit, name)) or -1) for name in names): at
        for at, names in enumerate(scene.frames)
    }
    groups = read_pickled_file(path)
    try:
        pairs = [
            (position.get(tuple(key), -1), position.get(tuple(other), -1), float(overlap))
            for key, others in groups.items()
            for other, overlap in others
        ]
    except (AttributeError, TypeError, ValueError):
        raise InputError(f"{path} does not hold overlaps of frames; get it again.") from None
    known = np.array([pair for pair in pairs if min(pair[:2]) >= 0], np.float64).reshape(-1, 3)
    return _neighbors(known, np.arange(len(scene.frames)), len(scene.frames), spec, path)
