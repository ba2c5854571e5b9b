"""Comparisons of small runs: what may be compared, the common score, the page, and one clip with several predictors."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from dynamic_predictor.contract import Prediction
from dynamic_predictor.evaluation.distribution import OneProcess
from dynamic_predictor.specs import registered
from scene.errors import InputError
from scene.images import read_image
from stillsplat.comparison.page import compare, write_page
from stillsplat.comparison.predictors import run_predictors
from stillsplat.settings import RunSettings
from tests.stillsplat.parsed_page import Page
from tests.stillsplat.stand_ins import FakePredictor, clip_images, fake_spec, write_clip


class LeftHalf(FakePredictor):
    """The fake predictor with other masks, in another world."""

    def predict(self, views, *, progress=lambda stage, done, total: None):
        found = super().predict(views, progress=progress)
        left = np.zeros((len(views), views.frames.height, views.frames.width), np.float32)
        left[..., :32] = 1.0
        poses = np.array(found.world_from_camera)
        poses[:, :3, 3] = 3 * poses[:, :3, 3] + [1.0, 2.0, 3.0]
        return Prediction(
            z_depth=3 * np.asarray(found.z_depth),
            confidence=found.confidence,
            world_from_camera=poses,
            intrinsics=found.intrinsics,
            motion=left,
        )


@pytest.fixture
def runs(clip, tmp_path, fakes, run_cli):
    """run(name, *options) -> a run folder of the clip."""

    def make(name: str, *options, source=clip) -> Path:
        out = tmp_path / name
        with registered(fake_spec("left", LeftHalf)):
            status, _, error = run_cli("run", source, "-o", out, "--predictor", "fake", *options)
        assert status == 0, error
        return out

    return make


def rows(comparison, heading: str = "Scores") -> dict:
    return {row.name: row for row in comparison.tables[heading]}


def test_two_seeds_are_comparable(runs, tmp_path, run_cli) -> None:
    first, second = runs("a", "--test-every", 4), runs("b", "--test-every", 4, "--seed", 3)
    renders = sorted((second / "renders").iterdir())
    for path in renders:  # the second run is nearer to the input
        mean = (read_image(path).astype(int) + read_image(first / "scene" / "images" / path.name)) // 2
        cv2.imwrite(str(path), mean[..., ::-1].astype(np.uint8))
    metrics = json.loads((second / "metrics.json").read_text())
    metrics["scores"]["held_out"]["psnr_static"]["value"] += 5
    (second / "metrics.json").write_text(json.dumps(metrics))
    comparison = compare([first, second])
    found = rows(comparison)
    assert comparison.names == ["a", "b"] and comparison.notes == []
    assert found["psnr_static"].obstacle == "" and found["psnr_static_common"].best == (1,)
    held_out = [row for row in comparison.tables["Scores"] if row.name == "psnr_static" and "held-out" in row.over]
    assert held_out[0].best == (1,) and held_out[0].over == "2 held-out frames, predicted masks"
    # the common score by its definition, in numpy: held-out frames, pixels that are static in both runs
    values = []
    for index in json.loads((first / "metrics.json").read_text())["split"]["held_out"]:
        name = f"{index:05d}.png"
        image = read_image(first / "scene" / "images" / name) / 255.0
        static = cv2.imread(str(first / "scene" / "motion_masks" / name), 0) < 128
        error = image - read_image(second / "renders" / name) / 255.0
        values.append(-10 * np.log10(np.mean(error[static] ** 2)))
    assert found["psnr_static_common"].values[1] == f"{np.mean(values):.2f} dB"
    settings = rows(comparison, "Settings that differ")
    assert list(settings) == ["seed"] and settings["seed"].values == ["0", "3"]
    # the page stands alone
    page = write_page(comparison, tmp_path / "page.html")
    html = page.read_text("utf-8")
    for outside in ("http://", "https://", "<link", 'src="/', "@import"):
        assert outside not in html.replace("http://www.w3.org/2000/svg", ""), outside
    parsed = Page(page)
    sources = [image for image in parsed.images if image.startswith("data:image/jpeg;base64,")]
    assert len(sources) == 8 * 3, "input and two runs of each of eight frames"
    assert html.count("<polyline") == 4 and "psnr_static_common" in parsed.text and "★" in parsed.text
    status, output, error = run_cli("compare", first, second)
    assert status == 0 and "Settings that differ" in output and "Add -o compare.html" in output, error


def test_what_cannot_be_compared_says_so(runs, clip, tmp_path) -> None:
    first = runs("a", "--test-every", 4)
    masks = runs("masks", "--test-every", 4, "--masks-from", "left")
    protocol = runs("protocol", "--protocol", "das3r")
    part = runs("part", "--frames", "0:6", "--test-every", 4)
    found = rows(compare([first, masks]))
    assert "each run's own masks decide what is static" in found["psnr_static"].obstacle
    assert found["psnr_static"].best == () and found["psnr"].obstacle == ""
    assert found["psnr_static_common"].obstacle == ""
    assert "other frames" in rows(compare([first, protocol]))["psnr"].obstacle
    found = rows(compare([first, part]))
    assert "other frames" in found["psnr"].obstacle and found["psnr_static_common"].over.startswith("1 held-out frames")
    other = runs("other", source=write_clip(tmp_path / "second", [image[::-1].copy() for image in clip_images()]))
    comparison = compare([first, other])
    assert "other is of another clip than a" in comparison.notes[0]
    assert "psnr_static_common" not in rows(comparison) and "other clips" in rows(comparison)["psnr"].obstacle
    html = write_page(comparison, tmp_path / "page.html").read_text("utf-8")
    assert "<polyline" not in html and "<script" not in html and "other clips" in html


def test_paths_are_aligned(runs, tmp_path, fakes) -> None:
    """The second world is the first one, three times as large and moved: its path comes to lie on the first."""
    from stillsplat.comparison.trajectories import aligned_paths

    first = runs("a")
    second = runs("b", "--predictor", "left")
    comparison = compare([first, second])
    one, other = aligned_paths(comparison.runs, comparison.shared)
    assert np.allclose(one.centers, other.centers, atol=1e-6) and not np.allclose(
        one.centers, [camera.center for camera in comparison.runs[1].scene.cameras], atol=0.1
    )
    assert other.distance == pytest.approx(0, abs=1e-6) and other.rotation_degrees == pytest.approx(0, abs=1e-3)


def test_bad_input(runs, tmp_path) -> None:
    first = runs("a")
    for folders, words in (
        ([first], "two or more"),
        ([first, first], "given twice"),
        ([first, tmp_path / "nowhere"], "does not exist"),
        ([first, tmp_path], "is not the output folder"),
    ):
        with pytest.raises(InputError, match=words):
            compare(folders)
    unfinished = runs("b")
    (unfinished / "metrics.json").unlink()
    with pytest.raises(InputError, match="is not finished; resume it first"):
        compare([first, unfinished])


def test_one_clip_with_several_predictors(clip, tmp_path, fakes, run_cli) -> None:
    class Failing(FakePredictor):
        def predict(self, views, *, progress=lambda stage, done, total: None):
            raise InputError("The weights of failing are missing.")

    settings, out = RunSettings(str(clip), iterations=5, predictor="fake,left,failing"), tmp_path / "out"
    with registered(fake_spec("left", LeftHalf)), registered(fake_spec("failing", Failing)):
        result, comparison = run_predictors(
            settings, ["fake", "left", "failing"], out, engine=lambda folder: OneProcess()
        )
        assert result.failures == {"failing": "The weights of failing are missing."}
        assert comparison is not None and comparison.names == ["fake", "left"]
        assert (out / "compare.html").exists() and (out / "left" / "report.html").exists()
        assert rows(comparison, "Settings that differ")["predictor"].values == ["fake", "left"]
        with pytest.raises(InputError, match="exists already; --resume"):
            run_predictors(settings, ["fake", "left"], out)
        calls = FakePredictor.calls
        result, _ = run_predictors(settings, ["fake", "left"], out, resume=True, engine=lambda folder: OneProcess())
        assert not result.failures and FakePredictor.calls == calls
    for options, words in (
        (["--predictor", "geometric,nonsense"], "nonsense"),
        (["--predictor", "geometric,geometric"], "names a predictor twice"),
        (["--predictor", "geometric,da3-large", "--weights", "x"], "--weights is for one predictor"),
    ):
        status, _, error = run_cli("run", clip, "-o", tmp_path / "other", *options)
        assert status == 2 and words in error and error.count("\n") == 1, error
    assert not (tmp_path / "other").exists()


def test_depth_of_a_third(clip, tmp_path, fakes, run_cli) -> None:
    """--depths-from: cameras of one predictor, depth of another in their scale."""

    class Slope(FakePredictor):
        def predict(self, views, *, progress=lambda stage, done, total: None):
            found = super().predict(views, progress=progress)
            slope = np.broadcast_to(np.linspace(1.0, 2.0, views.frames.width, dtype=np.float32), found.z_depth.shape)
            return Prediction(z_depth=slope, confidence=np.ones_like(slope))

    with registered(fake_spec("slope", Slope, cameras=False)):
        out = tmp_path / "out"
        status, _, error = run_cli("run", clip, "-o", out, "--predictor", "fake", "--depths-from", "slope")
        assert status == 0, error
        depth = np.load(out / "scene" / "depth" / "00000.npz")
        static = cv2.imread(str(out / "scene" / "motion_masks" / "00000.png"), 0) < 128
        z_depth = depth[depth.files[0]].astype(np.float32)
        assert z_depth[:, -1].mean() / z_depth[:, 0].mean() == pytest.approx(2.0, rel=1e-2)
        # the median of 4 / slope over the static pixels, and 4.0 is the depth of the fake predictor
        slope = np.broadcast_to(np.linspace(1.0, 2.0, 64), (40, 64))
        assert z_depth[0, 0] == pytest.approx(np.median(4.0 / slope[static]), rel=1e-2)
        scene = json.loads((out / "scene" / "scene.json").read_text())
        assert scene["provenance"]["depth"] == "predicted (slope)" and scene["predictor"] == "fake"
        for options, words in (
            (["--depths-from", "nobody"], '"nobody"'),
            (["--depths-from", "fake"], "is the predictor itself"),
        ):
            status, _, error = run_cli("run", clip, "-o", tmp_path / "other", "--predictor", "fake", *options)
            assert status == 2 and words in error, error
