"""The report of a run with stand-ins for the slow parts: whole, and with parts that are missing."""

import json
import os
import shutil
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from scene.video import write_video
from stillsplat.report import video_section
from tests.stillsplat.report.reading import Page, check_accessible, check_self_contained


def read_page(out: Path) -> Page:
    """The report in `out`, checked: nothing from outside, every link leads to something."""
    html = (out / "report.html").read_text("utf-8")
    assert len(html) < 8_000_000
    for outside in ("http://", "https://"):
        assert outside not in html.replace("http://www.w3.org/2000/svg", "")
    page = Page(html)
    check_self_contained(page)
    check_accessible(page)
    for address in page.values("href"):
        assert address.startswith("#") or (out / unquote(address)).exists(), address
    return page


@pytest.fixture(scope="module")
def kept() -> dict[str, Path]:
    """What `out` has made once for all tests."""
    return {}


@pytest.fixture
def out(kept, clip, tmp_path, tmp_path_factory, fakes, run_cli) -> Path:
    """A copy of a finished run."""
    if not kept:
        folder = tmp_path_factory.mktemp("run") / "out"
        status, _, error = run_cli(
            "run", clip, "-o", folder, "--predictor", "fake", "--test-every", 4, "--export", "tum"
        )
        assert status == 0, error
        kept["run"] = folder
    return shutil.copytree(kept["run"], tmp_path / "out")


def text_of(page: Page) -> str:
    return " ".join(" ".join(page.texts).split())


def test_every_section_of_a_run_with_truth(out, truth, run_cli):
    assert run_cli("evaluate", out, "--truth", truth)[0] == 0
    page = read_page(out)
    sections = [section.attributes["id"] for section in page.named("section")]
    assert sections == [
        "slider", "video", "frames", "truth", "scores", "camera", "optimization", "settings", "licenses", "files",
    ]  # fmt: skip
    alt = page.values("alt")
    for kind in ("what moves", "depth", "static render", "truth without movers", "render − truth", "never seen"):
        assert sum(text.endswith(kind) for text in alt) == 6, kind
    assert len(page.named("video")) == 1
    rows = [element for element in page.named("th") if element.attributes.get("title", "").endswith(".png")]
    assert [row.text for row in rows] == [str(index) for index in range(8)]
    addresses = page.values("href")
    assert {"./clean.mp4", "./compare.mp4", "./splats.ply", "./scene/", "./evaluation.json"} <= set(addresses)
    assert any(address.startswith("./export/") for address in addresses)
    text = text_of(page)
    assert "The run follows no published protocol" in text and "scene units are arbitrary" in text
    assert "fake: needs no weights" in text and "psnr_behind, dB" in text


def test_markup_in_names_and_warnings_is_escaped(clip, tmp_path, fakes, run_cli):
    hostile = clip.with_name("<evil onload=alert(1)>")
    clip.rename(hostile)
    out = tmp_path / "out"
    status, _, error = run_cli("run", hostile, "-o", out, "--predictor", "fake", "--test-every", 3)
    assert status == 0, error
    record = json.loads((out / "run.json").read_text())
    record["warnings"] = ["<evil>"]
    (out / "run.json").write_text(json.dumps(record))
    (out / "export").mkdir()
    (out / "export" / "\"'><evil>javascript:.ply").write_bytes(b"")
    os.remove(out / "report.html")
    assert run_cli("report", out)[0] == 0
    page = read_page(out)
    assert not page.named("evil") and "<evil>" in page.texts and "held-out frames" in text_of(page)


def test_scene_without_depth_and_masks_and_without_truth_folder(out, truth, run_cli):
    assert run_cli("evaluate", out, "--truth", truth)[0] == 0
    truth.rename(truth.with_name("elsewhere"))
    description = json.loads((out / "scene" / "scene.json").read_text())
    for name in ("motion_masks", "z_depth"):
        assert description["files"][name]
        description["files"][name] = False
    (out / "scene" / "scene.json").write_text(json.dumps(description))
    assert run_cli("report", out)[0] == 0
    page = read_page(out)
    alt = page.values("alt")
    assert not [text for text in alt if text.endswith(("depth", "what moves", "render − truth"))]
    assert sum(text.endswith("static render") for text in alt) == 6
    assert "Against the truth" in text_of(page), "the figures are kept in evaluation.json"


@pytest.mark.parametrize("finished", [["scene"], ["scene", "optimize"], ["scene", "optimize", "render"]])
def test_stopped_run(out, run_cli, finished):
    record = json.loads((out / "run.json").read_text())
    record["stages"] = {name: record["stages"][name] for name in finished}
    (out / "run.json").write_text(json.dumps(record))
    if "render" in finished:
        (out / "metrics.json").unlink()
    assert run_cli("report", out)[0] == 0
    page = read_page(out)
    sections = [section.attributes["id"] for section in page.named("section")]
    assert ("optimization" in sections) == ("optimize" in finished)
    assert ("slider" in sections) == ("video" in sections) == ("render" in finished)
    assert "scores" not in sections and "This run is not finished. Missing: " in text_of(page)
    assert ("optimizing Gaussians;" in text_of(page)) == ("optimize" not in finished)


def test_report_before_there_are_cameras_is_refused(out, run_cli):
    record = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps(record | {"stages": {}}))
    status, _, error = run_cli("report", out)
    assert status == 2 and "has no cameras yet; resume it first (--resume)" in error


def test_run_of_an_earlier_version_has_no_map_of_what_was_never_seen(out, run_cli):
    shutil.rmtree(out / "seen")
    assert run_cli("report", out)[0] == 0
    page = read_page(out)
    assert "What was never seen" not in text_of(page) and "slider" in page.values("id")


def test_long_video_becomes_a_small_preview(out, run_cli, monkeypatch):
    noise = np.random.default_rng(1).integers(0, 256, (4, 300, 900, 3)).astype(np.uint8)
    write_video(out / "compare.mp4", noise, 30)
    monkeypatch.setattr(video_section, "LARGEST_VIDEO", 60_000)
    monkeypatch.setattr(video_section, "_PREVIEW_FRAMES", 4)
    assert (out / "compare.mp4").stat().st_size > video_section.LARGEST_VIDEO
    assert run_cli("report", out)[0] == 0
    page = read_page(out)
    assert "A small preview of 4 of 8 frames; compare.mp4 has all." in text_of(page)
    assert len(page.named("video")[0].attributes["src"]) < 81_000
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    monkeypatch.setattr(video_section, "LARGEST_VIDEO", 100)
    assert run_cli("report", out)[0] == 0
    assert not read_page(out).named("video")
