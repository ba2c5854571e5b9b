#!/usr/bin/env python3
"""Renders an optimized model: render.py -m MODEL [--path input|interpolated] [--get_video]."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import terminal.own_python  # noqa: F401 - first, so that any Python may start this

# isort: split
import numpy as np

from scene.compute_settings import ComputeSettings
from scene.errors import InputError
from terminal.exit_status import exit_status
from terminal.option_parser import OptionParser
from terminal.options import add_options

if TYPE_CHECKING:
    from scene.camera import Camera
    from scene.splat_rendering import Renderer

#: beside the images: which path they are of, and that they may be replaced
RECORD = "render.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0 done, 2 an error that the user can fix, 130 interrupted."""
    return exit_status(
        lambda: _render(_parser().parse_args(arguments)),
        interrupted=lambda: "Interrupted; paths that were not finished are as they were.",
    )


def _parser() -> argparse.ArgumentParser:
    parser = OptionParser(prog="render.py", description=__doc__)
    parser.add_argument(
        "-m", "--model", "--model_path", required=True, metavar="MODEL", help="folder of an optimized model"
    )
    parser.add_argument(
        "-s",
        "--scene",
        "--source_path",
        metavar="SCENE",
        help="not needed: the model has its cameras; for DAS3R's users",
    )
    parser.add_argument(
        "--iteration", "--iter", type=int, metavar="N", help="the Gaussians of iteration N (default: the newest)"
    )
    parser.add_argument(
        "-o", "--output", metavar="DIR", help="default: MODEL/renders/input or MODEL/renders/interpolated"
    )
    parser.add_argument(
        "--path", choices=["input", "interpolated", "both"], default="both", help="cameras to render; default: both"
    )
    parser.add_argument("--get_video", "--get-video", action="store_true", help="also writes a video of each path")
    parser.add_argument(
        "--frames", type=int, metavar="N", help="images of the interpolated path; default: as many as the clip has"
    )
    parser.add_argument("--fps", type=float, help="frames per second of the video; default: those of the clip")
    add_options(parser, ComputeSettings, leave_out=("seed",))
    return parser


def _render(options: argparse.Namespace) -> int:
    if options.frames is not None and not 1 <= options.frames <= 100_000:
        raise InputError(f"--frames must be 1 to 100000, not {options.frames}.")
    if options.fps is not None and not 0 < options.fps <= 1000:
        raise InputError(f"--fps must be above 0 and at most 1000, not {options.fps}.")
    from dynamic_predictor.networks.devices import resolved_device
    from gaussian.model_folder import load_model
    from gaussian.rasterize import usable_device
    from scene.camera_path import interpolated_path
    from scene.files.locking import only_process
    from scene.model_place import folder_of_model
    from scene.splat_rendering import Renderer

    resolved_device(options.device)  # refuses a GPU that is not there
    folder = folder_of_model(options.model)
    paths = ["input", "interpolated"] if options.path == "both" else [options.path]
    places = {path: _place(options, folder, path, several=len(paths) > 1) for path in paths}
    with ExitStack() as stack:
        if not options.output and folder.is_dir():
            stack.enter_context(only_process(folder))
        model = load_model(folder, None if options.iteration == -1 else options.iteration)
        for output in places.values():
            stack.enter_context(only_process(output))
            _check_place(output, with_video=options.get_video, is_given=bool(options.output))
        renderer = Renderer(model.gaussians, device=usable_device(options.device))
        for path, output in places.items():
            cameras = model.cameras
            if path == "interpolated":
                cameras = interpolated_path(model.cameras, options.frames or len(model.cameras))
            exposures = model.exposures if path == "input" else None
            _write(path, output, renderer, cameras, exposures, options.fps or model.frame_rate, options.get_video)
            print(f"{len(cameras)} images are in {output}" + (f", {output.name}.mp4 beside it" * options.get_video))
    return 0


def _place(options: argparse.Namespace, folder: Path, path: str, *, several: bool) -> Path:
    """The folder for the images of a path."""
    if not options.output:
        return folder / "renders" / path
    return Path(options.output) / path if several else Path(options.output)


def _check_place(output: Path, *, with_video: bool, is_given: bool) -> None:
    """Raises `InputError` where pictures or a video of somebody else would be replaced."""
    from scene.files.output_place import check_output_folder

    def is_ours(folder: Path) -> bool:
        # those of earlier versions have no record, but only pictures with numbers in a place of ours
        return (folder / RECORD).is_file() or (not is_given and all(_is_picture(path) for path in folder.iterdir()))

    video = output.parent / f"{output.name}.mp4"
    if with_video and is_given and video.exists() and not (output / RECORD).is_file():
        raise InputError(f"{video} exists already, and was not written by render.py; choose another folder with -o.")
    check_output_folder(
        output, holds="renders of this command", is_ours=is_ours, overwrite=True, elsewhere="another folder with -o"
    )


def _is_picture(path: Path) -> bool:
    return path.suffix == ".png" and path.stem.isdecimal()


def _write(
    path: str,
    output: Path,
    renderer: "Renderer",
    cameras: "Sequence[Camera]",
    exposures: np.ndarray | None,
    fps: float,
    with_video: bool,
) -> None:
    """Renders `cameras` into the folder `output` in place of what it held, and a video beside it; whole or not at
    all."""
    from scene.files.atomic import atomic_folder
    from scene.files.json_files import write_json
    from scene.files.recovery import working_folder
    from scene.images import write_png
    from scene.video import write_video
    from terminal.progress_bars import ProgressBars

    with ExitStack() as stack:
        bars = stack.enter_context(ProgressBars())
        temporary = stack.enter_context(atomic_folder(output, overwrite=True))
        working = stack.enter_context(working_folder(output))

        def images() -> Iterator[np.ndarray]:
            for index, camera in enumerate(cameras):
                exposure = None if exposures is None else exposures[index]
                image = np.rint(renderer.render(camera, exposure=exposure).image * 255).astype(np.uint8)
                write_png(temporary / f"{index:05d}.png", image)
                bars(f"rendering the {path} path", index + 1, len(cameras))
                yield image

        video = working / f"{output.name}.mp4"
        if with_video:
            write_video(video, images(), fps)
        else:
            for _ in images():
                pass
        write_json(temporary / RECORD, {"path": path, "images": len(cameras), "frames_per_second": fps})
        if with_video:
            video.replace(output.parent / video.name)


if __name__ == "__main__":
    sys.exit(main())
