"""Checkpoints of an optimization: one file, written completely or not at all. Loading one runs no code from it."""

import hashlib
import pickle
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gaussian.settings import TrainSettings
from scene.errors import InputError, is_out_of_memory
from scene.files.atomic import atomic_file
from scene.files.torch_files import check_torch_file
from scene.scene import Scene

if TYPE_CHECKING:
    from gaussian.training_run import TrainingRun

_VERSION = 2
#: settings that may change when a run is resumed
_MAY_CHANGE = ("checkpoint_every", "device", "preset")


def fingerprint(scene: Scene) -> str:
    """A digest of the initial cameras and of some frames, to recognize the scene of a checkpoint."""
    digest = hashlib.sha256()
    digest.update(f"{scene.frames.width} {scene.frames.height} {len(scene.frames)}".encode())
    for camera in scene.cameras:
        digest.update(camera.world_from_camera.tobytes() + repr((camera.fx, camera.fy)).encode())
    for index in (0, len(scene.frames) // 2, len(scene.frames) - 1):
        digest.update(scene.frames.rgb8(index).tobytes())
    return digest.hexdigest()


def save_checkpoint(path: Path, state: dict[str, Any], settings: TrainSettings, scene: Scene) -> None:
    """Writes the state, settings and scene of a run. Raises `InputError` if the file cannot be written."""
    content = {"version": _VERSION, "settings": settings.to_dict(), "scene": fingerprint(scene), "state": state}
    with atomic_file(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:  # how torch reports a full disk
            raise OSError(28, f"No space left on device ({error})") from error


def load_checkpoint(path: Path, settings: TrainSettings, scene: Scene) -> dict[str, Any]:
    """The state in a checkpoint. Raises `InputError` if it is damaged or of another scene, settings or version. The
    settings may have more iterations than before, so that a finished run goes on."""
    try:
        check_torch_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile):
        raise damaged(path) from None
    if not isinstance(content, dict) or type(content.get("version")) is not int or "state" not in content:
        raise damaged(path)
    if content["version"] != _VERSION:
        raise InputError(f"{path} is a checkpoint of another version; remove it to start anew.")
    wanted, found = settings.to_dict(), content.get("settings")
    if not isinstance(found, dict) or any(isinstance(value, torch.Tensor) for value in found.values()):
        raise damaged(path)
    differing = sorted(name for name in {*wanted, *found} - {*_MAY_CHANGE} if wanted.get(name) != found.get(name))
    if "iterations" in differing and _is_longer(wanted, found):
        differing.remove("iterations")
    if differing:
        raise InputError(
            f"{path} was made with other settings ({', '.join(differing)}); resume with the same, or remove it."
        )
    if str(content.get("scene")) != fingerprint(scene):
        raise InputError(f"{path} was made from another scene; resume with the same scene, or remove it.")
    return content["state"]


def restore_run(run: "TrainingRun", path: Path) -> None:
    """Brings a new `run` to the state in the checkpoint. Raises `InputError` as `load_checkpoint`, and for a state that
    no run can have had."""
    state = load_checkpoint(path, run.settings, run.given)
    try:
        run.restore(state)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RuntimeError) as error:
        if isinstance(error, InputError) or is_out_of_memory(error):
            raise
        raise damaged(path) from error


def damaged(path: Path) -> InputError:
    """The error for a checkpoint that is no checkpoint."""
    return InputError(f"{path} is damaged and cannot be resumed from; remove it to start anew.")


def _is_longer(wanted: dict[str, Any], found: dict[str, Any]) -> bool:
    before = found.get("iterations")
    return type(before) is int and wanted["iterations"] > before
