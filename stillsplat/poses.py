"""From a video, a folder or a camera to poses, depth and points in one world, for clips of any length.

While the work lasts everything lies in OUT.part; OUT itself appears whole, at the end.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from dynamic_predictor.driver.chunk_predictor import ChunkPredictor
from dynamic_predictor.driver.loop_closure import GradientDescriptor, ImageDescriptor
from dynamic_predictor.driver.predictors import create_chunk_predictor, working_size
from dynamic_predictor.driver.sources import FrameSource, open_source
from dynamic_predictor.driver.stream import StreamResult, StreamSettings, run_stream
from dynamic_predictor.driver.stream_scene import scene_of_stream
from dynamic_predictor.driver.workspace import StreamWorkspace
from dynamic_predictor.place_recognition.salad import SaladDescriptor
from dynamic_predictor.weights.finding import find_weights
from scene.errors import InputError
from scene.files.atomic import atomic_file, writing_error
from scene.files.locking import only_process
from scene.folder import save_scene
from scene.formats.glb import write_glb
from scene.formats.nerfstudio import NerfstudioModel, write_nerfstudio
from scene.formats.ply import write_points_ply
from scene.frames import MIN_SIDE
from scene.images import fitted_size, resize_image
from scene.point_cloud import scene_points
from scene.progress import Progress, ignore_progress
from scene.scene import Scene


@dataclass(frozen=True)
class PosesSettings:
    """What `extract_poses` can be told; the command line has one option for each."""

    #: folder, glob pattern, video file, number of a camera or address of a network stream
    input: str
    predictor: str = "geometric"
    #: file or folder with weights to use instead of the official ones
    weights: str | None = None
    chunk_size: int = 60
    overlap: int = 30
    align: str = "sim3"
    loop: bool = True
    #: images per second that are taken; None: all of a file, 5 of a live source
    rate: float | None = None
    max_frames: int | None = None
    #: images are shrunk to at most this many pixels on their long side; None: to what suits the predictor
    max_size: int | None = None
    #: horizontal angle of view in degrees, where it is known
    fov: float | None = None
    #: percent of the least sure pixels that give no points
    confidence_percentile: float = 40.0
    max_points: int = 1_000_000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_size is not None and self.max_size < MIN_SIDE:
            raise InputError(f"--max-size must be at least {MIN_SIDE} pixels, not {self.max_size}.")
        if not 0 <= self.confidence_percentile < 100:
            raise InputError(f"--conf-percentile must be from 0 to below 100, not {self.confidence_percentile:g}.")
        if self.max_points < 1:
            raise InputError(f"--max-points must be 1 or more, not {self.max_points}.")
        if self.fov is not None and not 0 < self.fov < 180:
            raise InputError(f"--fov must be between 0 and 180 degrees, not {self.fov:g}.")
        self.stream()

    def stream(self) -> StreamSettings:
        """The part that the streaming driver wants."""
        return StreamSettings(self.chunk_size, self.overlap, self.align, self.loop)  # type: ignore[arg-type]


def extract_poses(
    settings: PosesSettings,
    output: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    source: FrameSource | None = None,
    predictor: ChunkPredictor | None = None,
    progress: Progress = ignore_progress,
    warn: Callable[[str], None] = lambda sentence: None,
) -> Path:
    """Writes the folder `output`: a scene (scene.json, cameras.json, images, depth, sparse/0, trajectory.txt) with
    scene.glb, camera_poses.glb, points.ply, transforms.json, poses.npz and path.png beside it.

    `source` and `predictor` replace what the settings name. Raises `InputError` when `output` or an unfinished OUT.part
    is there and neither `resume` nor `overwrite` says what to do, and while another process works on it.
    """
    output = Path(output)
    part = output.with_name(output.name + ".part")
    with only_process(part):
        return _begin(settings, output, part, resume, overwrite, source, predictor, progress, warn)


def _begin(
    settings: PosesSettings,
    output: Path,
    part: Path,
    resume: bool,
    overwrite: bool,
    source: FrameSource | None,
    predictor: ChunkPredictor | None,
    progress: Progress,
    warn: Callable[[str], None],
) -> Path:
    _check_place(output, part, resume, overwrite)
    if predictor is None:
        predictor = create_chunk_predictor(
            settings.predictor,
            seed=settings.seed,
            fov=settings.fov,
            weights=settings.weights,
            resolution=settings.max_size,
        )
    began = part.exists() and resume
    workspace = StreamWorkspace(part, _what_is_made(settings), resume=True) if began else None
    if source is None and (workspace is None or not workspace.frames_complete):  # else nothing is left to read
        source = open_source(settings.input, rate=settings.rate, max_frames=settings.max_frames)
    if workspace is None:
        workspace = StreamWorkspace(part, _what_is_made(settings), resume=False)
    try:
        return _extract(settings, output, part, workspace, source, predictor, progress, warn, overwrite)
    except InputError:
        if not began and len(workspace) < 2:  # nothing was made that would be worth taking up again
            shutil.rmtree(part, ignore_errors=True)
        raise


def _extract(
    settings: PosesSettings,
    output: Path,
    part: Path,
    workspace: StreamWorkspace,
    source: FrameSource | None,
    predictor: ChunkPredictor,
    progress: Progress,
    warn: Callable[[str], None],
    overwrite: bool,
) -> Path:
    max_size = settings.max_size or working_size(settings.predictor)
    result = run_stream(
        source,
        predictor,
        workspace,
        settings.stream(),
        descriptor=_descriptor() if settings.loop else None,
        prepare=lambda image: _fitted(image, max_size),
        progress=progress,
        warn=warn,
    )
    scene = scene_of_stream(result)
    scene.provenance = {**scene.provenance, "input": settings.input, "settings": asdict(settings)}
    made = part / "result"
    save_scene(scene, made, overwrite=True, progress=progress)
    _write_extras(scene, result, made, settings, progress)
    try:
        if output.exists():
            shutil.rmtree(output)
        os.rename(made, output)
        shutil.rmtree(part)
    except OSError as error:
        raise writing_error(output, error) from error
    return output


def _write_extras(
    scene: Scene, result: StreamResult, folder: Path, settings: PosesSettings, progress: Progress
) -> None:
    points = scene_points(
        scene,
        max_points=settings.max_points,
        percentile=settings.confidence_percentile,
        seed=settings.seed,
        progress=progress,
    )
    write_points_ply(folder / "points.ply", points)
    write_glb(folder / "scene.glb", points, scene.cameras)
    write_glb(folder / "camera_poses.glb", points, scene.cameras, show_points=False)
    names = [f"images/{index:05d}.png" for index in range(len(scene.cameras))]
    write_nerfstudio(folder / "transforms.json", NerfstudioModel(list(scene.cameras), names))
    with atomic_file(folder / "poses.npz") as temporary:
        np.savez(
            temporary.open("wb"),
            world_from_camera=np.stack([camera.world_from_camera for camera in scene.cameras]),
            camera_from_world=np.stack([camera.camera_from_world for camera in scene.cameras]),
            intrinsics=np.stack([camera.intrinsics for camera in scene.cameras]),
            times=np.asarray(scene.frames.timestamps),
        )
    _draw_path(scene, result, folder / "path.png")


def _draw_path(scene: Scene, result: StreamResult, path: Path) -> None:
    """The path from above, before and after loops were closed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    closed = np.stack([camera.center for camera in scene.cameras])
    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = figure.add_subplot()
    if result.loops:
        chained = np.stack([camera.center for camera in scene_of_stream(result, closed=False).cameras])
        axes.plot(chained[:, 0], chained[:, 2], color="#9a9a9a", linewidth=1, label="before loops were closed")
    axes.plot(closed[:, 0], closed[:, 2], color="#d9663b", linewidth=1.6, label="path of the camera")
    axes.plot(*closed[0, [0, 2]], "o", color="#2b2b2b", markersize=5, label="start")
    for loop in result.loops:
        if loop.accepted:
            ends = closed[[loop.later_frames[0], loop.earlier_frames[0]]]
            axes.plot(ends[:, 0], ends[:, 2], color="#3b7dd9", linewidth=0.8)
    unit = "m" if result.is_metric else "scene units"
    axes.set(xlabel=f"x, {unit}", ylabel=f"z, {unit}")
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_title("The camera's path from above", loc="left", fontsize=10)
    axes.legend(frameon=False, fontsize=8)
    axes.grid(alpha=0.2)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _check_place(output: Path, part: Path, resume: bool, overwrite: bool) -> None:
    if resume and overwrite:
        raise InputError("--resume goes on with what is there and --overwrite throws it away; give only one of them.")
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} exists and is not a folder; choose another place.")
    if output.exists() and not overwrite:
        hint = "it is finished" if resume else "add --overwrite or choose another place"
        raise InputError(f"{output} exists already; {hint}.")
    if output.exists() and any(output.iterdir()) and not (output / "scene.json").exists():
        raise InputError(f"{output} holds other things than a scene and is not replaced; choose another place.")
    if part.exists() and not (resume or overwrite):
        raise InputError(f"An unfinished run is in {part}; add --resume to go on with it or --overwrite to begin anew.")
    if part.exists() and not (part / "stream.json").exists() and any(part.iterdir()):
        raise InputError(f"{part} was not made by this command and is left alone; choose another output.")
    if part.exists() and overwrite:
        shutil.rmtree(part)


def _what_is_made(settings: PosesSettings) -> dict[str, object]:
    """The settings that a resumed run must share with the one that it goes on with."""
    free = {"confidence_percentile", "max_points", "loop"}
    return {key: value for key, value in asdict(settings).items() if key not in free}


def _fitted(image: np.ndarray, max_size: int) -> np.ndarray:
    width, height = fitted_size(image.shape[1], image.shape[0], max_size)
    if min(width, height) < MIN_SIDE:
        raise InputError(f"Frames would be {width}x{height} pixels; they need at least {MIN_SIDE} on each side.")
    return resize_image(image, width, height)


def _descriptor() -> ImageDescriptor:
    """SALAD where its weights are on this machine, else the one without weights."""
    path = find_weights("salad")
    return GradientDescriptor() if path is None else SaladDescriptor(path)
