"""Clips with cuts, black frames and borders, in every command."""

import json
import shutil

import numpy as np
import pytest

from dynamic_predictor.launch import main as launch
from dynamic_predictor.specs import registered
from scene.folder import load_scene
from scene.images import write_png
from scene.observed import unobserved_frames
from scene.video import write_video
from tests.dynamic_predictor.footage.made_clips import HEIGHT, WIDTH, pan
from tests.dynamic_predictor.toy_predictor import SPEC
from tests.stillsplat.stand_ins import fake_spec

TOY = ("--predictor", "toy")


@pytest.fixture
def with_cut(tmp_path):
    path = tmp_path / "cut.mp4"
    write_video(path, np.concatenate([pan(1, 8), pan(2, 12)]), 24)
    return path


def test_run_makes_a_run_of_each_shot_and_one_page(with_cut, tmp_path, fakes, run_cli):
    out = tmp_path / "out"
    arguments = ("run", with_cut, "-o", out, "--predictor", "fake", "--iterations", 5)
    status, output, error = run_cli(*arguments)
    assert status == 0, error
    assert "has 2 shots (frames 0 to 7, 8 to 19)" in error and str(out / "report.html") in output.replace("\n", "")
    for number, frames in ((1, range(8)), (2, range(8, 20))):
        scene = load_scene(out / f"shot-{number:02d}" / "scene")
        assert scene.provenance["source_frames"] == list(frames)
        assert any(f"This is shot {number}." in sentence for sentence in scene.provenance["warnings"])
        assert (out / f"shot-{number:02d}" / "report.html").is_file()
    page = (out / "report.html").read_text("utf-8")
    assert "shot-01/report.html" in page and "shot-02/report.html" in page and "has 2 shots" in page
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["frames"] == 20 and metrics["shots"] == ["shot-01", "shot-02"]
    assert not (out / ".working").exists()
    status, _, error = run_cli("report", out)
    assert status == 2 and "one for each shot" in error and str(out / "shot-01") in error


def test_a_run_of_shots_is_resumed_refused_and_replaced(with_cut, tmp_path, fakes, run_cli):
    out = tmp_path / "out"
    arguments = ("run", with_cut, "-o", out, "--predictor", "fake", "--iterations", 5)
    assert run_cli(*arguments)[0] == 0
    first, second = len(fakes.calls), (out / "shot-02" / "run.json").read_text()
    (out / "shot-01" / "run.json").unlink()
    status, _, error = run_cli(*arguments)
    assert status == 2 and "--resume" in error
    shutil.rmtree(out / "shot-01")
    status, _, error = run_cli(*arguments, "--resume")
    assert status == 0, error
    # only the shot that was missing is made again
    assert len(fakes.calls) == first + 1 and (out / "shot-01" / "splats.ply").exists()
    assert (
        json.loads(second)["stages"]["optimize"]
        == json.loads((out / "shot-02" / "run.json").read_text())["stages"]["optimize"]
    )
    assert run_cli(*arguments, "--resume", "--max-size", 64)[0] == 2
    status, _, error = run_cli(*arguments, "--overwrite", "--shot", "longest")
    assert status == 0, error
    assert not (out / "shot-01").exists() and len(load_scene(out / "scene").frames) == 12


@pytest.mark.parametrize(("shot", "frames"), [("1", range(8)), ("longest", range(8, 20)), ("whole", range(20))])
def test_shot_chooses(with_cut, tmp_path, run_cli, shot, frames):
    with registered(SPEC):
        status, _, error = run_cli("predict", with_cut, "-o", tmp_path / "scene", "--shot", shot, *TOY)
    assert status == 0, error
    assert load_scene(tmp_path / "scene").provenance["source_frames"] == list(frames)


@pytest.mark.parametrize(
    ("shot", "words"), [("3", "has 2 shots, so there is no --shot 3"), ("0", "--shot"), ("last", '--shot is "last"')]
)
def test_a_shot_that_is_not_there_is_one_sentence(with_cut, tmp_path, run_cli, shot, words):
    with registered(SPEC):
        status, _, error = run_cli("predict", with_cut, "-o", tmp_path / "scene", "--shot", shot, *TOY)
    assert status == 2 and words in error and not (tmp_path / "scene").exists()


