"""Finding files of weights on this machine."""

import os
from pathlib import Path

from dynamic_predictor.weights.entry import WeightsFile, local_names
from scene.errors import InputError

ENVIRONMENT_VARIABLE = "STILLSPLAT_WEIGHTS"


def weights_folders() -> list[Path]:
    """The folders that are searched, in order: those of $STILLSPLAT_WEIGHTS (separated as in $PATH), `weights/` in the
    working folder, `weights/` of the repository. They need not exist."""
    named = os.environ.get(ENVIRONMENT_VARIABLE, "")
    folders = [Path(part).expanduser() for part in named.split(os.pathsep) if part]
    folders += [Path("weights"), Path(__file__).resolve().parents[2] / "weights"]
    unique: dict[Path, Path] = {}
    for folder in folders:
        unique.setdefault(folder.absolute(), folder)
    return list(unique.values())


def find_weights(entry: WeightsFile, explicit: str | Path | None = None) -> Path | None:
    """The path of the file of `entry`, or None if it is not on this machine.

    `explicit` is the path of the file or of a folder with the file, given by the user; only this path is searched then,
    and `InputError` is raised if the file is missing. Without it, the folders of `weights_folders`, torch's download
    folder (for entries that belong there) and the Hugging Face cache are searched.
    """
    if explicit is not None:
        return _explicit_file(entry, Path(explicit).expanduser())
    for folder in weights_folders():
        for relative in local_names(entry):
            if (folder / relative).is_file():
                return folder / relative
    if entry.in_torch_hub and (torch_hub_folder() / entry.file_name).is_file():
        return torch_hub_folder() / entry.file_name
    return _in_hub_cache(entry)


def torch_hub_folder() -> Path:
    """Torch's download folder, the same as `torch.hub.get_dir()` / checkpoints but without importing torch."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("TORCH_HOME") or os.path.join(cache, "torch")
    return Path(home).expanduser() / "hub" / "checkpoints"


def kept_at(entry: WeightsFile, folder: str | Path | None = None) -> Path:
    """The path where the file of `entry` is stored: in `folder` if given, otherwise in torch's download folder if other
    packages search it there, otherwise in the first of `weights_folders`."""
    if folder is not None:
        return Path(folder).expanduser() / local_names(entry)[0]
    if entry.in_torch_hub:
        return torch_hub_folder() / entry.file_name
    return weights_folders()[0] / local_names(entry)[0]


def require_weights(entry: WeightsFile, explicit: str | Path | None = None) -> Path:
    """As `find_weights`, but raises `InputError`, which tells how to get the file, if it is not on this machine."""
    path = find_weights(entry, explicit)
    if path is None:
        raise InputError(
            f"The weights of {entry.name} are not on this machine; "
            f"fetch them with `stillsplat weights get {entry.name}`, "
            f"or put {entry.file_name} of {entry.source} at {kept_at(entry)}."
        )
    return path


def _explicit_file(entry: WeightsFile, path: Path) -> Path:
    if path.is_file():
        return path
    if path.is_dir():
        for relative in [entry.file_name, *entry.other_names, *local_names(entry)]:
            if (path / relative).is_file():
                return path / relative
        raise InputError(f"{path} has no file of the weights {entry.name}; it should hold {entry.file_name}.")
    raise InputError(f"There is no file {path}; give the weights of {entry.name} as a file or a folder.")


def _in_hub_cache(entry: WeightsFile) -> Path | None:
    if entry.repository is None:
        return None
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    for revision in (entry.revision, "main"):
        if revision is None:
            continue
        cached = try_to_load_from_cache(entry.repository, entry.file, revision=revision)
        if isinstance(cached, str) and Path(cached).is_file():
            return Path(cached)
    return None
