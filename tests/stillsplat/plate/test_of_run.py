"""The stage in a run, the command for a finished run, and what becomes of bad input."""

import json
import shutil

import cv2
import numpy as np
import pytest

from tests.stillsplat.stand_ins import clip_images, write_clip


@pytest.fixture
def finished(clip, tmp_path, fakes, run_cli):
    """A finished run without a plate, whose frames are half as large as those of the clip."""
    out = tmp_path / "out"
    status, _, error = run_cli(
        "run", clip, "-o", out, "--predictor", "fake", "--iterations", 5, "--no-plate", "--max-size", 32
    )
    assert status == 0, error
    assert not (out / "plate").exists()
    return out


def test_a_plate_afterwards(clip, finished, run_cli):
    status, output, error = run_cli("plate", finished)
    assert status == 0, error
    assert "64x40" in output
    assert sorted(path.name for path in (finished / "plate").iterdir()) == [f"frame{index}.png" for index in range(8)]
    for index in range(8):
        plate, own = (cv2.imread(str(folder / f"frame{index}.png")) for folder in (finished / "plate", clip))
        kept = cv2.imread(str(finished / "mattes" / f"frame{index}.png"), 0) == 0
        assert plate.shape == own.shape == (40, 64, 3) and np.array_equal(plate[kept], own[kept])
    stage = json.loads((finished / "run.json").read_text())["stages"]["plate"]
    assert stage["format"] == "png" and stage["size"] == [64, 40] and stage["sound"] is False
    assert (finished / "plate.mp4").stat().st_size > 0 and len((finished / "plate.chan").read_text().splitlines()) == 8


def test_exr(finished, run_cli):
    openexr = pytest.importorskip("OpenEXR")
    assert run_cli("plate", finished, "--plate-format", "exr", "--fill", "none")[0] == 0
    with openexr.File(str(finished / "plate" / "frame3.exr"), separate_channels=True) as file:
        assert {"R", "G", "B", "A", "matte.Y", "shadow.Y", "invented.Y", "depth.Z"} == set(file.channels())


def test_the_run_goes_on_without_its_clip(clip, finished, run_cli, tmp_path):
    moved = tmp_path / "moved"
    shutil.move(clip, moved)
    status, _, error = run_cli("plate", finished)
    assert status == 2 and "does not exist" in error and not (finished / "plate").exists()
    assert run_cli("plate", finished, "--input", moved)[0] == 0


def test_another_clip_is_refused(clip, finished, run_cli, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for index in range(8):
        cv2.imwrite(str(other / f"{index}.png"), np.full((40, 64, 3), 10 + index, np.uint8))
    status, _, error = run_cli("plate", finished, "--input", other)
    assert status == 2 and "not those of the run" in error
    for path in sorted(clip.iterdir())[3:]:
        path.unlink()
    status, _, error = run_cli("plate", finished)
    assert status == 2 and "has 3 images" in error and not (finished / "plate").exists()


def test_a_run_without_a_readable_clip_is_valid(clip, tmp_path, fakes, run_cli, monkeypatch):
    from scene.errors import InputError
    from stillsplat.plate import stage

    def refuse(*arguments, **named):
        raise InputError("The clip is gone.")

    monkeypatch.setattr(stage, "make_plate", refuse)
    out = tmp_path / "out"
    status, _, error = run_cli("run", clip, "-o", out, "--predictor", "fake", "--iterations", 5)
    assert status == 0 and "There is no plate: The clip is gone." in error and (out / "report.html").exists()
    monkeypatch.undo()


def test_options_without_sense(finished, run_cli):
    assert run_cli("plate", finished, "--plate-start", -1)[0] == 2
    assert run_cli("plate", finished, "--plate-format", "tga")[0] == 2
    assert run_cli("plate", finished.parent / "nowhere")[0] == 2


@pytest.mark.parametrize(("width", "height"), [(63, 37), (38, 66)])
def test_odd_and_upright_sizes(width, height, tmp_path, fakes, run_cli):
    clip = write_clip(tmp_path / "clip", clip_images(width=width, height=height))
    out = tmp_path / "out"
    status, _, error = run_cli("run", clip, "-o", out, "--predictor", "fake", "--iterations", 5, "--max-size", 32)
    assert status == 0, error
    plate, matte = cv2.imread(str(out / "plate" / "frame4.png")), cv2.imread(str(out / "mattes" / "frame4.png"), 0)
    own = cv2.imread(str(clip / "frame4.png"))
    assert plate.shape == (height, width, 3) and np.array_equal(plate[matte == 0], own[matte == 0])
    # frames of a video have even sides
    video = cv2.VideoCapture(str(out / "plate.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 8 and video.get(cv2.CAP_PROP_FRAME_WIDTH) in (
        width,
        width - 1,
        width + 1,
    )


def test_sixteen_bits_stay_sixteen_bits(tmp_path, fakes, run_cli):
    deep = [image.astype(np.uint16) * 257 + (np.arange(64) * 3).astype(np.uint16)[:, None] for image in clip_images()]
    clip = write_clip(tmp_path / "clip", [np.minimum(image, 65000).astype(np.uint16) for image in deep])
    out = tmp_path / "out"
    status, _, error = run_cli("run", clip, "-o", out, "--predictor", "fake", "--iterations", 5)
    assert status == 0, error
    plate, own = (cv2.imread(str(folder / "frame4.png"), cv2.IMREAD_UNCHANGED) for folder in (out / "plate", clip))
    matte = cv2.imread(str(out / "mattes" / "frame4.png"), 0)
    assert plate.dtype == np.uint16 and np.array_equal(plate[matte == 0], own[matte == 0])
    # what was fetched is not that of 8 bits either
    assert (matte == 255).any() and (plate[matte == 255] % 257 != 0).any()


def test_all_of_a_frame_moves(clip, finished, run_cli):
    for index in range(8):
        mask = finished / "scene" / "motion_masks" / f"{index:05d}.png"
        cv2.imwrite(str(mask), np.full_like(cv2.imread(str(mask), 0), 255))
    for fill in ("none", "render", "synthesis"):
        status, _, error = run_cli("plate", finished, "--fill", fill)
        assert status == 0 and "replaced nearly everywhere" in error, error
    assert cv2.imread(str(finished / "plate" / "frame3.png")).shape == (40, 64, 3)


def test_a_folder_that_cannot_be_written(finished, run_cli, monkeypatch):
    from stillsplat.plate import stage

    def full(*arguments):
        raise OSError(28, "No space left on device")

    run_cli("plate", finished)
    before = (finished / "plate" / "frame0.png").read_bytes()
    monkeypatch.setattr(stage, "_write_frame", full)
    status, _, error = run_cli("plate", finished)
    assert status == 2 and "cannot be written: the disk is full" in error
    assert (finished / "plate" / "frame0.png").read_bytes() == before
    assert not [path.name for path in finished.iterdir() if "plate" in path.name and path.name.startswith(".")]


def test_without_openexr(finished, run_cli, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    status, _, error = run_cli("plate", finished, "--plate-format", "exr")
    assert status == 2 and "need the package OpenEXR" in error and not (finished / "plate").exists()
