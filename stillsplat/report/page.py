"""Rendering of the report's HTML template, and the data that it embeds."""

import base64
import json
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np


def render_page(content: dict[str, Any]) -> str:
    """The self-contained page; see page.html.jinja for the names in `content`. All text is escaped, except `Markup`."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("stillsplat", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja").render(content)


def image_source(pixels: np.ndarray, *, width: int, quality: int) -> str:
    """A uint8 RGB image (H, W, 3) as a data URL; shrunk to `width` where it is wider."""
    if pixels.shape[1] > width:
        height = max(1, round(pixels.shape[0] * width / pixels.shape[1]))
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return _data_url("image/jpeg", encoded.tobytes())


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
