"""`stillsplat poses`: what it writes, how it is resumed, and one sentence for every mistake."""

import threading
import time

import cv2
import numpy as np
import pycolmap
import pytest

from dynamic_predictor.depth_anything3.predictor import DepthAnything3Predictor
from dynamic_predictor.depth_anything3.settings import DepthAnything3Settings
from dynamic_predictor.driver.live_source import LiveSource
from dynamic_predictor.specs import registered
from scene.errors import InputError
from scene.folder import load_scene
from scene.formats.nerfstudio import read_nerfstudio
from scene.formats.tum import read_tum
from scene.images import write_png
from scene.trajectory import absolute_trajectory_error
from stillsplat.cli import main
from stillsplat.poses import extract_poses
from stillsplat.settings import PosesSettings
from tests.simulated_stream import SimulatedPredictor, SimulatedWalk, true_poses
from tests.stillsplat.stand_ins import fake_spec, tiny_model

pytest.importorskip("trimesh")


def _settings(**changes) -> PosesSettings:
    return PosesSettings(**{"input": "simulated", "chunk_size": 20, "overlap": 8, **changes})


def _run(walk, output, predictor=None, settings=None, **options):
    predictor = predictor or SimulatedPredictor(walk)
    return extract_poses(settings or _settings(), output, source=walk, predictor=predictor, **options)


def test_every_result_tells_the_same_path(tmp_path):
    walk = SimulatedWalk(50)
    out = _run(walk, tmp_path / "out")
    assert not (tmp_path / "out.part").exists()
    truth = true_poses(walk, range(50))
    scene = load_scene(out)
    poses = np.stack([camera.world_from_camera for camera in scene.cameras])
    assert absolute_trajectory_error(poses, truth, alignment="sim3").rmse < 1e-5
    np.testing.assert_allclose(read_tum(out / "trajectory.txt")[1], poses, atol=1e-6)
    nerfstudio = read_nerfstudio(out / "transforms.json")
    np.testing.assert_allclose([camera.world_from_camera for camera in nerfstudio.cameras], poses, atol=1e-6)
    assert (out / nerfstudio.file_paths[7]).exists()
    np.testing.assert_allclose(np.load(out / "poses.npz")["world_from_camera"], poses)
    model = pycolmap.Reconstruction(str(out / "sparse" / "0"))
    centers = {image.name: image.projection_center() for image in model.images.values()}
    np.testing.assert_allclose(centers["00007.png"], poses[7, :3, 3], atol=1e-6)
    lengths = np.array([point.track.length() for point in model.points3D.values()])
    assert (lengths[lengths > 0] >= 2).mean() > 0.99 and 0.9 * 50 * 4000 < lengths.sum() <= 50 * 4000
    for name in ("scene.glb", "camera_poses.glb", "points.ply", "path.png"):
        assert (out / name).stat().st_size > 500


class _Stopped(Exception):
    pass


class _StoppingPredictor(SimulatedPredictor):
    def predict(self, views, **more):
        if len(self.calls) == 2:
            raise _Stopped
        return super().predict(views)


def test_an_unfinished_run_is_taken_up_again_or_thrown_away(tmp_path):
    walk = SimulatedWalk(50)
    out = tmp_path / "out"
    with pytest.raises(_Stopped):
        _run(walk, out, _StoppingPredictor(walk))
    assert not out.exists() and (tmp_path / "out.part").exists()
    with pytest.raises(InputError, match="--resume"):
        _run(walk, out)
    with pytest.raises(InputError, match="chunk_size"):
        _run(walk, out, settings=_settings(chunk_size=25), resume=True)
    predictor = SimulatedPredictor(walk)
    _run(walk, out, predictor, resume=True)
    assert [call[0] for call in predictor.calls] == [24, 36]
    with pytest.raises(InputError, match="exists already"):
        _run(walk, out)
    _run(walk, out, overwrite=True)


class _Capture:
    """Stands in for `cv2.VideoCapture`: a camera that gives 45 images and then does what `then` says."""

    walk, then = SimulatedWalk(500), "unplugged"

    def __init__(self, number: int) -> None:
        self.count, self.released = 0, threading.Event()

    def isOpened(self) -> bool:
        return True

    def read(self):
        if self.count >= 45:
            if self.then == "fails":
                raise OSError("no such device")
            if self.then == "hangs":
                self.released.wait(5)
            return False, None
        self.count += 1
        time.sleep(0.01)
        return True, self.walk.image(self.count - 1)[..., ::-1]

    def release(self) -> None:
        self.released.set()


