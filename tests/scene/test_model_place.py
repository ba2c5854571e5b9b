"""Where the scene and the model are that a folder stands for."""

from pathlib import Path

from scene.model_place import folder_of_model, folder_of_rearranged


def test_folders_that_nobody_rearranged(tmp_path: Path) -> None:
    (tmp_path / "results/sintel/market_2").mkdir(parents=True)
    wanted = tmp_path / "results/sintel_rearranged/market_2"
    assert folder_of_rearranged(wanted) == tmp_path / "results/sintel/market_2"
    assert folder_of_rearranged(tmp_path / "results/sintel_rearranged") == tmp_path / "results/sintel"
    assert folder_of_rearranged(tmp_path / "other_rearranged") == tmp_path / "other_rearranged"
    # a model beside it changes nothing, a scene does
    (wanted / "point_cloud").mkdir(parents=True)
    assert folder_of_rearranged(wanted) == tmp_path / "results/sintel/market_2"
    (wanted / "images").mkdir()
    assert folder_of_rearranged(wanted) == wanted


def test_the_model_of_a_scene_of_ours_is_in_it(tmp_path: Path) -> None:
    assert folder_of_model(tmp_path) == tmp_path
    (tmp_path / "scene.json").touch()
    assert folder_of_model(tmp_path) == tmp_path / "model"
