"""HTML in small pieces: escaping, embedded images, cards, tables. Knows nothing about runs."""

import base64
import json
from collections.abc import Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np


def document(title: str, body: str) -> str:
    """A whole self-contained page."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; media-src data:; '
        "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>\n{_resource('page.css')}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        f"<script>\n{_resource('page.js')}</script>\n</body>\n</html>\n"
    )


def image_source(pixels: np.ndarray, *, width: int | None = None, quality: int = 84) -> str:
    """uint8 RGB (H, W, 3) as the data of an <img>, shrunk to `width` where it is wider."""
    if width is not None and pixels.shape[1] > width:
        height = max(1, round(pixels.shape[0] * width / pixels.shape[1]))
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")


def video_element(path: Path) -> str:
    """A <video> that holds its file."""
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<video controls autoplay loop muted playsinline src="data:video/mp4;base64,{data}"></video>'


def section(title: str, introduction: str, *content: str) -> str:
    """A section with its heading and a sentence or two."""
    paragraph = f"<p>{escape(introduction)}</p>" if introduction else ""
    return f"<section>\n<h2>{escape(title)}</h2>\n{paragraph}\n" + "\n".join(content) + "\n</section>"


def plot(svg: str, caption: str = "", title: str = "") -> str:
    """A card with a plot."""
    heading = f"<h3>{escape(title)}</h3>" if title else ""
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure class="plot card">{heading}{svg}{below}</figure>'


def columns(*content: str, two: bool = False) -> str:
    """Cards side by side where there is room."""
    return f'<div class="columns{" two" if two else ""}">' + "".join(content) + "</div>"


def key_figures(entries: Sequence[tuple[str, str, str, str]]) -> str:
    """The row of large figures: (name, value, unit, how it was measured)."""
    cells = "".join(
        f'<div><div class="name">{escape(name)}</div><div class="value">{escape(value)}'
        f'{f"<small>{escape(unit)}</small>" if unit else ""}</div><div class="how">{escape(how)}</div></div>'
        for name, value, unit, how in entries
    )
    across = len(entries) if len(entries) <= 7 else (len(entries) + 1) // 2
    return f'<div class="figures card" style="--across:{across}">{cells}</div>'


def score_table(rows: Sequence[tuple[str, str, str, str]]) -> str:
    """Figures as (name, value, over what, protocol)."""
    head = "<tr><th>figure</th><th></th><th>over</th><th>protocol</th></tr>"
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="card" style="overflow-x:auto"><table class="scores">{head}{body}</table></div>'


def details(title: str, values: dict[str, Any], *, is_open: bool = False) -> str:
    """A foldable list of names and values, nested ones flattened by a dot."""
    rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in _flat(values))
    return (
        f'<details class="card"{" open" if is_open else ""}><summary>{escape(title)}</summary><dl>{rows}</dl></details>'
    )


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, dict) and value:
            rows += _flat(value, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, _text(value)))
    return rows


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        return value or "–"
    if value is None:
        return "–"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 400 else text[:400] + " …"


def _resource(name: str) -> str:
    return (resources.files("stillsplat.report") / name).read_text("utf-8")
