"""`stillsplat run --viewer`: an optimization in a browser while it goes on."""

import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from gaussian.settings import TrainSettings
from gaussian.trainer import Trainer, train
from scene.camera import Camera
from scene.errors import InputError
from scene.frames import MemoryFrames
from scene.scene import Scene
from stillsplat.training_view import TrainingView
from tests.simulated_stream import SimulatedWalk
from viewer.settings import ViewerSettings

pytest.importorskip("viser", reason="NOT CHECKED: the extra [viewer] (viser) is not installed")

_COUNT = 4
_WALK = SimulatedWalk(_COUNT)


def _scene() -> Scene:
    return Scene(
        frames=MemoryFrames(np.stack([_WALK.image(index) for index in range(_COUNT)])),
        cameras=[
            Camera.from_intrinsics(_WALK.width, _WALK.height, _WALK.intrinsics, _WALK.world_from_camera(index))
            for index in range(_COUNT)
        ],
        motion_masks=np.zeros((_COUNT, _WALK.height, _WALK.width), np.float32),
        z_depths=np.stack([_WALK.z_depth(index) for index in range(_COUNT)]).astype(np.float32),
        confidences=np.ones((_COUNT, _WALK.height, _WALK.width), np.float32),
    )


def _settings() -> TrainSettings:
    return TrainSettings(iterations=60, max_gaussians=500, checkpoint_every=0)


def test_the_gaussians_are_shown_while_they_are_optimized_and_the_result_is_the_same(capsys):
    alone = train(_scene(), _settings(), None)
    shown: list[str] = []
    with TrainingView(ViewerSettings(viewer=True, viewer_port=0), "clip", period=0.02) as view:

        def progress(stage: str, done: int, total: int) -> None:
            time.sleep(0.01 if stage == "optimizing" else 0.0)  # so that there is something to follow
            if view.viewer is not None:
                shown.append(view.viewer._note)

        watched = train(_scene(), _settings(), None, progress=progress, watch=view.watch)
        assert view.viewer is not None
        with urllib.request.urlopen(view.viewer.url, timeout=10) as page:
            assert page.status == 200
        assert view.viewer.current.result.gaussians is not None
        assert len(view.viewer.current.result.gaussians) > 0
        assert view.viewer._note == "iteration 60 of 60"
    assert len({note for note in shown if note.startswith("iteration ")}) > 2
    for name, tensor in alone.gaussians.tensors().items():
        assert (tensor == watched.gaussians.tensors()[name]).all(), name
    assert "The viewer is at http://127.0.0.1:" in capsys.readouterr().out


def test_the_optimization_follows_what_is_painted_in_the_browser():
    trainer = Trainer(_scene(), _settings(), None)
    with TrainingView(ViewerSettings(viewer=True, viewer_port=0), "clip", period=0.02) as view:
        with view.watch(trainer):
            assert view.viewer is not None
            masks = view.viewer.masks
            masks.stroke(np.array([[20.5, 10.5]]))
            trainer.request_snapshot((0,))
            trainer.advance(5)
            assert trainer.snapshot is not None
            assert trainer.snapshot.static_weights[0][10, 20] == 0
            masks.undo()
            trainer.request_snapshot((0,))
            trainer.advance(1)
            assert trainer.snapshot.static_weights[0][10, 20] > 0
        with pytest.raises(InputError, match="The optimization is over; mend its masks with stillsplat view"):
            masks.stroke(np.array([[20.5, 10.5]]))


def test_a_port_in_use_is_refused_before_the_work():
    with TrainingView(ViewerSettings(viewer=True, viewer_port=0), "clip") as view:
        with view.watch(_stopped_trainer()):
            assert view.viewer is not None
            port = view.viewer.server.get_port()
            with pytest.raises(InputError, match="in use by another program; choose another with --viewer-port"):
                TrainingView(ViewerSettings(viewer=True, viewer_port=port), "clip")


def _stopped_trainer():
    return Trainer(_scene(), _settings(), None)


def test_several_predictors_have_no_viewer(tmp_path: Path, capsys):
    from stillsplat.cli import main

    words = ["run", "clip", "-o", str(tmp_path / "out"), "--predictor", "geometric,das3r", "--viewer"]
    assert main(words) == 2
    assert "leave out --viewer" in capsys.readouterr().err
