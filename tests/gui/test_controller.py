"""What buttons, keys and drags do, without a window: the pictures are looked at as numbers."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gaussian.trainer import Trainer
from gui.controller import Controller
from gui.painter import DEPTH, IMAGE, MOTION, PICTURES, STATICNESS, VIEW
from gui.panels import MotionShown
from scene.camera import Camera
from scene.images import read_image
from scene.splat_rendering import Renderer
from tests.gaussian.wall_scene import COUNT, HEIGHT, SETTINGS, WIDTH, make_scene


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    scene = make_scene(masked=False)
    trainer = Trainer(scene, replace(SETTINGS, iterations=5000), tmp_path)
    result = Controller(trainer, annotations=make_scene().motion_masks, folder=tmp_path)
    result.start(paused=True)
    yield result
    result.close()


def wait_for(controller: Controller, condition: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        controller.tick(time.monotonic())
        assert controller.painter.error is None
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.005)


def settled(controller: Controller, name: str) -> np.ndarray:
    """The picture `name` once it does not change any more, while the optimization pauses."""
    versions = [-1]

    def same() -> bool:
        controller.tick(time.monotonic())
        time.sleep(0.15)
        versions.append(controller.painter.picture(name)[0])
        return versions[-1] == versions[-2] and versions[-1] > 0

    wait_for(controller, same)
    picture = controller.painter.picture(name)[1]
    assert picture is not None
    return picture


def shows(controller: Controller, renderer: Renderer, camera: Camera) -> bool:
    """Whether the view is what `camera` sees, up to one level of gray."""
    picture = controller.painter.picture(VIEW)[1]
    expected = np.rint(255 * renderer.render(camera).image)
    return picture is not None and picture.shape == expected.shape and np.abs(picture - expected).max() <= 1


def test_all_pictures_come_and_the_view_is_rendered_from_where_one_drags_it(controller: Controller) -> None:
    controller.session.step()
    wait_for(controller, lambda: controller.trainer.iteration == 1)
    before = {name: settled(controller, name) for name in PICTURES}
    assert before[VIEW].shape[1::-1] == controller.view_size
    for name in (IMAGE, MOTION, STATICNESS, DEPTH):
        assert before[name].shape[1::-1] == controller.panel_size, name
    # on a busy machine the picture of the iteration before may stand for a while
    wait_for(controller, lambda: controller.trainer.snapshot is not None and controller.trainer.snapshot.iteration == 1)
    snapshot = controller.trainer.snapshot
    assert snapshot is not None
    renderer, camera = Renderer(snapshot.gaussians), snapshot.cameras[0].resized(*controller.view_size)
    wait_for(controller, lambda: shows(controller, renderer, camera))

    version = controller.painter.picture(VIEW)[0]
    controller.drag(0.05, 0.02, pan=False)
    controller.drag(0.01, 0.0, pan=True)
    wait_for(controller, lambda: controller.painter.picture(VIEW)[0] > version)
    controller.release()
    controller.zoom(2)
    wait_for(controller, lambda: shows(controller, renderer, controller.orbit.camera))
    assert not controller.choices.follows_frame
    controller.jump(0)
    controller.tick(time.monotonic())
    np.testing.assert_array_equal(controller.orbit.camera.world_from_camera, camera.world_from_camera)


def test_a_stroke_is_painted_grown_along_the_track_and_followed(controller: Controller) -> None:
    """The mover of 14 pixels moves 4 pixels per frame; its mask is missing."""
    frame = 5
    controller.jump(frame)
    controller.choices.brush, controller.choices.radius, controller.choices.reach = "paint", 4.0, 1
    left = 4 + 4 * frame
    for x in (left + 4, left + 10):
        for y in (20, 26):
            controller.paint_at(x / WIDTH, y / HEIGHT)
            assert controller.motion()[y, x] == 1  # shown while it is being painted
    controller.release()
    wait_for(controller, lambda: len(controller.edits.frames) >= 3)
    truth = make_scene().motion_masks
    assert truth is not None
    for index in controller.edits.frames:
        mine, true = controller.edits.mask(index) > 0.5, truth[index] > 0.5
        assert (mine & true).sum() > 0.6 * mine.sum() and mine.sum() > 60, index
    controller.session.step()
    wait_for(controller, lambda: controller.trainer.iteration == 1)
    controller.trainer.request_snapshot([frame])
    wait_for(controller, lambda: frame in getattr(controller.trainer.snapshot, "static_weights", {}))
    snapshot = controller.trainer.snapshot
    assert snapshot is not None
    assert snapshot.static_weights[frame][23, left + 7] == 0

    controller.undo()
    controller.undo()
    assert controller.edits.frames == [] and controller.motion().max() == 0


def test_what_is_shown_follows_the_choices(controller: Controller) -> None:
    shown = settled(controller, MOTION)
    controller.choices.shown = MotionShown(annotated=False)
    np.testing.assert_array_equal(settled(controller, MOTION), settled(controller, IMAGE))
    assert not np.array_equal(shown, settled(controller, MOTION))
    controller.choices.large = MOTION
    wait_for(controller, lambda: controller.painter.picture(VIEW)[1] is not None)
    controller.choices.opacity_threshold = 1.0
    controller.choices.large = VIEW
    assert settled(controller, VIEW).max() == 0
    controller.choices.playing = True
    controller.tick(time.monotonic())
    controller.tick(time.monotonic() + 1)
    assert controller.choices.frame == 2


def test_screenshots_are_the_view_at_the_size_of_the_frames(controller: Controller, tmp_path: Path) -> None:
    settled(controller, VIEW)
    paths = [controller.screenshot(), controller.screenshot()]
    assert paths == [tmp_path / "screenshots" / f"view_{number:04d}.png" for number in (1, 2)]
    assert paths[0] is not None and read_image(paths[0]).shape == (HEIGHT, WIDTH, 3)
    assert controller.trajectory.estimated.shape == (COUNT, 2)
