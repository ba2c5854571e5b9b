"""`stillsplat run` from end to end, with the slow parts replaced: what is written, resumed, replaced and refused."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from dynamic_predictor.contract import Prediction
from dynamic_predictor.specs import registered
from scene import folder, images
from stillsplat.settings import RunSettings
from tests.stillsplat.stand_ins import fake_spec


def entries(folder):
    return sorted(path.name for path in folder.iterdir())


PROMISED = [
    "clean.mp4", "compare.mp4", "invented", "mattes", "metrics.json", "model", "plate", "plate.chan", "plate.mp4",
    "renders", "report.html", "run.json", "scene", "seen", "shadows", "splats.ply",
]  # fmt: skip


def test_writes_everything_it_promises(clip, tmp_path, fakes, run_cli):
    out = tmp_path / "deep" / "out"
    status, output, error = run_cli("run", clip, "-o", out, "--predictor", "fake", "--iterations", 5, "--test-every", 4)
    assert status == 0, error
    assert entries(out) == PROMISED
    assert "psnr_static" in output and str(out / "report.html") in output
    assert "This is a fake predictor." in error
    assert entries(out / "renders") == [f"{index:05d}.png" for index in range(8)]
    assert cv2.imread(str(out / "renders" / "00000.png")).shape == (40, 64, 3)
    assert (out / "scene" / "cameras_predicted.json").exists()
    metrics = json.loads((out / "metrics.json").read_text())
    held_out = metrics["scores"]["held_out"]["psnr_static"]
    assert held_out["frames"] == len(metrics["split"]["held_out"]) == 2
    assert held_out["masks"] == "predicted masks" and held_out["protocol"].startswith("psnr_static")
    assert "cameras of held-out frames: of the predictor, never moved" in held_out["protocol"]
    assert held_out["code"].startswith("stillsplat ")
    assert metrics["scores"]["training"]["psnr_static"]["frames"] == 6
    assert metrics["scores"]["held_out"]["lpips"]["value"] is None or metrics["notes"] == []
    for video, width in (("clean.mp4", 64), ("compare.mp4", 192)):
        capture = cv2.VideoCapture(str(out / video))
        assert (capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)) == (width, 40)
        assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 8


def test_report_stands_alone(clip, tmp_path, fakes, run_cli):
    out = tmp_path / "out"
    assert run_cli("run", clip, "-o", out, "--predictor", "fake")[0] == 0
    html = (out / "report.html").read_text("utf-8")
    assert len(html) < 8_000_000
    for outside in ("http://", "https://", "<link", 'src="/', "@import"):
        assert outside not in html.replace("http://www.w3.org/2000/svg", ""), outside
    for inside in (
        "With and without",
        "Frame by frame",
        "The camera",
        "psnr_static",
        "Settings",
        "<svg",
        "fake predictor",
    ):
        assert inside in html, inside
    os.remove(out / "report.html")
    assert run_cli("report", out)[0] == 0
    assert (out / "report.html").exists()


def test_scores_equal_their_definition(clip, tmp_path, fakes, run_cli):
    out = tmp_path / "out"
    assert run_cli("run", clip, "-o", out, "--predictor", "fake")[0] == 0
    values = []
    for index in range(8):
        image = cv2.imread(str(clip / f"frame{index}.png")).astype(float) / 255
        rendered = cv2.imread(str(out / "renders" / f"{index:05d}.png")).astype(float) / 255
        static = cv2.imread(str(out / "scene" / "motion_masks" / f"{index:05d}.png"), 0) < 128
        values.append(-10 * np.log10(np.mean((image - rendered)[static] ** 2)))
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["scores"]["training"]["psnr_static"]["value"] == pytest.approx(np.mean(values), abs=1e-5)


def test_das3r_protocol(clip, tmp_path, fakes, run_cli):
    masks = tmp_path / "annotations"
    masks.mkdir()
    for index in range(8):
        mask = np.zeros((80, 128), np.uint8)
        mask[20:40, 6 + 8 * index : 26 + 8 * index] = 255
        cv2.imwrite(str(masks / f"{index:05d}.png"), mask)
    out = tmp_path / "out"
    status, _, error = run_cli(
        "run", clip, "-o", out, "--predictor", "fake", "--protocol", "das3r", "--annotations", masks
    )
    assert status == 0, error
    call = fakes.calls[-1]
    assert call["settings"].iterations == 4000 and call["settings"].protocol == "das3r" and call["annotations"]
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["split"]["held_out"] == [5] and metrics["protocol_deviations"] == []
    entry = metrics["scores"]["held_out"]["psnr_das3r"]
    assert entry["masks"] == "annotations" and entry["protocol"].startswith("psnr_das3r: ")
    assert metrics["scores"]["all"]["mask_iou"]["value"] == pytest.approx(1.0)
    assert metrics["scores"]["all"]["mask_j"]["frames"] == 8
    status, _, _ = run_cli(
        "run", clip, "-o", tmp_path / "other", "--predictor", "fake", "--protocol", "das3r", "--iterations", 7
    )
    entry = json.loads((tmp_path / "other" / "metrics.json").read_text())["scores"]["held_out"]["psnr_das3r"]
    assert status == 0 and entry["masks"] == "predicted masks"
    assert entry["protocol"].startswith("psnr_das3r with predicted masks in place of annotations")
    assert "7 iterations" in entry["protocol"]


def test_resume_repeats_nothing_that_is_finished(clip, tmp_path, fakes, run_cli):
    from tests.stillsplat.stand_ins import FakePredictor

    out = tmp_path / "out"
    command = ("run", clip, "-o", out, "--predictor", "fake", "--iterations", 5)
    fakes.error = KeyboardInterrupt()
    status, _, error = run_cli(*command)
    assert status == 130 and "--resume" in error and error.count("\n") <= 20 and "Traceback" not in error
    assert entries(out) == ["model", "run.json", "scene"]
    fakes.error = None
    status, _, error = run_cli(*command)
    assert status == 2 and "exists already" in error and "--resume" in error
    status, _, error = run_cli(*command[:-1], 6, "--resume")
    assert status == 2 and "--iterations" in error
    status, _, error = run_cli(*command, "--resume")
    assert status == 0, error
    assert FakePredictor.calls == 1 and fakes.calls[-1]["resume"] is True
    assert entries(out) == PROMISED
    runs = len(fakes.calls)
    assert run_cli(*command, "--resume")[0] == 0
    assert len(fakes.calls) == runs


def test_interrupted_before_anything_is_finished_leaves_nothing(clip, tmp_path, fakes, run_cli, monkeypatch):
    from tests.stillsplat.stand_ins import FakePredictor

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(FakePredictor, "predict", interrupted)
    status, _, error = run_cli("run", clip, "-o", tmp_path / "a" / "b", "--predictor", "fake")
    assert status == 130 and "nothing" in error
    assert not (tmp_path / "a").exists()


def test_overwrite_replaces_a_run_and_nothing_else(clip, tmp_path, fakes, run_cli):
    out = tmp_path / "out"
    assert run_cli("run", clip, "-o", out, "--predictor", "fake")[0] == 0
    (out / "mark").write_text("old")
    status, _, error = run_cli("run", tmp_path / "nowhere", "-o", out, "--predictor", "fake", "--overwrite")
    assert status == 2 and "does not exist" in error
    assert (out / "mark").exists() and (out / "report.html").exists(), "a mistake must not cost the earlier results"
    assert run_cli("run", clip, "-o", out, "--predictor", "fake", "--overwrite")[0] == 0
    assert entries(out) == PROMISED
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    status, _, error = run_cli("run", clip, "-o", precious, "--predictor", "fake", "--overwrite")
    assert status == 2 and "left alone" in error and (precious / "thesis.txt").exists()
    status, _, error = run_cli("run", clip, "-o", tmp_path, "--predictor", "fake", "--overwrite")
    assert status == 2 and clip.exists()


def test_users_masks_win(clip, tmp_path, fakes, run_cli):
    masks = tmp_path / "masks"
    masks.mkdir()
    for index in range(8):
        mask = np.zeros((40, 64), np.uint8)
        mask[:, :32] = 255
        cv2.imwrite(str(masks / f"{index}.png"), mask)
    out = tmp_path / "out"
    status, _, error = run_cli("run", clip, "-o", out, "--predictor", "fake", "--masks", masks, "--frames", "1:7:2")
    assert status == 0, error
    saved = cv2.imread(str(out / "scene" / "motion_masks" / "00000.png"), 0)
    assert (saved[:, :32] == 255).all() and (saved[:, 32:] == 0).all()
    scene = json.loads((out / "scene" / "scene.json").read_text())
    assert scene["provenance"]["source_frames"] == [1, 3, 5]
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["scores"]["training"]["psnr_static"]["masks"] == "masks given by the user"


def test_masks_of_another_predictor(clip, tmp_path, fakes, run_cli):
    class LeftHalf:
        def predict(self, views, *, progress=None):
            assert views.motion_masks is None
            left = np.zeros((len(views), views.frames.height, views.frames.width), np.float32)
            left[..., :32] = 1.0
            return Prediction(z_depth=left + 1, confidence=left, motion=left)

    out = tmp_path / "out"
    with registered(fake_spec("left", LeftHalf)):
        status, _, error = run_cli("run", clip, "-o", out, "--predictor", "fake", "--masks-from", "left")
    assert status == 0, error
    saved = cv2.imread(str(out / "scene" / "motion_masks" / "00000.png"), 0)
    assert (saved[:, :32] == 255).all() and (saved[:, 32:] == 0).all()
    scene = json.loads((out / "scene" / "scene.json").read_text())
    assert scene["predictor"] == "fake" and scene["provenance"]["masks"] == "predicted (left)"
    status, _, error = run_cli("run", clip, "-o", out, "--masks-from", "right")
    assert status == 2 and '"right"' in error
    status, _, error = run_cli("run", clip, "-o", out, "--masks-from", "left", "--masks", tmp_path)
    assert status == 2 and "only one of them" in error


def test_settings_record_and_compare():
    settings = RunSettings("a", protocol="das3r")
    assert RunSettings.from_dict(settings.to_dict()) == settings
    assert settings.resolved().iterations == 4000 and settings.resolved().frames == "0:50"
    assert settings.differences(RunSettings("a", protocol="das3r", iterations=4000, annotations="x")) == []
    different = settings.differences(RunSettings("b", seed=3))
    assert set(different) == {"the input", "--frames", "--max-size", "--protocol", "--seed"}


def test_a_scene_folder_is_taken_as_it_is(clip, tmp_path, fakes, run_cli):
    from tests.stillsplat.stand_ins import FakePredictor

    scene = tmp_path / "scene"
    status, output, error = run_cli("predict", clip, "-o", scene, "--predictor", "fake", "--frames", "0:6")
    assert status == 0 and str(scene) in output, error
    assert "exists already" in run_cli("predict", clip, "-o", scene, "--predictor", "fake")[2]
    out = tmp_path / "out"
    status, _, error = run_cli("run", scene, "-o", out, "--predictor", "fake")
    assert status == 0 and FakePredictor.calls == 1, error
    assert entries(out) == PROMISED and len(entries(out / "renders")) == 6
    assert "This is a fake predictor." in error
    assert run_cli("run", scene, "-o", tmp_path / "other", "--frames", "0:3")[0] == 2
    (scene / "depth" / "00002.npz").unlink()
    status, _, error = run_cli("run", scene, "-o", tmp_path / "other")
    assert status == 2 and "00002.npz" in error and not (tmp_path / "other").exists()
    (scene / "scene.json").write_text("{")
    status, _, error = run_cli("run", scene, "-o", tmp_path / "other")
    assert status == 2 and "scene.json" in error and error.count("\n") == 1


@pytest.mark.parametrize("option", [["--fps", 15], ["--frames", "0:8:2"]])
def test_masks_and_truth_of_the_whole_clip_for_a_part_of_its_frames(option, clip, tmp_path, fakes, run_cli):
    masks = tmp_path / "masks"
    masks.mkdir()
    for index in range(8):
        cv2.imwrite(str(masks / f"{index}.png"), np.full((40, 64), 255 * (index == 4), np.uint8))
    given = ["--masks", masks, "--annotations", masks]
    status, _, error = run_cli("run", clip, "-o", tmp_path / "out", "--predictor", "fake", *option, *given)
    assert status == 0, error
    scene = folder.load_scene(tmp_path / "out" / "scene")
    assert scene.provenance["source_frames"] == [0, 2, 4, 6]
    assert [bool(scene.motion_masks[index].any()) for index in range(4)] == [False, False, True, False]


def test_every_frame_is_read_once_and_every_image_written_once(clip, tmp_path, fakes, run_cli, monkeypatch):
    read, encoded, loaded = [], [], []
    read_layers, imencode, load_scene = images.read_layers, cv2.imencode, folder.load_scene

    def counted_read(path, **options):
        read.append(Path(path))
        return read_layers(path, **options)

    def counted_encode(suffix, pixels, *rest):
        if suffix == ".png":
            encoded.append(pixels.ndim)
        return imencode(suffix, pixels, *rest)

    def counted_load(place):
        loaded.append(place)
        return load_scene(place)

    monkeypatch.setattr("dynamic_predictor.driver.sources.read_layers", counted_read)
    monkeypatch.setattr(cv2, "imencode", counted_encode)
    for module in ("stillsplat.reconstruct", "stillsplat.report.material", "scene.folder"):
        monkeypatch.setattr(f"{module}.load_scene", counted_load)
    status, _, error = run_cli("run", clip, "-o", tmp_path / "out", "--predictor", "fake", "--export", "nerfstudio")
    assert status == 0, error
    assert sorted(read) == sorted(clip.iterdir())
    assert encoded.count(3) == 8 + 8 + 8  # frames, renders, plates
    # motion masks, those of nerfstudio, where black is what moves, what was never seen; of the plate mattes, shadows
    # and what was invented
    assert encoded.count(2) == 8 + 8 + 6 + 3 * 8
    assert len(loaded) == 1
    exported = tmp_path / "out" / "export" / "images" / "00003.png"
    assert exported.samefile(tmp_path / "out" / "scene" / "images" / "00003.png")
