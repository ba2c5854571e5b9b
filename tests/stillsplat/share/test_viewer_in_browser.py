"""The viewer of shared pages in a real browser without a network, against our renderer. Needs Chromium."""

import base64
import re
import shutil
import subprocess

import cv2
import numpy as np
import pytest
import torch

from scene.formats.splat_ply import save_ply
from scene.gaussians import Gaussians
from scene.splat_rendering import Renderer
from stillsplat.results import open_result
from stillsplat.share.build import write_share

_FLAGS = ("--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--dump-dom")
_PICTURE = """<script>
  window.splatViewer.draw();
  const found = document.createElement("pre");
  found.id = "picture";
  found.textContent = window.splatViewer.canvas.toDataURL("image/png");
  document.body.append(found);
</script>
</body>"""


def _gaussians(count: int = 3000) -> Gaussians:
    """Long and flat Gaussians of all opacities, with colors that change with the view."""
    generator = torch.Generator().manual_seed(5)
    return Gaussians(
        torch.randn(count, 3, generator=generator),
        torch.randn(count, 3, generator=generator) * 0.8 - 3.2,
        torch.randn(count, 4, generator=generator),
        torch.randn(count, generator=generator) * 2,
        torch.randn(count, 4, 3, generator=generator) * torch.tensor([1.0, 0.4, 0.4, 0.4])[None, :, None],
    )


@pytest.mark.slow
def test_the_canvas_shows_what_our_renderer_renders(tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("NOT CHECKED: there is no Chromium on this machine")
    save_ply(tmp_path / "some.ply", _gaussians(), sh_degree=1)
    result = open_result(tmp_path / "some.ply")
    page = tmp_path / "page.html"
    write_share(result, page)
    page.write_text(page.read_text("utf-8").replace("</body>", _PICTURE), "utf-8")
    command = [browser, *_FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=700,900", page.as_uri()]
    dumped = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    match = re.search(r'<pre id="picture">data:image/png;base64,([^<]+)</pre>', dumped)
    assert match is not None, dumped[-2000:]
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(match[1]), np.uint8), cv2.IMREAD_COLOR)[..., ::-1] / 255.0
    height, width = shown.shape[:2]
    assert width > 300 and shown.std() > 0.05
    ours = Renderer(result.gaussians).render(result.cameras[0].resized(width, height)).image
    error = np.mean((shown - ours) ** 2)
    assert 10 * np.log10(1 / error) >= 38.0
