"""Loading the folder of an optimized model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gaussian.model_folder import load_model
from gaussian.rendering import render
from gaussian.trainer import train
from scene.errors import InputError
from tests.gaussian.wall_scene import SETTINGS, make_scene


def test_model_folder_holds_what_was_trained(tmp_path: Path) -> None:
    result = train(make_scene(), replace(SETTINGS, iterations=20), tmp_path / "model")
    model = load_model(tmp_path / "model")
    assert len(model.gaussians) == len(result.gaussians) and abs(model.frame_rate - 25) < 1e-6
    one = render(result.gaussians, result.cameras[4]).image
    np.testing.assert_allclose(render(model.gaussians, model.cameras[4]).image, one, atol=2e-3)
    (tmp_path / "model/cameras.json").write_text("{")
    with pytest.raises(InputError, match="cameras.json is broken"):
        load_model(tmp_path / "model")


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(InputError, match="has no settings.json; give the folder of an optimized model"):
        load_model(tmp_path)
    (tmp_path / "settings.json").write_text("[]")
    with pytest.raises(InputError, match="settings.json"):
        load_model(tmp_path)
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(InputError, match="the names or the size of the frames are missing"):
        load_model(tmp_path)
