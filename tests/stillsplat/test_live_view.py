"""`stillsplat poses --viewer`: what is shown, that it stays open until Ctrl-C, and that mistakes are one sentence."""

import os
import signal
import socket
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dynamic_predictor.contract import ViewQueryPredictor, Views
from dynamic_predictor.cut3r.predictor import Cut3rPredictor
from dynamic_predictor.cut3r.settings import Cut3rSettings
from dynamic_predictor.cut3r.weights import CUT3R_224
from dynamic_predictor.specs import registered
from scene.camera import Camera
from scene.folder import load_scene
from scene.frames import MemoryFrames
from scene.images import write_png
from stillsplat import live_view, poses
from stillsplat.cli import main
from stillsplat.settings import PosesSettings
from tests.dynamic_predictor.cut3r import small_networks
from tests.simulated_stream import OnlineSimulatedPredictor, SimulatedPredictor, SimulatedWalk
from tests.stillsplat.stand_ins import fake_spec
from viewer.scene_viewer import SceneViewer
from viewer.settings import ViewerSettings

_WALK = SimulatedWalk(12)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    folder = tmp_path / "clip"
    folder.mkdir()
    for index in range(_WALK.count):
        write_png(folder / f"{index:02d}.png", _WALK.image(index))
    return folder


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _poses(clip: Path, out: Path, *options: str, online: bool = True) -> int:
    made = OnlineSimulatedPredictor if online else SimulatedPredictor
    with registered(fake_spec("simulated-online", lambda: made(_WALK), motion=False, online=online)):
        return main(["poses", str(clip), "-o", str(out), "--predictor", "simulated-online", *options])


@pytest.fixture
def needs_viser():
    pytest.importorskip("viser", reason="NOT CHECKED: the extra [viewer] (viser) is not installed")


def test_frames_are_shown_queries_answered_and_ctrl_c_ends_it(clip, tmp_path, monkeypatch, capsys, needs_viser):
    port, out, seen = _free_port(), tmp_path / "out", []
    wait = SceneViewer.wait

    def watched(viewer: SceneViewer) -> None:
        seen.append((dict(viewer._frames), load_scene(out)))
        camera = SimpleNamespace(wxyz=np.array([1.0, 0, 0, 0]), position=np.zeros(3), fov=1.0)
        viewer._ask(SimpleNamespace(camera=camera))
        threading.Timer(0.6, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        wait(viewer)
        seen.append(dict(viewer.server.scene._handle_from_node_name))

    monkeypatch.setattr(SceneViewer, "wait", watched)
    assert _poses(clip, out, "--viewer", "--viewer-port", str(port)) == 0
    said = capsys.readouterr().out
    assert f"The viewer is at http://127.0.0.1:{port}\n" in said and "(viser)" not in said
    assert f"All of it is on disk; the viewer stays open at http://127.0.0.1:{port} until Ctrl-C.\n" in said
    (frames, scene), nodes = seen
    assert list(frames) == list(range(12))
    for index, shown in frames.items():
        np.testing.assert_allclose(shown.camera.world_from_camera, scene.cameras[index].world_from_camera, atol=1e-6)
    # the query shows the walls of the room, in the world of the first camera
    walk_from_view = _WALK.world_from_camera(0)
    points = nodes["/queries/0/points"].points @ walk_from_view[:3, :3].T + walk_from_view[:3, 3]
    assert np.abs(np.abs(points) / [4.0, 1.5, 3.0] - 1).min(axis=1).max() < 1e-3


def test_a_predictor_that_answers_no_queries_has_no_button(clip, tmp_path, monkeypatch, needs_viser):
    seen = []
    monkeypatch.setattr(SceneViewer, "wait", lambda viewer: seen.append((viewer._query, len(viewer._frames))))
    assert _poses(clip, tmp_path / "out", "--viewer", "--viewer-port", str(_free_port()), online=False) == 0
    assert seen == [(None, 12)]


def test_closed_loops_move_what_was_shown(tmp_path, monkeypatch, needs_viser):
    for slow in ("export", "_draw_path"):
        monkeypatch.setattr(poses, slow, lambda *_, **__: None)

    class Masked(SimulatedPredictor):
        def predict(self, views, **more):
            found = super().predict(views)
            return replace(found, motion=np.zeros_like(found.z_depth))

    walk = SimulatedWalk(50, lap=40)
    predictor = Masked(walk, creep=0.0005, bend=0.1, noise=0.01)
    settings = PosesSettings("simulated", chunk_size=10, overlap=4, loop_half=3, shot="whole")
    with live_view.LiveView(ViewerSettings(viewer=True, viewer_port=0), "walk") as view:
        out = poses.extract_poses(settings, tmp_path / "out", source=walk, predictor=predictor, view=view)
        scene = load_scene(out)
        assert any(loop["accepted"] for loop in scene.provenance["loops"])
        for index in (0, 20, 49):
            shown = view.viewer._frames[index].camera
            np.testing.assert_allclose(shown.world_from_camera, scene.cameras[index].world_from_camera, atol=1e-5)


def test_a_port_in_use_is_one_sentence_and_nothing_is_made(clip, tmp_path, capsys, needs_viser):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert _poses(clip, tmp_path / "out", "--viewer", "--viewer-port", str(port)) == 2
    message = capsys.readouterr().err.strip()
    assert message.count("\n") == 0 and f"Port {port}" in message and "--viewer-port" in message
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.part").exists()


def test_cut3r_answers_queries_of_unseen_views():
    """The network's own `query` is what the viewer asks for."""
    images = np.stack([_WALK.image(index) for index in range(3)])
    predictor = Cut3rPredictor(
        CUT3R_224, "linear", Cut3rSettings(image_size=64), network=small_networks.filled_network(small_networks.MINIMAL)
    )
    assert isinstance(predictor, ViewQueryPredictor)
    predictor.start()
    for image in images:
        predictor.step(Views(MemoryFrames(image[None])))
    before = predictor.state()
    pose = np.eye(4)
    pose[0, 3] = 0.2
    found = live_view.queried_view(predictor, Camera(64, 48, 60.0, 60.0, 32.0, 24.0, pose))
    assert len(found.positions) == len(found.colors) == len(found.confidence) > 0
    assert found.colors.dtype == np.uint8 and np.isfinite(found.positions).all()
    after = predictor.state()
    assert all((after[name] == before[name]).all() for name in before)
