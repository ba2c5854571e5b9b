"""Which clips a batch has: those of a data set, of a folder, or of a manifest.

A clip in a folder is a video, a folder of images, a folder with the images in a folder such as `images` (and annotated
masks in `annotations`), or a scene. A manifest is a text file with a path per line, or JSON:

{"clips": [{"input": "walk.mp4", "name": "walk", "masks": "walk_masks", "frames": "0:100"}, ...]}

where `input` is needed and everything else may be any setting of `stillsplat run`, which wins over the command line.
Paths are relative to the manifest.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from dynamic_predictor.driver.sources import VIDEO_SUFFIXES
from dynamic_predictor.evaluation.datasets.registry import DATASETS, OpenDataset
from scene.errors import InputError
from scene.files.json_files import read_json
from scene.files.text import MAX_TEXT_BYTES, read_text
from scene.frames import list_images, natural_order
from scene.open_scene import is_scene
from stillsplat.settings import RunSettings

#: folders of a clip's folder that hold its images, and its annotated masks
_IMAGES, _ANNOTATIONS = ("images", "rgb", "frames", "image", "JPEGImages"), "annotations"
_PATHS = ("input", "masks", "annotations", "weights")
#: settings that are not chosen per clip
_SHARED = ("export_options", "predictor_options", "device")


@dataclass(frozen=True)
class Clip:
    """One clip of a batch."""

    name: str
    #: as of `stillsplat run`
    input: str
    #: folder of annotated masks; None: none are known
    annotations: str | None = None
    #: (data set, its folder of data) whose reader gives the annotated masks
    dataset: tuple[str, str] | None = None
    #: further settings of this clip
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def folder_name(self) -> str:
        """The name of its run folder."""
        return self.name.replace("/", "_")


@dataclass(frozen=True)
class FoundClips:
    """The clips of a batch, the data set that they are of, and sentences about what was left out."""

    clips: list[Clip]
    dataset: str | None = None
    notes: list[str] = field(default_factory=list)


def find_clips(
    source: str, *, data: str | Path = "data", names: Sequence[str] | None = None, scenes: str | Path | None = None
) -> FoundClips:
    """The clips of `source`: all, or those called `names`. Raises `InputError` where there are none, for unknown names,
    and for a manifest that cannot be read; whether a clip itself can be read shows when it is worked on."""
    if source in DATASETS:
        found = _of_dataset(source, Path(data).expanduser(), names)
        return found if scenes is None else _with_scenes(found, Path(scenes).expanduser())
    if scenes is not None:
        raise InputError("--scenes is for the clips of a data set; give the folder of scenes itself as SOURCE.")
    path = Path(source).expanduser()
    if path.is_dir():
        found = _of_folder(path)
    elif path.is_file() and path.suffix.lower() in (".json", ".txt"):
        found = FoundClips(_of_manifest(path))
    elif path.is_file():
        raise InputError(f"{source} is one file; give a folder of clips or a manifest, or use stillsplat run.")
    else:
        raise InputError(
            f"{source} does not exist; give a folder of clips, a manifest, or one of the data sets "
            f"{', '.join(DATASETS)}."
        )
    if names is not None:
        by_name = {clip.name: clip for clip in found.clips}
        _refuse_unknown(names, by_name, source)
        found = FoundClips([by_name[name] for name in dict.fromkeys(names)], notes=found.notes)
    if not found.clips:
        raise InputError(f"{source} holds no clips; give a folder of videos or of folders of images.")
    _refuse_twins(found.clips)
    return found


def _of_dataset(name: str, data: Path, names: Sequence[str] | None) -> FoundClips:
    dataset = DATASETS[name]
    if not data.is_dir():
        raise InputError(f"{data} does not exist; give the folder of the clips with --data.")
    official = data / dataset.folder
    if official.is_dir():
        opened = OpenDataset(dataset, data)
        known = opened.clip_names(all_clips=True)
        clips = {clip: lambda clip=clip: _official_clip(opened, name, data, clip) for clip in known}
    else:  # a folder per clip
        folder = data / name if (data / name).is_dir() else data
        clips = {clip.name: lambda clip=clip: clip for clip in _of_folder(folder).clips}
    if names is not None:
        _refuse_unknown(names, clips, str(data))
        return FoundClips([clips[clip]() for clip in dict.fromkeys(names)], name)
    wanted = list(dataset.published_clips or clips)
    there = [clip for clip in wanted if clip in clips]
    if not there:
        raise InputError(
            f"{data} holds no clips of {dataset.title}; say with --data where they are, or get them: "
            f"{dataset.fetch_into(data)}"
        )
    missing = [clip for clip in wanted if clip not in clips]
    notes = [f"Not in {data}: {', '.join(missing)}."] if missing else []
    return FoundClips([clips[clip]() for clip in there], name, notes)


def _official_clip(opened: OpenDataset, dataset: str, data: Path, name: str) -> Clip:
    clip = opened.clip(name)
    known = (dataset, str(data)) if clip.motion_masks is not None else None
    return Clip(name, str(clip.images[0].parent), dataset=known)


def _with_scenes(found: FoundClips, scenes: Path) -> FoundClips:
    if not scenes.is_dir():
        raise InputError(
            f"{scenes} does not exist; create its scenes: python dynamic_predictor/launch.py --mode=eval_pose "
            f"--eval_dataset={found.dataset} --output_dir={scenes}"
        )
    places = {clip.name: scenes / clip.folder_name for clip in found.clips}
    there = [clip for clip in found.clips if is_scene(places[clip.name])]
    if not there:
        raise InputError(f"{scenes} holds no scenes of these clips.")
    missing = [clip.name for clip in found.clips if clip not in there]
    notes = [*found.notes, *([f"No scenes in {scenes}: {', '.join(missing)}."] if missing else [])]
    clips = [Clip(clip.name, str(places[clip.name]), clip.annotations, clip.dataset) for clip in there]
    return FoundClips(clips, found.dataset, notes)


def _of_folder(folder: Path) -> FoundClips:
    clips, passed = [], []
    for path in sorted(folder.iterdir(), key=natural_order):
        if path.name.startswith("."):
            continue
        clip = _clip_at(path)
        if clip is not None:
            clips.append(clip)
        elif path.is_dir():
            passed.append(path.name)
    if not clips and list_images(folder):
        raise InputError(f"{folder} holds the images of one clip; use stillsplat run, or give the folder above it.")
    return FoundClips(clips, notes=[f"No clip: {', '.join(passed)}."] if passed else [])


def _clip_at(path: Path) -> Clip | None:
    if path.is_file():
        return Clip(path.stem, str(path)) if path.suffix.lower() in VIDEO_SUFFIXES else None
    if is_scene(path):
        return Clip(path.name, str(path))
    annotations = path / _ANNOTATIONS
    known = str(annotations) if annotations.is_dir() and list_images(annotations) else None
    if list_images(path):
        return Clip(path.name, str(path), known)
    images = next((path / name for name in _IMAGES if (path / name).is_dir()), None)
    return None if images is None else Clip(path.name, str(images), known)


def _of_manifest(path: Path) -> list[Clip]:
    if path.suffix.lower() == ".txt":
        lines = [line.strip() for line in read_text(path, MAX_TEXT_BYTES).splitlines()]
        entries: Any = [{"input": line} for line in lines if line and not line.startswith("#")]
    else:
        entries = read_json(path).get("clips")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f'{path} has no list of clips; write {{"clips": [{{"input": "walk.mp4"}}]}}.')
    return [_of_entry(path, entry, number) for number, entry in enumerate(entries, start=1)]


def _of_entry(manifest: Path, entry: dict[str, Any], number: int) -> Clip:
    known = {item.name for item in fields(RunSettings)} - set(_SHARED)
    unknown = sorted(set(entry) - known - {"name"})
    if unknown:
        raise InputError(
            f"Clip {number} of {manifest} has the unknown entries {', '.join(unknown)}; see docs/batch.md."
        )
    given = entry.get("input")
    if not isinstance(given, str) or not given:
        raise InputError(f'Clip {number} of {manifest} has no "input"; give the path of a video or folder.')
    settings = {name: value for name, value in entry.items() if name not in ("name", "input")}
    for name in _PATHS:
        if isinstance(settings.get(name), str):
            settings[name] = _beside(manifest, settings[name])
    place = _beside(manifest, given)
    found = None if "annotations" in settings else _clip_at(Path(place)) if Path(place).exists() else None
    name = entry.get("name") or _name_of(Path(place))
    if not isinstance(name, str) or name in (".", "..") or name.startswith((".", "-")):
        raise InputError(f"Clip {number} of {manifest} cannot be called {name!r}; give another name.")
    annotations = settings.pop("annotations", None if found is None else found.annotations)
    return Clip(name, place if found is None else found.input, annotations, settings=settings)


def _beside(manifest: Path, given: str) -> str:
    path = Path(given).expanduser()
    return given if "://" in given else str(path if path.is_absolute() else manifest.parent / path)


def _name_of(path: Path) -> str:
    name = path.stem if path.suffix.lower() in VIDEO_SUFFIXES else path.name
    return path.parent.name if name in _IMAGES else name


def _refuse_unknown(names: Sequence[str], known: dict[str, Any], place: str) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        some = ", ".join(list(known)[:20]) + (", ..." if len(known) > 20 else "")
        raise InputError(f"{place} has no clip {', '.join(unknown)}; there are: {some or 'none'}.")


def _refuse_twins(clips: Sequence[Clip]) -> None:
    seen: dict[str, Clip] = {}
    for clip in clips:
        twin = seen.setdefault(clip.folder_name.lower(), clip)
        if twin is not clip:
            raise InputError(
                f"Two clips are called {clip.name}: {twin.input} and {clip.input}; rename one, or give names in a "
                "manifest."
            )
