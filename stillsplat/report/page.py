"""Rendering of the report's HTML template, and the data that it embeds."""

import base64
import json
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np
from markupsafe import Markup

_STYLES = ("page.css", "sections.css", "print.css")
_SCRIPTS = ("page.js",)
#: The page stays below 8 MB: 12 large images, at most 80 small ones and 2 MB of video (`video_section`) are 5.5 MB, 7.3
#: MB in base 64; the text of a long clip, its charts and its table of frames are below 0.7 MB.
LARGE_IMAGE_BYTES = 125_000
SMALL_IMAGE_BYTES = 25_000


def render_page(content: dict[str, Any]) -> str:
    """The self-contained page; see page.html.jinja for the names in `content`. All text is escaped, except `Markup`."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("stillsplat", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    folder = Path(__file__).parent
    style, script = (
        Markup("\n".join((folder / name).read_text("utf-8") for name in names)) for names in (_STYLES, _SCRIPTS)
    )
    return environment.get_template("page.html.jinja").render(content, style=style, script=script)


def large_image(pixels: np.ndarray) -> str:
    """An image of the slider as a data URL."""
    return image_source(pixels, width=1024, quality=86, most_bytes=LARGE_IMAGE_BYTES)


def small_image(pixels: np.ndarray) -> str:
    """An image of the strips as a data URL."""
    return image_source(pixels, width=400, quality=80, most_bytes=SMALL_IMAGE_BYTES)


def thumbnail(pixels: np.ndarray) -> str:
    """An image on a button as a data URL."""
    return image_source(pixels, width=120, quality=70, most_bytes=SMALL_IMAGE_BYTES)


def image_source(pixels: np.ndarray, *, width: int, quality: int, most_bytes: int) -> str:
    """A uint8 RGB image (H, W, 3) as a data URL: a JPEG of at most `width` pixels across and `most_bytes`.

    It is only ever shrunk, an upright one to the area of a landscape one of 4:3. One that takes too many bytes is coded
    again at lower qualities, then at half the width.
    """
    across, area = pixels.shape[1], pixels.shape[0] * pixels.shape[1]
    scale = min(1.0, width / across, (0.75 * width * width / area) ** 0.5)
    if scale < 1:
        size = max(1, round(across * scale)), max(1, round(pixels.shape[0] * scale))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    ordered = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    for lower in (quality, quality - 20, quality - 40):
        encoded = cv2.imencode(".jpg", ordered, [cv2.IMWRITE_JPEG_QUALITY, lower])[1].tobytes()
        if len(encoded) <= most_bytes or width < 16:
            return _data_url("image/jpeg", encoded)
    return image_source(pixels, width=width // 2, quality=quality, most_bytes=most_bytes)


def video_source(path: Path) -> str:
    """An MP4 file as a data URL."""
    return _data_url("video/mp4", path.read_bytes())


def flattened(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Names and values as text; names in nested dicts are joined by a dot."""
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, dict) and value:
            rows += flattened(value, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, _text(value)))
    return rows


def _data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        return value or "–"
    if value is None:
        return "–"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 400 else text[:400] + " …"
