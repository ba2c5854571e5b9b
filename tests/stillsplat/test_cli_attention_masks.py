"""`--masks-from attention` in every command that makes or scores a scene."""

import json

import cv2
import numpy as np
import pytest

from dynamic_predictor.specs import registered
from scene.maps import StoredMaps
from tests.stillsplat.stand_ins import HEIGHT, WIDTH, FakePredictor, fake_spec


class Attentive(FakePredictor):
    """Its attention finds the left quarter moving."""

    def attention_motion(self, views, *, progress=None):
        masks = StoredMaps(len(views), views.frames.height, views.frames.width)
        for index in range(len(views)):
            left = np.zeros((views.frames.height, views.frames.width), np.float32)
            left[:, : views.frames.width // 4] = 1
            masks[index] = left
        return masks


@pytest.fixture(autouse=True)
def attentive(fakes):
    row = fake_spec("attentive", Attentive, attention_motion="Easi3R", known_masks=True, largest_views=6)
    with registered(row):
        yield


def _provenance(scene):
    return json.loads((scene / "scene.json").read_text())["provenance"]["masks"]


@pytest.mark.parametrize(
    ("command", "predictor", "source"),
    [
        ("run", "attentive", "attention"),
        ("poses", "fake", "attention:attentive"),
        ("predict", "attentive", "attention:attentive"),
        ("predict", "fake", "attention:attentive"),
        ("depth", "attentive", "attention"),
        ("depth", "fake", "attention:attentive"),
    ],
)
def test_every_command_takes_masks_of_attention(clip, tmp_path, run_cli, command, predictor, source):
    out = tmp_path / "out"
    words = [command, clip, "-o", out, "--predictor", predictor, "--masks-from", source]
    status, _, error = run_cli(*words, *(["--no-loop"] if command == "poses" else []))
    if command == "depth" and predictor == "fake":
        assert status == 2 and "leave out --masks-from" in error  # its depth does not depend on masks
        return
    assert status == 0, error
    if command != "depth":
        scene = out / "scene" if command == "run" else out
        assert _provenance(scene) == "attention of attentive (Easi3R)"
        saved = cv2.imread(str(scene / "motion_masks" / "00007.png"), 0)
        assert saved.shape == (HEIGHT, WIDTH)
        assert (saved[:, : WIDTH // 4] == 255).all() and (saved[:, WIDTH // 4 :] == 0).all()


@pytest.mark.parametrize("command", ["run", "predict", "poses", "depth"])
def test_predictors_without_such_attention_are_refused(clip, tmp_path, run_cli, command):
    words = [command, clip, "-o", tmp_path / "out"]
    for predictor, source, named in (("geometric", "attention", "geometric"), ("attentive", "attention:fake", "fake")):
        status, _, error = run_cli(*words, "--predictor", predictor, "--masks-from", source)
        sentence = " ".join(error.split())
        assert status == 2 and f"No motion is found in the attention of {named}" in sentence
        assert "das3r, monst3r" in sentence and "attentive" in sentence
    status, _, error = run_cli(*words, "--masks-from", "attention:nobody")
    assert status == 2 and '"nobody"' in error
    assert not (tmp_path / "out").exists()


def test_a_scene_gets_masks_of_attention(clip, tmp_path, run_cli):
    scene = tmp_path / "scene"
    assert run_cli("predict", clip, "-o", scene, "--predictor", "fake")[0] == 0
    status, _, error = run_cli("run", scene, "-o", tmp_path / "out", "--masks-from", "attention:attentive")
    assert status == 0, error
    assert _provenance(tmp_path / "out" / "scene") == "attention of attentive (Easi3R)"


def test_missing_weights_are_one_sentence(clip, tmp_path, run_cli, monkeypatch):
    monkeypatch.setattr("dynamic_predictor.weights.finding.find_weights", lambda entry, explicit=None: None)
    status, _, error = run_cli("predict", clip, "-o", tmp_path / "out", "--masks-from", "attention:monst3r")
    assert status == 2 and "monst3r" in error and "Traceback" not in error


def test_the_table_of_predictors_says_who_has_it(run_cli):
    status, output, _ = run_cli("predictors")
    parts = {block.splitlines()[0]: block for block in output.split("\n  more: ")}
    assert status == 0 and output.count("--masks-from attention") >= 3
    assert "--masks-from attention" not in next(block for name, block in parts.items() if name.endswith("geometric"))
