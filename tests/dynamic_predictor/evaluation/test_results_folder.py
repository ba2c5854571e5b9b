"""Records and folders of an evaluation's results."""

import math
from pathlib import Path

import pytest

from dynamic_predictor.evaluation.results_folder import ResultsFolder, check_scene_folder, without_empty_folders
from scene.errors import InputError


def test_scene_belongs_to_its_settings(tmp_path: Path) -> None:
    folder = ResultsFolder(tmp_path)
    settings = {"frames": (0, 2), "seed": 1}
    assert not folder.has_scene("test/dog", settings, overwrite=False)
    folder.scene("test/dog").mkdir()
    assert not folder.has_scene("test/dog", settings, overwrite=False)  # an empty folder
    (folder.scene("test/dog") / "scene.json").touch()
    with pytest.raises(InputError, match="test_dog exists but was not made by an evaluation"):
        folder.has_scene("test/dog", settings, overwrite=False)
    folder.write_record("test/dog", {"made_by": settings, "pose": {"ate": math.nan}})
    assert folder.record("test/dog")["pose"] == {"ate": None}
    assert folder.has_scene("test/dog", settings, overwrite=False)
    with pytest.raises(InputError, match="another frames and seed; choose another --output_dir"):
        folder.has_scene("test/dog", {"frames": [0], "seed": 2}, overwrite=False)
    assert not folder.has_scene("test/dog", {"frames": [0], "seed": 2}, overwrite=True)
    folder.delete_record("test/dog")
    assert folder.record("test/dog") == {}


def test_only_new_and_empty_folders_are_removed(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    with pytest.raises(RuntimeError), without_empty_folders(tmp_path / "old" / "a" / "b", tmp_path / "old" / "c"):
        (tmp_path / "old" / "a" / "b").mkdir(parents=True)
        (tmp_path / "old" / "c").mkdir()
        (tmp_path / "old" / "c" / "file").touch()
        raise RuntimeError
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["c", "file", "old"]


def test_messages_name_the_option(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder, overwrite in ((tmp_path, True), (tmp_path / "file", True)):
        with pytest.raises(InputError, match="choose another --output_dir"):
            check_scene_folder(folder, overwrite=overwrite)
    check_scene_folder(tmp_path / "new", overwrite=False)
