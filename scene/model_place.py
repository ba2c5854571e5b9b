"""Where the scene and the model are that a folder stands for, also under the names of DAS3R."""

from pathlib import Path

#: the answer of the scripts that stand for DAS3R's
NOTHING_TO_REARRANGE = (
    "Nothing has to be rearranged: train_gui.py -s reads the scenes of launch.py as they are, and takes a folder "
    "NAME_rearranged that is not there for NAME."
)
#: what DAS3R's scripts put behind the name of a folder of scenes whose files they rearranged
_REARRANGED = "_rearranged"


def folder_of_model(folder: str | Path) -> Path:
    """The folder of the model that `folder` stands for: in a scene of our layout, whose cameras.json is its own, that
    is the folder "model"."""
    folder = Path(folder).expanduser()
    return folder / "model" if (folder / "scene.json").exists() else folder


def folder_of_rearranged(folder: Path) -> Path:
    """`folder`, or where there is none, the one that DAS3R would have rearranged into it: nothing has to be rearranged
    here. "results/sintel_rearranged/market_2" stands for "results/sintel/market_2"."""
    folder = folder.expanduser()
    for part in (folder, folder.parent):
        if part.name.endswith(_REARRANGED):
            plain = part.with_name(part.name.removesuffix(_REARRANGED)) / folder.relative_to(part)
            if not _holds_images(folder) and plain.is_dir():
                return plain
    return folder


def _holds_images(folder: Path) -> bool:
    """Whether a folder is a scene itself; a folder with only a model of one is not."""
    return (folder / "images").is_dir() or (folder / "pred_traj.txt").is_file() or (folder / "scene.json").is_file()
