"""Options of train_gui.py and render.py in the spellings that users of DAS3R and 3DGS know."""

from pathlib import Path

import pytest

import render
import train_gui


@pytest.mark.parametrize("scene", ["-s", "--scene", "--source_path"])
@pytest.mark.parametrize("model", ["-m", "--model", "--model_path"])
def test_scene_and_model(tmp_path: Path, capsys: pytest.CaptureFixture[str], scene: str, model: str) -> None:
    nowhere = str(tmp_path / "nowhere")
    assert train_gui.main([scene, nowhere, model, str(tmp_path / "model")]) == 2
    assert nowhere in capsys.readouterr().err
    assert render.main([model, nowhere]) == 2
    assert nowhere in capsys.readouterr().err
