"""Work on sets of images that needs a prediction: the predictor is made once in each process, by the driver."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from dynamic_predictor.driver.scene_driver import SceneDriver
from dynamic_predictor.driver.settings import DriverSettings, PredictorChoice
from dynamic_predictor.driver.sources import open_source
from dynamic_predictor.driver.workspace import StreamWorkspace
from scene.files.recovery import working_folder
from scene.option import values_of
from scene.progress import Progress, ignore_progress
from scene.scene import Scene

Warn = Callable[[str], None]


class PredictingWork:
    """What subclasses do for one item, with `predicted` for its images. May be sent to another process, where progress
    is not shown and warnings are printed."""

    def __init__(
        self,
        choice: PredictorChoice,
        working_folder: Path,
        *,
        progress: Progress = ignore_progress,
        warn: Warn = lambda sentence: None,
    ) -> None:
        """`working_folder`: where images lie while they are worked on."""
        self.choice, self.working_folder = choice, Path(working_folder)
        self.progress, self._warn = progress, warn
        self._said: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name != "driver"}
        return {**state, "progress": ignore_progress, "_warn": _print_warning}

    @cached_property
    def driver(self) -> SceneDriver:
        """The driver with the predictor, made at the first use."""
        settings = DriverSettings(
            "the images", shot="whole", keep_everything=True, **values_of(self.choice, PredictorChoice)
        )
        return SceneDriver(settings, progress=self.progress, warn=self.warn_once)

    @contextmanager
    def predicted(self, images: Sequence[Path]) -> Iterator[Scene]:
        """The predicted scene of image files of one size, valid inside the block. Raises `InputError` as the driver
        does."""
        self.working_folder.mkdir(parents=True, exist_ok=True)
        with working_folder(self.working_folder / "views") as folder:
            workspace = StreamWorkspace(folder / "views", {}, resume=False)
            yield self.driver.scene(workspace, source=open_source(list(images)), motion_stage=False).scene

    def warn_once(self, sentence: str) -> None:
        """Warns, but not twice of the same."""
        if sentence not in self._said:
            self._said.add(sentence)
            self._warn(sentence)


def _print_warning(sentence: str) -> None:
    print(f"Warning: {sentence}", file=sys.stderr)
