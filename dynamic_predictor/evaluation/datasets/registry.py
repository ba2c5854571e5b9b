"""The table of data sets, and access to their clips."""

from contextlib import suppress
from pathlib import Path

from dynamic_predictor.evaluation.datasets.clip import Dataset, DatasetClip
from dynamic_predictor.evaluation.datasets.davis import DAVIS
from dynamic_predictor.evaluation.datasets.kitti import KITTI
from dynamic_predictor.evaluation.datasets.nyu import NYU
from dynamic_predictor.evaluation.datasets.point_odyssey import POINT_ODYSSEY
from dynamic_predictor.evaluation.datasets.rgbd_benchmarks import BONN, TUM
from dynamic_predictor.evaluation.datasets.scannet import SCANNET
from dynamic_predictor.evaluation.datasets.sintel import SINTEL
from scene.errors import InputError

DATASETS = {entry.name: entry for entry in (SINTEL, DAVIS, TUM, BONN, KITTI, NYU, SCANNET, POINT_ODYSSEY)}


class OpenDataset:
    """A data set on the disk."""

    def __init__(self, dataset: Dataset, data_folder: Path) -> None:
        self.dataset, self.folder = dataset, data_folder / dataset.folder
        self._data_folder = data_folder

    def clip_names(self, *, all_clips: bool = False) -> list[str]:
        """Names of the clips for which figures are published, or of all clips."""
        if self.dataset.published_clips is not None and not all_clips:
            return list(self.dataset.published_clips)
        try:
            names = self.dataset.list_clips(self.folder)
        except FileNotFoundError as error:
            raise InputError(f"{error.filename} is missing; {self._fetch()}") from None
        if not names:
            raise InputError(f"{self.folder} holds no clips; {self._fetch()}")
        return names

    def clip(self, name: str) -> DatasetClip:
        """Reads one clip. `InputError` when it is incomplete, or missing; the latter names existing clips."""
        try:
            return self.dataset.open_clip(self.folder, name)
        except InputError as error:
            known: list[str] = []
            with suppress(OSError):
                known = self.dataset.list_clips(self.folder)
            if known and name not in known:
                some = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
                raise InputError(
                    f"{self.dataset.name} has no clip {name} in {self.folder}; there are: {some}."
                ) from None
            raise error

    def _fetch(self) -> str:
        return f"get the data set: {self.dataset.fetch_into(self._data_folder)}"


def open_dataset(name: str, data_folder: str | Path) -> OpenDataset:
    """Opens the data set `name` in `data_folder`. Raises `InputError` for an unknown name, listing the known ones, and
    for a missing data set, with the command to download it."""
    if name not in DATASETS:
        raise InputError(f'There is no data set called "{name}"; choose one of: {", ".join(DATASETS)}.')
    dataset = DATASETS[name]
    data_folder = Path(data_folder)
    folder = data_folder / dataset.folder
    if not folder.is_dir():
        raise InputError(f"{dataset.title} is not in {folder}; get it: {dataset.fetch_into(data_folder)}")
    return OpenDataset(dataset, data_folder)
