"""The plate of a run: the clip at full size without what moves."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dynamic_predictor.driver.sources import image_names
from gaussian.model_folder import load_model
from scene.files.atomic import atomic_folder
from scene.folder import load_scene
from scene.formats.chan import write_chan
from scene.images import resize_image, write_png
from scene.maps import StoredMaps, map_8_bit, map_of_size
from scene.media.color import ToneCurve, linear_rec709, measured_light
from scene.progress import Progress, ignore_progress
from scene.scene import Scene
from scene.video import frame_rate, write_video
from stillsplat.plate.background import BackgroundFinder
from stillsplat.plate.clip_of_run import clip_of_run
from stillsplat.plate.codes import values_of
from stillsplat.plate.completion import Invention, invent
from stillsplat.plate.compositing import Compositor, Layers, PlateFrame
from stillsplat.plate.files import file_stems, for_display, require_openexr, write_exr_frame, write_png_frame
from stillsplat.plate.frame_store import FrameStore
from stillsplat.plate.grain import grain
from stillsplat.plate.grounding import grounded
from stillsplat.plate.mattes import matte
from stillsplat.plate.passing_shadows import passing_shadows
from stillsplat.plate.settings import PlateFormat, PlateSettings
from stillsplat.plate.shadows import shadow_share
from stillsplat.plate.sound import add_sound
from stillsplat.plate.still_things import StillThings
from stillsplat.plate.views import RunViews
from stillsplat.run_folder import RunFolder

#: frames whose grain and light are measured
_SAMPLES = 6
#: share of a frame that is replaced, above which that is said
_NEARLY_ALL = 0.9


@dataclass
class _Clip:
    """What the first pass over the input finds."""

    store: FrameStore
    #: (h, w, 3 float16) per frame at the size of the scene, in values of the input; None: the frames of the scene
    values: StoredMaps | None
    noise: np.ndarray
    curve: ToneCurve


def make_plate(
    folder: RunFolder,
    settings: PlateSettings,
    *,
    source: str | Path | None = None,
    scene: Scene | None = None,
    seed: int = 0,
    progress: Progress = ignore_progress,
    warn: Callable[[str], None] = lambda sentence: None,
) -> dict[str, Any]:
    """Writes plate/, mattes/, shadows/, invented/, plate.mp4 and plate.chan into the folder of a finished run; all of
    the folders or none. Returns what run.json records.

    `source`: the clip of the run, by default its input. Frames are read one after the other, and parts of others from
    a temporary file in the folder of the run. Raises `InputError` when the clip is gone or another one, when the run
    has no result yet, and when something cannot be written.
    """
    if settings.plate_format == "exr":
        require_openexr()
    scene = scene or load_scene(folder.scene)
    source, positions = clip_of_run(folder, scene, source, warn)
    model = load_model(folder.model)
    folder.working.mkdir(exist_ok=True)
    store = FrameStore(source, positions, folder.working)
    try:
        clip = _read_clip(store, scene, progress)
        values = clip.values
        views = RunViews(scene, model, None if values is None else lambda index: _unflat(values[index]))
        views.trust(grounded(model.gaussians, views, progress))
        views.hide(passing_shadows(views, store.stored, progress))
        finder = BackgroundFinder(views, store.stored)
        invention = invent(finder, progress, seed=seed) if settings.plate_fill == "synthesis" else None
        return _write(folder, settings, scene, views, finder, invention, clip, source, positions, progress, warn, seed)
    finally:
        store.close()
        shutil.rmtree(folder.working, ignore_errors=True)


def _read_clip(store: FrameStore, scene: Scene, progress: Progress) -> _Clip:
    width, height = scene.frames.width, scene.frames.height
    sampled = set(np.linspace(0, store.count - 1, min(_SAMPLES, store.count)).round().astype(int).tolist())
    values: StoredMaps | None = None
    noises, lights = [], []
    for index, image in store.originals():
        progress("reading the clip", index + 1, store.count)
        shows_itself = image.encoding.is_display_rgb and image.codes.dtype.kind == "u"
        if index == 0 and not shows_itself:
            values = StoredMaps(store.count, height, width * 3, np.float16)
        if values is not None:
            values[index] = resize_image(values_of(image.codes), width, height).reshape(height, -1)
        if index in sampled:
            noises.append(grain(values_of(image.codes)))
            if not shows_itself and image.codes.dtype.kind == "u":
                lights.append(measured_light(image.codes, image.encoding))
    return _Clip(store, values, np.median(noises, axis=0), ToneCurve.of_lights(lights))


def _unflat(values: np.ndarray) -> np.ndarray:
    return values.reshape(values.shape[0], -1, 3)


def _write(
    folder: RunFolder,
    settings: PlateSettings,
    scene: Scene,
    views: RunViews,
    finder: BackgroundFinder,
    invention: Invention | None,
    clip: _Clip,
    source: str | Path,
    positions: Sequence[int],
    progress: Progress,
    warn: Callable[[str], None],
    seed: int,
) -> dict[str, Any]:
    store, count = clip.store, clip.store.count
    kind = settings.plate_format or ("png" if store.dtype == np.uint8 else "png16")
    names = image_names(str(source))
    stems = file_stems(names, positions, settings.plate_start)
    compositor = Compositor(store, (scene.frames.width, scene.frames.height), clip.noise, seed)
    things = StillThings(views, views.nearest_depth(), progress)
    shares, shadow_shares, invented_shares, covered = [], [], [], 0

    def frames(plate: Path, mattes: Path, shadows: Path, invented: Path) -> Iterator[np.ndarray]:
        nonlocal covered
        for index, codes in store.frames():
            view = views[index]
            background = finder.background(index)
            still = things.seen_from(index)
            replaced = matte(view, background, views.moving(index), views.observed(index), still)
            unseen = (background.voted.support <= 1e-4) & (view.ground < 0.5) & (replaced > 0)
            filling = _filling(settings, invention, view)
            layers = Layers(replaced, background, view.render, view.ground, unseen, filling)
            done = compositor.composite(index, codes, layers)
            shadow = map_of_size(shadow_share(view, background, replaced), (store.width, store.height))
            shadow = np.minimum(shadow, done.matte)
            _write_frame(kind, plate, stems[index], done, shadow, clip, views[index].z_depth)
            write_png(mattes / f"{stems[index]}.png", map_8_bit(done.matte))
            write_png(shadows / f"{stems[index]}.png", map_8_bit(shadow))
            write_png(invented / f"{stems[index]}.png", done.invented * np.uint8(255))
            shares.append(float((done.matte >= 0.5).mean()))
            shadow_shares.append(float((shadow >= 0.5).mean()))
            invented_shares.append(float(done.invented.mean()))
            covered += shares[-1] > _NEARLY_ALL
            progress("plate", index + 1, count)
            yield for_display(done.codes, store.encoding, clip.curve, deep=False)

    rate = frame_rate(scene.frames)
    with ExitStack() as stack:
        places = [
            stack.enter_context(atomic_folder(folder.path / name, overwrite=True))
            for name in ("plate", "mattes", "shadows", "invented")
        ]
        write_video(folder.path / "plate.mp4", frames(*places), rate)
    numbers = [settings.plate_start + position for position in positions] if names is None else None
    cameras = [camera.resized(store.width, store.height) for camera in scene.cameras]
    write_chan(folder.path / "plate.chan", cameras, numbers=numbers)
    times = list(scene.frames.timestamps)
    sound = names is None and add_sound(folder.path / "plate.mp4", Path(source), times[0], count / rate)
    if covered:
        warn(f"{covered} frames are replaced nearly everywhere, so their plate is as good as the Gaussians.")
    return {
        "format": kind,
        "size": [store.width, store.height],
        "color": "linear Rec.709" if kind == "exr" else "sRGB",
        "sound": sound,
        "replaced_share": float(np.mean(shares)),
        "shadow_share": float(np.mean(shadow_shares)),
        "invented_share": float(np.mean(invented_shares)),
        "fill": settings.plate_fill,
        "start": settings.plate_start,
        "fetched_from": len(store.stored),
    }


def _filling(settings: PlateSettings, invention: Invention | None, view: Any) -> np.ndarray | None:
    """(h, w, 3): what is put where nothing was seen; None: nothing."""
    if settings.plate_fill == "none":
        return None
    if invention is None:
        return view.render
    color, alpha = invention.seen_from(view)
    share = np.clip(alpha * 2.0, 0.0, 1.0)[..., None]
    return (view.render + (color - view.render) * share).astype(np.float32)


def _write_frame(
    kind: PlateFormat,
    folder: Path,
    stem: str,
    done: PlateFrame,
    shadow: np.ndarray,
    clip: _Clip,
    z_depth: np.ndarray,
) -> None:
    encoding = clip.store.encoding
    alpha = 1.0 - done.invented.astype(np.float32) if done.transparent else None
    if kind == "exr":
        depth = cv2.resize(z_depth, done.matte.shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        light = linear_rec709(done.codes, encoding)
        write_exr_frame(folder / f"{stem}.exr", light, done.matte, shadow, done.invented, depth, alpha)
        return
    shown = for_display(done.codes, encoding, clip.curve, deep=kind == "png16")
    write_png_frame(folder / f"{stem}.png", shown, alpha)
