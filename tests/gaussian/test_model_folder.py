"""Loading the folder of an optimized model."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gaussian.model_folder import load_model
from gaussian.rendering import render
from gaussian.trainer import Trainer, train
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


def test_the_model_is_the_one_that_settings_name(tmp_path: Path) -> None:
    """A shorter run into the same folder replaces the longer one, and until it has saved anything the old one stays."""
    folder, scene = tmp_path / "model", make_scene()
    train(scene, replace(SETTINGS, iterations=20), folder)
    (folder / "painted_masks").mkdir()
    old = load_model(folder)
    trainer = Trainer(scene, replace(SETTINGS, iterations=6), folder)
    assert not (folder / "checkpoint.pt").exists()  # --resume would go on with the old one
    trainer.advance(3)
    assert len(load_model(folder).gaussians) == len(old.gaussians)
    trainer.save()
    with pytest.raises(InputError, match="no point_cloud.ply yet; let train_gui.py finish"):
        load_model(folder)
    trainer.advance(3)
    result = trainer.finish()
    assert [path.name for path in (folder / "point_cloud").iterdir()] == ["iteration_6"]
    assert not (folder / "painted_masks").exists()
    model = load_model(folder)
    np.testing.assert_array_equal(
        [c.world_from_camera for c in model.cameras], [c.world_from_camera for c in result.cameras]
    )
    np.testing.assert_allclose(model.gaussians.means.numpy(), result.gaussians.means.numpy())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"iterations": 7}, "names iteration 7, which is not in"),
        ({"iterations": "6"}, "names iteration 6, which is not in"),
        ({"width": 10**9}, r"frames of 1e\+09x"),
        ({"width": True}, "the names or the size of the frames are missing"),
    ],
)
def test_settings_that_make_no_sense(tmp_path: Path, change: dict, message: str) -> None:
    train(make_scene(), replace(SETTINGS, iterations=3), tmp_path)
    settings = json.loads((tmp_path / "settings.json").read_text())
    (tmp_path / "settings.json").write_text(json.dumps({**settings, **change}))
    with pytest.raises(InputError, match=message):
        load_model(tmp_path)


def test_a_folder_of_an_earlier_version_with_one_model(tmp_path: Path) -> None:
    train(make_scene(), replace(SETTINGS, iterations=3), tmp_path)
    settings = json.loads((tmp_path / "settings.json").read_text())
    del settings["iterations"]
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    load_model(tmp_path)
    (tmp_path / "point_cloud" / "iteration_\u00b2").mkdir()
    (tmp_path / "point_cloud" / "iteration_\u00b2" / "point_cloud.ply").touch()
    load_model(tmp_path)
    (tmp_path / "point_cloud" / "iteration_9").mkdir()
    (tmp_path / "point_cloud" / "iteration_9" / "point_cloud.ply").touch()
    with pytest.raises(InputError, match="settings.json does not say which"):
        load_model(tmp_path)


def test_bands_of_zeros_are_not_stored(tmp_path: Path) -> None:
    train(make_scene(), replace(SETTINGS, iterations=3, sh_degree=1), tmp_path)
    head = (tmp_path / "point_cloud/iteration_3/point_cloud.ply").read_bytes()[:2000]
    assert b"f_rest_8" in head and b"f_rest_9" not in head
    train(make_scene(), replace(SETTINGS, iterations=3, sh_degree=0), tmp_path)
    assert b"f_rest_0" not in (tmp_path / "point_cloud/iteration_3/point_cloud.ply").read_bytes()[:2000]


@pytest.mark.parametrize("focal", [1e-300, 0.0, 1e29])
def test_a_focal_length_that_no_camera_has(tmp_path: Path, focal: float) -> None:
    train(make_scene(), replace(SETTINGS, iterations=3), tmp_path)
    content = json.loads((tmp_path / "cameras.json").read_text())
    content[0]["fx"] = focal
    (tmp_path / "cameras.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="cameras.json.*(focal length|fx)"):
        load_model(tmp_path)
