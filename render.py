"""Renders an optimized model: render.py -m MODEL [--path input|interpolated] [--get_video]."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from scene.compute_settings import ComputeSettings
from scene.errors import InputError
from terminal.option_parser import OptionParser, exit_status
from terminal.options import add_options


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0 done, 2 an error that the user can fix, 130 interrupted."""
    return exit_status(
        lambda: _render(_parser().parse_args(arguments)),
        interrupted=lambda: "Interrupted; the images that were written are complete.",
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
    from gaussian.model_folder import load_model
    from gaussian.rasterize import usable_device
    from scene.camera_path import interpolated_path
    from scene.files.atomic import writing_error
    from scene.images import write_png
    from scene.model_place import folder_of_model
    from scene.splat_rendering import Renderer
    from scene.video import write_video
    from terminal.progress_bars import ProgressBars

    folder = folder_of_model(options.model)
    model = load_model(folder, None if options.iteration == -1 else options.iteration)
    renderer = Renderer(model.gaussians, device=usable_device(options.device))
    paths = ["input", "interpolated"] if options.path == "both" else [options.path]
    fps = options.fps or model.frame_rate
    for path in paths:
        output = Path(options.output) if options.output else folder / "renders"
        output = output / path if len(paths) > 1 or not options.output else output
        if path == "input":
            cameras = model.cameras
        else:
            cameras = interpolated_path(model.cameras, options.frames or len(model.cameras))

        def images(path: str = path, cameras: Sequence = cameras, output: Path = output) -> Iterator[np.ndarray]:
            for index, camera in enumerate(cameras):
                exposure = model.exposures[index] if path == "input" else None
                image = np.rint(renderer.render(camera, exposure=exposure).image * 255).astype(np.uint8)
                write_png(output / f"{index:05d}.png", image)
                bars(f"rendering the {path} path", index + 1, len(cameras))
                yield image

        try:
            output.mkdir(parents=True, exist_ok=True)
            with ProgressBars() as bars:
                if options.get_video:
                    write_video(output.parent / f"{output.name}.mp4", images(), fps)
                else:
                    for _ in images():
                        pass
        except OSError as error:
            raise writing_error(output, error) from error
        print(f"{len(cameras)} images are in {output}" + (f", {output.name}.mp4 beside it" * options.get_video))
    return 0


if __name__ == "__main__":
    sys.exit(main())
