"""The viewer of results at the level of its server: nodes, timeline, paths, measuring, masks, files."""

import io
import time
import urllib.request
import zipfile
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch

from scene.camera import Camera
from scene.errors import InputError
from scene.folder import load_scene, save_scene
from scene.formats.splat_ply import load_ply
from scene.frames import MemoryFrames
from scene.gaussians import Gaussians
from scene.images import write_png
from scene.scene import Scene
from scene.similarity import Similarity
from tests.simulated_stream import SimulatedWalk
from viewer.downloads import download
from viewer.path_panel import path_through
from viewer.result import Result, placed
from viewer.result_viewer import ResultViewer

pytest.importorskip("viser", reason="NOT CHECKED: the extra [viewer] (viser) is not installed")

_WALK = SimulatedWalk(6)


def _camera(index: int) -> Camera:
    return Camera.from_intrinsics(_WALK.width, _WALK.height, _WALK.intrinsics, _WALK.world_from_camera(index))


def _gaussians() -> Gaussians:
    """A round Gaussian at every eighth pixel of the first two frames, in its color."""
    means, colors = [], []
    for index in (0, 3):
        means.append(_camera(index).unproject(_WALK.z_depth(index))[::4, ::4].reshape(-1, 3))
        colors.append(_WALK.image(index)[::4, ::4].reshape(-1, 3) / 255.0)
    points = torch.from_numpy(np.concatenate(means)).float()
    count = len(points)
    return Gaussians.isotropic(
        points,
        torch.full((count,), -2.5),
        torch.full((count,), 0.9),
        torch.from_numpy(np.concatenate(colors)).float(),
        0,
    )


@pytest.fixture
def run(tmp_path: Path) -> Result:
    """As of a finished run: a scene on the disk, splats, and renders that are all gray."""
    images = np.stack([_WALK.image(index) for index in range(6)])
    depths = np.stack([_WALK.z_depth(index) for index in range(6)]).astype(np.float32)
    masks = np.zeros_like(depths)
    cameras = [_camera(index) for index in range(6)]
    scene = Scene(MemoryFrames(images), cameras, motion_masks=masks, z_depths=depths, confidences=np.ones_like(depths))
    save_scene(scene, tmp_path / "scene")
    paths = [tmp_path / f"{index}.png" for index in range(6)]
    for path in paths:
        write_png(path, np.full_like(images[0], 77))
    loaded = load_scene(tmp_path / "scene")
    return Result("walk", tmp_path, loaded, tmp_path / "scene", _gaussians(), loaded.cameras, paths)


def _flow(frames):
    return lambda first, second: np.zeros((frames.height, frames.width, 2), np.float32)


@pytest.fixture
def viewer(run):
    with ResultViewer([run], port=0, flow=_flow) as opened:
        yield opened


def _nodes(viewer: ResultViewer) -> dict:
    return dict(viewer.server.scene._handle_from_node_name)