@pytest.mark.parametrize(
    ("then", "words"), [("unplugged", "stopped delivering"), ("fails", "no such device"), ("hangs", "silent for 0.5 s")]
)
def test_a_camera_that_disappears_in_the_middle_leaves_what_it_gave(tmp_path, monkeypatch, capsys, then, words):
    made = []

    def predictor():
        made.append(SimulatedPredictor(_Capture.walk, seconds=0.02))
        return made[-1]

    monkeypatch.setattr(cv2, "VideoCapture", _Capture)
    monkeypatch.setattr(_Capture, "then", then)
    monkeypatch.setattr(LiveSource.__init__, "__kwdefaults__", {**LiveSource.__init__.__kwdefaults__, "patience": 0.5})
    out = tmp_path / "out"
    command = ["poses", "--video", "0", "-o", str(out), "--fps", "1000000", "--chunk-size", "20", "--overlap", "8"]
    with registered(fake_spec("simulated", predictor)):
        assert main([*command, "--predictor", "simulated"]) == 0
    captured = capsys.readouterr()
    said = " ".join(captured.err.split())
    assert "dropped (--live-policy all); from capture to result took" in captured.out
    scene = load_scene(out)
    count = len(scene.cameras)
    assert 20 < count <= 45 and len(made[0].calls) >= 2
    assert said.count("!") == 1 and words in said
    assert f"after {count} frames; these frames were processed." in said
    # the newest image is always taken, so that a busy machine may pass over one or the other
    given = [_Capture.walk.image(index).tobytes() for index in range(45)]
    places = [given.index(scene.frames.rgb8(index).tobytes()) for index in range(count)]
    assert places == sorted(set(places))
    poses = np.stack([camera.world_from_camera for camera in scene.cameras])
    assert absolute_trajectory_error(poses, true_poses(_Capture.walk, range(count)), alignment="sim3").rmse < 1e-5
    assert (out / "scene.glb").stat().st_size > 500 and not (tmp_path / "out.part").exists()


def test_a_resumed_run_that_has_all_frames_needs_its_source_no_more(tmp_path):
    walk = SimulatedWalk(50)
    images = tmp_path / "images"
    images.mkdir()
    for index in range(50):
        write_png(images / f"{index:05d}.png", walk.image(index))

    class StopsAtTheLast(SimulatedPredictor):
        def predict(self, views, **more):
            if len(views) < 20:
                raise _Stopped
            return super().predict(views)

    settings = _settings(input=str(images))
    with pytest.raises(_Stopped):
        extract_poses(settings, tmp_path / "out", predictor=StopsAtTheLast(walk))
    for path in images.iterdir():
        path.unlink()
    extract_poses(settings, tmp_path / "out", predictor=SimulatedPredictor(walk), resume=True)
    assert len(load_scene(tmp_path / "out").cameras) == 50


def test_a_source_that_cannot_be_used_leaves_nothing(tmp_path):
    walk = SimulatedWalk(1)
    with pytest.raises(InputError, match="at least two"):
        _run(walk, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_other_things_are_not_replaced(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="not replaced"):
        _run(SimulatedWalk(30), out, overwrite=True)
    assert (out / "thesis.txt").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["poses", "no_such_folder", "-o", "{}/out"],
        ["poses", "-o", "{}/out"],
        ["poses", "clip.mp4", "--video", "0", "-o", "{}/out"],
        ["poses", "{}", "-o", "{}/out", "--chunk-size", "10", "--overlap", "10"],
        ["poses", "{}", "-o", "{}/out", "--predictor", "no-such-thing"],
        ["poses", "{}", "-o", "{}/out", "--max-frames", "1"],
        ["poses", "{}", "-o", "{}/out", "--fps", "0"],
        ["poses", "{}", "-o", "{}/out", "--live-policy", "latest"],
        ["poses", "{}", "-o", "{}/out", "--viewer-port", "9000"],
    ],
)
def test_mistakes_are_one_sentence(arguments, tmp_path, capsys):
    for index in range(3):
        write_png(tmp_path / f"{index}.png", SimulatedWalk(3).image(index))
    status = main([argument.replace("{}", str(tmp_path)) for argument in arguments])
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert status == 2 and message.startswith("stillsplat: ") and message.endswith(".")
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.part").exists()


def test_a_depth_anything_3_network_streams(tmp_path):
    """A small network with made-up weights: its predictions are nonsense, but every chunk has its size and all fit."""
    model = tiny_model()
    predictor = DepthAnything3Predictor("da3-small", DepthAnything3Settings(process_res=70), model=model)
    walk = SimulatedWalk(14, width=70, height=42)
    out = _run(walk, tmp_path / "out", predictor, _settings(chunk_size=6, overlap=2, predictor="da3-small"))
    scene = load_scene(out)
    assert len(scene.cameras) == 14 and (scene.frames.width, scene.frames.height) == (70, 42)
    assert scene.z_depths is not None and all(np.isfinite(scene.z_depths[index]).all() for index in range(14))
    assert scene.motion_masks is not None and scene.provenance["masks"].startswith("estimated")


def test_two_runs_to_one_place_do_not_mix(tmp_path):
    walk = SimulatedWalk(50)
    out = tmp_path / "out"

    class Watched(SimulatedPredictor):
        def predict(self, views, **more):
            for options in ({}, {"resume": True}, {"overwrite": True}):
                with pytest.raises(InputError, match=r"out is being worked on by process \d+ \(.*\); wait"):
                    _run(walk, out, SimulatedPredictor(walk), **options)
            return super().predict(views)

    _run(walk, out, Watched(walk))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with pytest.raises(InputError, match="exists already"):
        _run(walk, out)
    _run(walk, out, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
