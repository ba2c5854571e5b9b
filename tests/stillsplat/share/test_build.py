"""Shared pages: one file without a network, within its size, and clear refusals."""

import base64
import json
import re

import numpy as np
import pytest
import torch

from scene.errors import InputError
from scene.formats.splat_ply import save_ply
from scene.gaussians import Gaussians
from stillsplat.results import open_result
from stillsplat.share.build import write_share
from stillsplat.share.packing import BYTES_EACH
from stillsplat.share.settings import ShareSettings


def _many(count: int) -> Gaussians:
    generator = torch.Generator().manual_seed(2)
    return Gaussians(
        torch.randn(count, 3, generator=generator),
        torch.full((count, 3), -4.0),
        torch.randn(count, 4, generator=generator),
        torch.full((count,), 1.0),
        torch.randn(count, 4, 3, generator=generator) * 0.2,
    )


def _blocks(page: str) -> dict[str, str]:
    return dict(re.findall(r'<script type="application/[a-z-]+" id="([a-z-]+)">(.*?)</script>', page, re.S))


def test_a_run_becomes_one_page_without_a_network(clip, tmp_path, fakes, run_cli):
    out, page = tmp_path / "out", tmp_path / "scene.html"
    assert run_cli("run", clip, "-o", out, "--predictor", "fake")[0] == 0
    status, said, error = run_cli("share", out, "-o", page)
    assert status == 0, error
    html = page.read_text("utf-8")
    assert "MB" in said and str(page) in said
    assert not re.search(r"(?:https?:)?//[a-z0-9-]+\.[a-z]", re.sub(r"<script type=.*?</script>", "", html, flags=re.S))
    assert not re.search(r"""\b(?:src|href)\s*=\s*["'](?!data:)""", html)
    assert "default-src 'none'" in html
    blocks = _blocks(html)
    scene = json.loads(blocks["scene"])
    assert len(base64.b64decode(blocks["splat-bytes"])) == scene["count"] * BYTES_EACH
    assert len(scene["cameras"]) == 8 and scene["cameras"][0]["size"] == [64, 40]
    (tmp_path / "clip.mp4").write_bytes(base64.b64decode(blocks["clip-bytes"]))
    import av

    with av.open(str(tmp_path / "clip.mp4")) as video:
        images = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert len(images) == 8 and images[0].shape == (80, 64, 3)  # before above after
    first = open_result(out).scene.frames.rgb8(0).astype(float)
    assert np.abs(images[0][:40] - first).mean() < 12


def test_a_hundred_thousand_gaussians_fit_and_more_are_reduced(tmp_path):
    save_ply(tmp_path / "many.ply", _many(100_000), sh_degree=1)
    result = open_result(tmp_path / "many.ply")
    page = write_share(result, tmp_path / "page.html")
    assert page.bytes == (tmp_path / "page.html").stat().st_size <= 15_000_000 and page.sent == 100_000
    assert f"{page.bytes / 1e6:.1f} MB" in (tmp_path / "page.html").read_text("utf-8")
    small = write_share(result, tmp_path / "small.html", ShareSettings(max_megabytes=2.0))
    assert small.bytes <= 2_000_000 and 20_000 < small.sent < 40_000
    assert "of 100,000" in (tmp_path / "small.html").read_text("utf-8")


def test_what_cannot_be_shared(tmp_path, run_cli, clip):
    (tmp_path / "points.ply").write_text("ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n1\n")
    save_ply(tmp_path / "good.ply", _many(50), sh_degree=1)
    (tmp_path / "cut.ply").write_bytes((tmp_path / "good.ply").read_bytes()[:1500])
    broken = _many(50)
    broken.means[:] = float("nan")
    save_ply(tmp_path / "nan.ply", broken)
    for given, words in (
        (tmp_path / "missing", "does not exist"),
        (tmp_path / "points.ply", "holds no Gaussians"),
        (tmp_path / "cut.ply", "cut off"),
        (tmp_path / "nan.ply", "no Gaussians with finite values"),
        (clip, "is not a scene"),
    ):
        status, _, error = run_cli("share", given, "-o", tmp_path / "page.html")
        assert status == 2 and words in error and "Traceback" not in error, error
    status, _, error = run_cli("share", tmp_path / "good.ply", "-o", tmp_path)
    assert status == 2 and "is a folder" in error
    assert run_cli("share", tmp_path / "good.ply", "-o", tmp_path / "p.html", "--max-megabytes", 0.1)[0] == 2
    assert not (tmp_path / "page.html").exists()


def test_a_name_with_markup_is_escaped(tmp_path):
    path = tmp_path / "<img onerror=x>.ply"
    save_ply(path, _many(50), sh_degree=1)
    write_share(open_result(path), tmp_path / "page.html", ShareSettings(video_width=0))
    html = (tmp_path / "page.html").read_text("utf-8")
    assert "<img" not in html and "&lt;img" in html


def test_a_scene_without_splats_is_refused(tmp_path, clip, fakes, run_cli):
    assert run_cli("predict", clip, "-o", tmp_path / "scene", "--predictor", "fake")[0] == 0
    with pytest.raises(InputError, match="has no splats to share"):
        write_share(open_result(tmp_path / "scene"), tmp_path / "page.html")