def _until(condition, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "this did not come"
        time.sleep(0.02)


def test_splats_cameras_and_the_page(viewer, run):
    with urllib.request.urlopen(viewer.url, timeout=10) as answer:
        assert b"<html" in answer.read(2000).lower()
    nodes = _nodes(viewer)
    assert nodes["/results/0/splats"].visible
    frustum = nodes["/results/0/frames/3/camera"]
    assert frustum.image is not None and frustum.image.shape[1] == 160
    np.testing.assert_allclose(nodes["/results/0/frames/3"].position, _camera(3).center, atol=1e-9)
    with pytest.raises(InputError, match="in use.*--port"):
        ResultViewer([run], port=viewer.server.get_port())


def test_the_timeline_shows_input_and_render_with_a_split(viewer):
    picture = viewer.picture.image
    half = picture.shape[1] // 2
    np.testing.assert_array_equal(picture[:, : half - 1], _WALK.image(0)[:, : half - 1])
    assert (picture[:, half + 1 :] == 77).all()
    viewer._frame.value, viewer._split.value = 4, 1.0
    _until(lambda: (viewer.picture.image[:, :20] == _WALK.image(4)[:, :20]).all())
    assert viewer.current.nearest(4) == 4
    _until(lambda: _nodes(viewer)["/results/0/frames/4/camera"].color == (217, 102, 59))
    viewer._other.value, viewer._split.value = "depth", 0.0
    _until(lambda: not (viewer.picture.image[:, 2:] == 77).all() and len(np.unique(viewer.picture.image)) > 20)


def test_playing_goes_through_the_frames(viewer):
    viewer._rate.value, viewer._playing.value = 30, True
    seen: set[int] = set()

    def all_seen() -> bool:
        seen.add(int(viewer._frame.value))
        return len(seen) == 6

    _until(all_seen)


def test_points_by_color_and_confidence(viewer):
    viewer._points.value = "current frame"
    _until(lambda: "/results/0/frames/0/points" in _nodes(viewer))
    assert "/results/0/frames/1/points" not in _nodes(viewer)
    cloud = _nodes(viewer)["/results/0/frames/0/points"]
    viewer._coloring.value = "motion"
    _until(lambda: _nodes(viewer)["/results/0/frames/0/points"] is not cloud)
    colors = _nodes(viewer)["/results/0/frames/0/points"].colors.astype(int)
    assert np.abs(colors - colors[:, :1]).max() <= 1  # nothing moves: gray
    viewer._splats.value = False
    _until(lambda: not _nodes(viewer)["/results/0/splats"].visible)


def test_several_results_stand_side_by_side_or_one_at_a_time(run):
    splats = Result("walk", run.path, gaussians=run.gaussians, cameras=[run.cameras[0]], broken=3)
    with ResultViewer([run, splats], port=0) as viewer:
        assert list(viewer.nodes) == ["walk", "walk (2)"]
        second = _nodes(viewer)["/results/1"]
        assert second.visible and np.linalg.norm(second.position) > 0.5
        viewer._beside.value = False
        _until(lambda: not second.visible)
        viewer._chosen.value = "walk (2)"
        _until(lambda: second.visible and not _nodes(viewer)["/results/0"].visible)
        assert np.linalg.norm(second.position) == 0
        _until(lambda: "3 that are not finite" in viewer._status.content)
        _until(lambda: len(np.unique(viewer.picture.image)) > 20)  # rendered, because there are no files
        assert viewer._format.options[0] == "splat_ply" and "npz" not in viewer._format.options
        with pytest.raises(InputError, match="no frames to paint"):
            viewer.masks.start()


def _view(camera: Camera) -> SimpleNamespace:
    from scene.rotations import quaternion_from_rotation

    wxyz = quaternion_from_rotation(camera.world_from_camera[:3, :3])
    return SimpleNamespace(wxyz=wxyz, position=camera.center, fov=1.0, aspect=1.5)


def test_a_path_goes_smoothly_through_its_key_frames_and_becomes_a_video(viewer):
    with pytest.raises(InputError, match="two key frames"):
        viewer.path.video()
    for index in (0, 2, 5):
        viewer.path.add_view(_view(_camera(index)))
    path = path_through(viewer.path.keys, 2.0)
    centers = np.array([camera.center for camera in path])
    assert len(path) == 60
    for place, index in ((0, 0), (-1, 5)):
        np.testing.assert_allclose(centers[place], _camera(index).center, atol=1e-9)
    assert np.linalg.norm(centers - _camera(2).center, axis=1).min() < 0.05
    steps = np.linalg.norm(np.diff(centers, axis=0), axis=1)
    assert np.abs(np.diff(steps)).max() < 0.2 * steps.max()
    assert "/path/line" in _nodes(viewer) and "/path/2" in _nodes(viewer)
    viewer.path.keys = [key.resized(96, 64) for key in viewer.path.keys]
    viewer.path._seconds.value = 1
    with av.open(io.BytesIO(viewer.path.video())) as video:
        images = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert len(images) == 30 and images[0].shape == (480, 720, 3) and images[0].std() > 5
    viewer.path.remove_last()
    assert len(viewer.path.keys) == 2 and "/path/2" not in _nodes(viewer)


def test_measuring_two_points(viewer):
    camera, (height, width) = _camera(0), (_WALK.height, _WALK.width)
    ends = []
    for row, column in ((height // 2, width // 4), (height // 2, 3 * width // 4)):
        point = camera.unproject(_WALK.z_depth(0))[row, column]
        ends.append(point)
        viewer.measuring.pick(camera.center, point - camera.center)
    found = float(viewer.measuring.answer.content.split("**")[1])
    assert found == pytest.approx(np.linalg.norm(ends[1] - ends[0]), rel=0.05)
    viewer.measuring.pick(camera.center, np.array([0.0, 0.0, 0.0]) - camera.world_from_camera[:3, 2])
    viewer.measuring.clear()
    assert not [name for name in _nodes(viewer) if name.startswith("/measure/") and "line" in name]


def test_painting_growing_and_saving_masks(viewer, run):
    viewer.masks.start()
    _until(lambda: not _nodes(viewer)["/results/0/splats"].visible)
    assert "/results/0/board" in _nodes(viewer)
    camera = _camera(0)
    target = camera.unproject_pixels(np.array([20.0]), np.array([15.0]), np.array([3.0]))[0]
    viewer.masks._radius.value = 4
    viewer.masks._clicked(SimpleNamespace(client=None, ray_origin=camera.center, ray_direction=target - camera.center))
    mask = viewer.masks.edits().mask(0)
    rows, columns = np.nonzero(mask)
    assert abs(columns.mean() - 20) < 0.1 and abs(rows.mean() - 15) < 0.1 and 40 < mask.sum() < 60
    viewer.masks._mode.value = "erase (static)"
    viewer.masks.stroke(np.array([[20.5, 0.0], [20.5, 40.0]]))
    assert viewer.masks.edits().mask(0).sum() < mask.sum()
    assert viewer.masks.undo() == "" and viewer.masks.edits().mask(0).sum() == mask.sum()
    viewer.masks._reach.value = 2
    assert "2 frames" in viewer.masks.grow()
    assert viewer.masks.edits().frames == [0, 1, 2]
    assert "Saved 3 masks" in viewer.masks.save()
    saved = load_scene(run.scene_folder).motion_masks
    assert saved is not None
    np.testing.assert_array_equal(saved[2] > 0.5, mask > 0.5)
    assert saved[3].max() == 0
    viewer.masks.stop()
    _until(lambda: _nodes(viewer)["/results/0/splats"].visible)


def test_a_stroke_by_dragging(viewer):
    viewer.masks.start()
    camera = _camera(0)
    client = SimpleNamespace(camera=SimpleNamespace(position=tuple(camera.center)))
    ends = camera.unproject_pixels(np.array([10.0, 30.0]), np.array([15.0, 15.0]), np.array([1.0, 1.0]))
    for phase, end in (("start", ends[0]), ("update", ends[1]), ("end", ends[1])):
        viewer.masks._dragged(SimpleNamespace(client=client, phase=phase, start_position=ends[0], end_position=end))
    mask = viewer.masks.edits().mask(0)
    assert mask[15, 10:31].min() == 1 and mask[15, 5] == 1 and mask[:, 44:].max() == 0


def test_files_to_download(viewer, run, tmp_path):
    told: list = []
    client = SimpleNamespace(
        send_file_download=lambda name, content: told.append((name, content)),
        add_notification=lambda *words, **more: told.append(words),
    )
    viewer._download(client)
    name, content = told.pop()
    assert name == "walk.ply"
    (tmp_path / "read.ply").write_bytes(content)
    read = load_ply(tmp_path / "read.ply")
    torch.testing.assert_close(read.means, run.gaussians.means)
    viewer._format.value = "nerfstudio"
    viewer._download(client)
    name, content = told.pop()
    assert name == "walk-nerfstudio.zip" and "transforms.json" in zipfile.ZipFile(io.BytesIO(content)).namelist()


def test_a_render_that_vanishes_is_a_sentence_and_not_the_end(viewer, run):
    run.renders[5].unlink()
    viewer._frame.value = 5
    _until(lambda: "5.png" in viewer._status.content)
    viewer._frame.value = 1
    _until(lambda: "frame 1 of 6" in viewer._status.content)


@pytest.mark.parametrize(("scale", "offset"), [(1e-4, (0, 0, 0)), (1e6, (0, 0, 0)), (1.0, (500000, 4500000, 100))])
def test_scenes_of_any_size_and_place(run: Result, scale: float, offset: tuple[float, ...]) -> None:
    """They are shown in a frame that suits browsers; measures and files are in the coordinates of the scene."""
    place = Similarity(scale, np.eye(3), np.array(offset, float))
    far = placed(run, place)
    with ResultViewer([run], port=0) as usual, ResultViewer([far], port=0) as viewer:
        ours, theirs = next(iter(usual.nodes.values())), next(iter(viewer.nodes.values()))
        unit = viewer._world_from_window.scale / scale
        assert 0.02 < theirs.depth < 64 and abs(theirs.depth * unit / ours.depth - 1) < 0.01
        first = np.asarray(theirs.frames[0].root.position)
        assert np.abs(first).max() < 64
        second = np.asarray(theirs.frames[3].root.position)
        expected = np.asarray(ours.frames[3].root.position) - np.asarray(ours.frames[0].root.position)
        np.testing.assert_allclose((second - first) * unit, expected, atol=1e-5)
        spread = np.ptp(theirs.pickable(), axis=0) * unit
        np.testing.assert_allclose(spread, np.ptp(ours.pickable(), axis=0), rtol=1e-3)
        points = theirs.pickable()[[0, 40]]
        viewer.measuring._ends = []
        for point in points:
            viewer.measuring.pick(point - [0, 0, 1e-3 / unit], np.array([0.0, 0.0, 1.0]))
        if "Distance" in viewer.measuring.answer.content:
            said = float(viewer.measuring.answer.content.split("**")[1])
            assert 0.02 * scale < said < 100 * scale
        name, content = download(viewer._given[viewer._chosen.value], "tum")
        center = [float(word) for word in content.decode().splitlines()[1].split()[1:4]]
        np.testing.assert_allclose(center, far.cameras[0].center, rtol=0, atol=1e-9 * max(1, scale))
        viewer.show_splats(far.gaussians)  # type: ignore[arg-type]
        np.testing.assert_allclose(np.ptp(theirs.pickable(), axis=0) * unit, spread, rtol=1e-5)
    assert placed(run, Similarity.identity()) is run
