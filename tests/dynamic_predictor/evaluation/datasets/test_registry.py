"""Opening data sets by name."""

import re
from pathlib import Path

import pytest

from dynamic_predictor.evaluation.datasets.registry import DATASETS, open_dataset
from scene.errors import InputError


def test_a_missing_data_set_is_reported_with_the_command_to_download_it(tmp_path: Path) -> None:
    """The command downloads into the data folder in use, whose name may need quotes."""
    for data_folder, spelled in ((tmp_path / "big disk", f"'{tmp_path}/big disk'"), (Path("data2"), "data2")):
        for name, dataset in DATASETS.items():
            with pytest.raises(InputError, match="is not in .*; get it: ") as error:
                open_dataset(name, data_folder)
            command = str(error.value).split("get it: ", 1)[1]
            assert f"{spelled}/{dataset.folder.split('/')[0]}" in command and "{data}" not in command
            # apart from this project's scripts, no path is in data/
            assert not re.findall(r"(?<!python )\bdata/", command.replace("resolve/main/data/", ""))
    with pytest.raises(InputError, match='no data set called "kity"; choose one of: sintel, davis'):
        open_dataset("kity", tmp_path)
    (tmp_path / "tum").mkdir()
    with pytest.raises(InputError, match="holds no clips; get the data set: mkdir"):
        open_dataset("tum", tmp_path).clip_names(all_clips=True)