def test_predict_poses_depth_and_launch_do_each_shot(with_cut, tmp_path, run_cli):
    with registered(SPEC):
        for command in ("predict", "poses", "depth"):
            status, output, error = run_cli(command, with_cut, "-o", tmp_path / command, *TOY)
            assert status == 0, error
            assert "has 2 shots" in error and "shot-02" in output
        frames = tmp_path / "frames"
        frames.mkdir()
        for index, image in enumerate(np.concatenate([pan(1, 8), pan(2, 12)])):
            write_png(frames / f"{index:03d}.png", image)
        folders = [f"--dir_path={frames}", f"--output_dir={tmp_path / 'launch'}"]
        assert launch(["--mode=eval_pose_custom", "--predictor=toy", "--silent", *folders]) == 0
    for command in ("predict", "poses", "launch"):
        for number, count in ((1, 8), (2, 12)):
            scene = load_scene(tmp_path / command / f"shot-{number:02d}")
            assert len(scene.frames) == count
            np.testing.assert_allclose([one.center[0] for one in scene.cameras], 0.1 * np.arange(count), atol=1e-9)
    assert not (tmp_path / "poses.part").exists()
    assert len(list((tmp_path / "depth" / "shot-02" / "depth").iterdir())) == 12
    with registered(SPEC):
        assert run_cli("predict", with_cut, "-o", tmp_path / "predict", *TOY)[0] == 2
        assert run_cli("poses", with_cut, "-o", tmp_path / "poses", *TOY)[0] == 2
        assert run_cli("predict", with_cut, "-o", tmp_path / "predict", "--overwrite", "--shot", "1", *TOY)[0] == 0
    assert not (tmp_path / "predict" / "shot-01").exists()


def test_black_frames_get_a_camera_and_nothing_else(tmp_path, run_cli):
    clip = pan(1, 16)
    clip[6:8] = 0
    write_video(tmp_path / "black.mp4", clip, 24)
    with registered(SPEC):
        status, _, error = run_cli("predict", tmp_path / "black.mp4", "-o", tmp_path / "scene", *TOY)
    assert status == 0 and "Frames 6 to 7 of" in error and "are black" in error
    scene = load_scene(tmp_path / "scene")
    centers = np.array([camera.center[0] for camera in scene.cameras])
    # the toy's camera goes on by .1 in each frame that it is given; a cubic leads through .4, .5, .6 and .7
    np.testing.assert_allclose(centers[[5, 6, 7, 8, 15]], [0.5, 0.54, 0.56, 0.6, 1.3], atol=1e-6)
    assert unobserved_frames(scene.observed) == [6, 7] == scene.provenance["interpolated_cameras"]
    assert scene.z_depths is not None and not scene.z_depths[6].any() and (scene.z_depths[8] == 3).all()
    assert scene.provenance["source_frames"] == list(range(16))
    with registered(SPEC):
        assert run_cli("predict", tmp_path / "black.mp4", "-o", tmp_path / "all", "--keep-everything", *TOY)[0] == 0
    assert load_scene(tmp_path / "all").observed is None


def test_borders_are_cut_off_for_the_predictor_and_given_back_empty(tmp_path, run_cli):
    clip = np.pad(pan(1, 16, step=6.0), ((0, 0), (16, 16), (0, 0), (0, 0)))
    write_video(tmp_path / "letterbox.mp4", clip, 24)
    with registered(SPEC):
        status, _, error = run_cli("predict", tmp_path / "letterbox.mp4", "-o", tmp_path / "scene", *TOY)
    assert status == 0 and "has a border" in error
    scene = load_scene(tmp_path / "scene")
    assert (scene.frames.width, scene.frames.height) == (WIDTH, HEIGHT + 32)
    assert scene.observed is not None and scene.z_depths is not None
    assert not scene.observed[3][:15].any() and not scene.z_depths[3][:15].any()
    assert scene.observed[3][20:-20].all() and (scene.z_depths[3][20:-20] == 3).all()
    assert scene.cameras[0].cy == pytest.approx(HEIGHT / 2 + 16, abs=2)


def test_masks_of_the_whole_clip_follow_the_frames(tmp_path, run_cli):
    clip = np.concatenate([pan(1, 8), pan(2, 8)])
    clip[11] = 0
    write_video(tmp_path / "clip.mp4", clip, 24)
    (tmp_path / "masks").mkdir()
    for index in range(16):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[10:40, 4 * index : 4 * index + 20] = 255
        write_png(tmp_path / "masks" / f"{index:03d}.png", mask)
    arguments = ("predict", tmp_path / "clip.mp4", "-o", tmp_path / "scene", "--masks", tmp_path / "masks")
    with registered(fake_spec("fake")):
        status, _, error = run_cli(*arguments, "--predictor", "fake")
    assert status == 0, error
    masks = load_scene(tmp_path / "scene" / "shot-02").motion_masks
    assert masks is not None and not masks[3].any()
    assert all(np.flatnonzero(masks[index].any(axis=0))[0] == 4 * (8 + index) for index in (0, 2, 4, 7))
