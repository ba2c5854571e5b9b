"""The table of predictors: what follows from a row, and a toy predictor that appears everywhere by one row."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dynamic_predictor.evaluation.datasets.reconstruction import RECONSTRUCTION_DATASETS
from dynamic_predictor.launch import main as launch
from dynamic_predictor.optical_flow.specs import FLOWS, FlowSpec
from dynamic_predictor.parity.case import ParityCase
from dynamic_predictor.parity.run import parity_names
from dynamic_predictor.specs import create_predictor, registered, specs
from dynamic_predictor.weights.entry import WeightsFile
from dynamic_predictor.weights.registry import all_weights
from scene.errors import InputError
from scene.folder import load_scene
from scene.formats import registry
from scene.images import write_png
from scene.progress import ignore_progress
from stillsplat.cli import main
from stillsplat.poses import extract_poses
from stillsplat.settings import PosesSettings
from tests.dynamic_predictor.evaluation.datasets.reconstruction_files import make_hiroom
from tests.dynamic_predictor.optical_flow.toy_flow import ToyFlow
from tests.dynamic_predictor.toy_predictor import SPEC, ToyPredictor, ToySettings
from tests.paths import ROOT
from tests.scene.formats import toy_format
from tests.simulated_stream import SimulatedWalk


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    folder, walk = tmp_path / "clip", SimulatedWalk(10)
    folder.mkdir()
    for index in range(10):
        write_png(folder / f"{index:05d}.png", walk.image(index))
    return folder


def test_rows_say_what_there_is():
    for name, spec in specs().items():
        assert spec.name == name and spec.description and spec.memory
        assert (ROOT / spec.documentation).is_file()
        assert (spec.license is None) == (not spec.weights)
        for entry in spec.weights:
            assert all_weights()[entry.name] is entry
        if spec.parity_case is not None:
            assert (spec.parity_name or name) in parity_names()
        assert not (spec.online and spec.largest_views)


def test_unknown_names_and_settings_are_one_sentence():
    with pytest.raises(InputError, match='no predictor called "nope"; choose one of: .*geometric'):
        create_predictor("nope")
    with pytest.raises(InputError, match="geometric has no setting called color"):
        create_predictor("geometric", color=3)
    with pytest.raises(InputError, match='no device called "tpu"'):
        create_predictor("geometric", device="tpu")


def test_tables_of_the_documentation_name_every_predictor():
    text = (ROOT / "README.md").read_text("utf-8")
    for name in specs():
        assert f"`{name}`" in text


def test_a_toy_predictor_is_in_every_command(clip, tmp_path, capsys):
    out, words = tmp_path / "out", ["--predictor", "toy"]
    with registered(SPEC):
        assert main(["predictors"]) == 0
        assert "toy\n  a plane in front of a camera that slides" in capsys.readouterr().out
        assert main(["predict", str(clip), "-o", str(out / "scene"), *words]) == 0
        assert main(["poses", str(clip), "-o", str(out / "poses"), "--chunk-size", "4", "--overlap", "2", *words]) == 0
        assert main(["depth", str(clip), "-o", str(out / "depth"), *words]) == 0
        assert main(["run", str(clip), "-o", str(out / "run"), "--iterations", "3", *words]) == 0
        folders = [f"--dir_path={clip}", f"--output_dir={out / 'launch'}"]
        assert launch(["--mode=eval_pose_custom", "--predictor=toy", "--silent", *folders]) == 0
        make_hiroom(tmp_path)
        assert "hiroom" in RECONSTRUCTION_DATASETS
        data = [f"--data_folder={tmp_path}", f"--output_dir={out / 'bench'}"]
        assert launch(["--mode=eval_pose", "--eval_dataset=hiroom", "--predictor=toy", "--silent", *data]) == 0
    for name in ("scene", "poses", "run/scene", "launch"):
        scene = load_scene(out / name)
        assert scene.predictor == "toy" and scene.motion_masks is not None
        centers = np.array([camera.center for camera in scene.cameras])
        if name != "run/scene":  # there the cameras were refined
            np.testing.assert_allclose(centers[:, 0], 0.1 * np.arange(10), atol=1e-9)
            assert scene.z_depths is not None and (scene.z_depths[9] == 3).all()
        assert "This is a toy." in scene.provenance["warnings"][0]
    assert len(list((out / "depth" / "depth").iterdir())) == 10
    assert main(["predict", str(clip), "-o", str(tmp_path / "gone"), *words]) == 2
    assert '"toy"' in capsys.readouterr().err


class _WithoutMasks(ToyPredictor):
    def predict(self, views, *, progress=ignore_progress):
        return replace(super().predict(views), motion=None)


def test_a_toy_without_masks_is_chunked_stitched_and_masked_with_a_toy_flow(clip, tmp_path, monkeypatch, capsys):
    entry = WeightsFile("toy-plane", "Toy", "the plane", "none", "toy-plane.pth", page="the tests")
    case = ParityCase(parameters={}, run=lambda images: {"depth": images})
    row = replace(SPEC, name="plane", motion=False, online=False, largest_views=4)
    row = replace(row, weights=(entry,), parity_case=lambda: case, load=lambda *_: _WithoutMasks(ToySettings()))
    flow = ToyFlow(np.array([-1.0, 0.0]))
    monkeypatch.setitem(FLOWS, "toy-flow", FlowSpec("toy-flow", "a constant displacement", lambda *_: flow))
    with registered(row):
        assert all_weights()["toy-plane"] is entry and "plane" in parity_names()
        assert main(["weights", "list"]) == 0
        assert "toy-plane" in capsys.readouterr().out
        words = ["-o", str(tmp_path / "scene"), "--predictor", "plane", "--flow", "toy-flow"]
        assert main(["predict", str(clip), *words]) == 0
    scene = load_scene(tmp_path / "scene")
    assert scene.motion_masks is not None and scene.provenance["chunks"] == [[0, 4], [2, 6], [4, 8], [6, 10]]
    assert scene.provenance["masks"].startswith("estimated") and flow.asked
    centers = np.array([camera.center for camera in scene.cameras])
    np.testing.assert_allclose(centers[:, 0], 0.1 * np.arange(10), atol=1e-6)


def test_a_toy_format_is_offered_by_every_command(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_FORMATS", registry.formats())
    registry.register(toy_format.ROW)
    with registered(SPEC):
        for name, options in {"run": ["--iterations", "3"], "predict": [], "poses": [], "depth": []}.items():
            words = ["-o", str(tmp_path / name), "--predictor", "toy", "--export", "centers"]
            assert main([name, str(clip), *words, *options]) == 0
    for folder in ("run/export", "predict", "poses", "depth"):
        assert len((tmp_path / folder / "centers.csv").read_text().splitlines()) == 11


def test_a_toy_with_settings_gets_them():
    with registered(SPEC):
        predictor = create_predictor("toy", depth=7.0)
    assert isinstance(predictor, ToyPredictor) and predictor.settings == ToySettings(7.0)
    with registered(replace(SPEC, name="other")), pytest.raises(ValueError, match="already"), registered(SPEC):
        with registered(SPEC):
            pass


class _Stopped(Exception):
    pass


def test_an_online_predictor_steps_through_the_clip_and_resumes_from_its_state(clip, tmp_path):
    settings = PosesSettings(str(clip), predictor="toy", chunk_size=4, overlap=2)

    class Stops(ToyPredictor):
        def step(self, view):
            if self.seen == 9:
                raise _Stopped
            return super().step(view)

    first, second = Stops(ToySettings()), ToyPredictor(ToySettings())
    with registered(SPEC):
        with pytest.raises(_Stopped):
            extract_poses(settings, tmp_path / "out", predictor=first)
        extract_poses(settings, tmp_path / "out", predictor=second, resume=True)
    assert first.steps == list(range(9))
    assert second.steps == [8, 9]  # chunks of four: the state after the second is restored
    scene = load_scene(tmp_path / "out")
    centers = np.array([camera.center for camera in scene.cameras])
    np.testing.assert_allclose(centers[:, 0], 0.1 * np.arange(10), atol=1e-9)
    provenance = json.loads((tmp_path / "out" / "scene.json").read_text())["provenance"]
    assert [entry["by"] for entry in provenance["alignment"]] == ["first", "online", "online"]


def test_a_damaged_state_is_one_sentence(clip, tmp_path):
    settings = PosesSettings(str(clip), predictor="toy", chunk_size=4, overlap=2)

    class Stops(ToyPredictor):
        def step(self, view):
            if self.seen == 9:
                raise _Stopped
            return super().step(view)

    with registered(SPEC):
        with pytest.raises(_Stopped):
            extract_poses(settings, tmp_path / "out", predictor=Stops(ToySettings()))
        (tmp_path / "out.part" / "online.npz").write_bytes(b"PK nonsense")
        with pytest.raises(InputError, match=r"online\.npz is damaged"):
            extract_poses(settings, tmp_path / "out", predictor=ToyPredictor(ToySettings()), resume=True)
