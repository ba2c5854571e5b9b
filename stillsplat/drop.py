"""From videos that are dropped onto a page to runs."""

from pathlib import Path

from dynamic_predictor.specs import specs
from scene.errors import InputError
from stillsplat.reconstruct import reconstruct
from stillsplat.settings import RunSettings
from viewer.drop_panel import DropPage


def run_from_page(output: Path, *, host: str, port: int) -> tuple[Path, int]:
    """Opens the page, makes a run in `output` of the first video that succeeds, and returns its folder and the port.

    Raises `InputError` when `output` cannot be written to and as `DropPage` does; a video or a predictor that cannot be
    used is said on the page.
    """
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} exists and is not a folder; choose another place for the results.")
    names = [spec.name for spec in specs().values() if spec.cameras]
    names.sort(key=lambda name: name != "geometric")
    with DropPage(output / "uploads", names, host=host, port=port) as page:
        print(f"Drop a video at {page.url}; Ctrl-C ends it.", flush=True)
        while True:
            wish = page.next_wish()
            folder = _free(output / wish.video.stem)
            try:
                # the page shows one run
                settings = RunSettings(
                    input=str(wish.video), predictor=wish.predictor, iterations=wish.iterations, shot="longest"
                )
                reconstruct(settings, folder, progress=page)
            except InputError as error:
                page.refuse(str(error))
                continue
            print(f"{folder} is finished.", flush=True)
            return folder, page.server.get_port()


def _free(path: Path) -> Path:
    """`path`, or with a number where it exists."""
    number, free = 2, path
    while free.exists():
        number, free = number + 1, path.with_name(f"{path.name}-{number}")
    return free
