"""What one process of a batch does: one clip through all stages, or the rest of them, in its run folder."""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dynamic_predictor.evaluation.datasets.registry import open_dataset
from scene.errors import InputError
from scene.files.atomic import atomic_folder
from scene.files.json_files import read_json, write_json
from scene.files.locking import only_process
from scene.frames import parse_frame_range
from scene.images import write_png
from stillsplat.batch.clips import Clip
from stillsplat.batch.folder import BatchFolder, findings
from stillsplat.settings import RunSettings

#: seconds between two notes of the progress of a clip, and for which a process that was told to stop is waited for
_EVERY, _PATIENCE = 0.5, 90.0


class ClipStatus:
    """A `scene.progress.Progress` that notes in a file how far a clip is, for the process that shows it."""

    def __init__(self, path: Path) -> None:
        self._path, self._last, self._stage = path, 0.0, ""

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if stage == self._stage and now - self._last < _EVERY:
            return
        self._stage, self._last = stage, now
        with suppress(InputError):  # a full disk shows where results are written
            write_json(self._path, {"stage": stage, "done": done, "total": total})


def read_status(path: Path) -> dict[str, Any]:
    """What `ClipStatus` noted last; empty where it noted nothing."""
    try:
        return read_json(path) if path.exists() else {}
    except InputError:
        return {}


@dataclass(frozen=True)
class ClipWork:
    """Runs clips by name; picklable, so that it can be sent to other processes and machines."""

    clips: Mapping[str, Clip]
    settings: Mapping[str, RunSettings]
    folder: BatchFolder
    overwrite: bool = False

    def __call__(self, name: str) -> dict[str, Any]:
        """The findings about a clip, for tables; everything else is in its run folder."""
        from stillsplat.shots import reconstruct_clip

        clip, settings = self.clips[name], self.settings[name]
        output, status = self.folder.run(clip), self.folder.status(clip)
        progress = ClipStatus(status)
        progress("starting", 0, 1)
        try:
            with only_process(output, patience=_PATIENCE):
                if clip.dataset is not None:
                    write_annotations(clip, settings, self.folder.annotations(clip))
                result = reconstruct_clip(
                    settings, output, resume=not self.overwrite, overwrite=self.overwrite, progress=progress
                )
        finally:
            status.unlink(missing_ok=True)
        return {"settings": comparable(settings), **findings(result.metrics), "warnings": result.warnings}


def comparable(settings: RunSettings) -> dict[str, Any]:
    """Everything on which the files of a run depend, as JSON keeps it."""
    values = settings.to_dict()
    del values["device"]
    return json.loads(json.dumps(values))


def write_annotations(clip: Clip, settings: RunSettings, folder: Path) -> None:
    """Writes the annotated masks of a data set's clip as images, one per image of the clip; those of images without
    annotation are black. Raises `InputError` when a held-out frame of the DAS3R protocol has none."""
    assert clip.dataset is not None
    name, data = clip.dataset
    found = open_dataset(name, data).clip(clip.name)
    masks = found.motion_masks
    assert masks is not None
    annotated = set(found.annotated_frames())
    if settings.protocol == "das3r":
        chosen = range(len(masks))[parse_frame_range(settings.resolved().frames)]
        missing = [chosen[index] for index in settings.test_frames(len(chosen)) if chosen[index] not in annotated]
        if missing:
            raise InputError(f"{clip.name} has no annotation of frame {missing[0]}, which the protocol scores.")
    if folder.is_dir():
        return
    shape = masks[min(annotated)].shape
    with atomic_folder(folder) as temporary:
        for index in range(len(masks)):
            mask = masks[index] >= 0.5 if index in annotated else np.zeros(shape, bool)
            write_png(temporary / f"{index:05d}.png", np.where(mask, 255, 0).astype(np.uint8))
