"""The report's page: self-contained, and safe against markup in names, notes and settings."""

from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from stillsplat.report.charts import Plot, frame_chart, line_chart, path_chart, time_bars
from stillsplat.report.page import flattened, image_source, render_page

HOSTILE = "\"'><evil onload=alert(1)>&"


class Elements(HTMLParser):
    """Collects the names, attributes and text of all elements."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture
def content() -> dict:
    """The content of a page in which every text is hostile."""
    path = np.array([[0.0, 0.0], [1.0, 2.0]])
    line = line_chart(HOSTILE, [0, 1], [1, 2], x_label=HOSTILE, y_label=HOSTILE)
    dots = frame_chart([1, 2], [True, False], x_label=HOSTILE, y_label=HOSTILE, labels=(HOSTILE, HOSTILE))
    paths = path_chart(path, path, title=HOSTILE, axes=(HOSTILE, HOSTILE), others=[(HOSTILE, "faint", path)])
    bars = time_bars([(HOSTILE, 1.0, HOSTILE)])
    plots = [Plot(svg, HOSTILE, HOSTILE) for svg in (line, dots, paths, bars)]
    image = image_source(np.zeros((4, 6, 3), np.uint8), width=6, quality=80)
    frame = {"index": 3, "before": image, "after": image}
    strip = {"index": 3, "images": [image] * 5, "held_out": True, "psnr": 31.25, "moving_percent": 12.5}
    row = (HOSTILE,) * 4
    return {
        "title": HOSTILE,
        "width": 64,
        "height": 40,
        "header": {"summary": HOSTILE, "figures": [row], "columns": 1, "warnings": [HOSTILE]},
        "slider": {"frames": [frame], "first": frame, "video": None},
        "strips": {"columns": [(HOSTILE, HOSTILE)], "frames": [strip]},
        "evaluation": {
            "truth": [row],
            "novel": [{"index": 0, "truth": image, "render": image, "psnr": None}],
            "annotations": {"folder": HOSTILE, "scores": [row]},
        },
        "figures": {"introduction": HOSTILE, "scores": [row], "notes": [HOSTILE], "plot": plots[1]},
        "camera": {
            "introduction": HOSTILE,
            "plots": plots,
            "legend": [{"label": HOSTILE, "color": "accent", "dashed": True}],
        },
        "curves": plots,
        "times": plots,
        "lists": [(HOSTILE, flattened({HOSTILE: HOSTILE, "nested": {HOSTILE: [HOSTILE]}}))],
        "code": HOSTILE,
        "date": HOSTILE,
    }


def test_hostile_text_stays_text(content: dict) -> None:
    elements = Elements(render_page(content))
    assert "evil" not in elements.names
    assert not [name for name, _ in elements.attributes if name.startswith("on")]
    assert sum(HOSTILE in text for text in elements.texts) > 30
    assert elements.names.count("script") == 1 and elements.names.count("style") == 2


def test_page_is_self_contained(content: dict) -> None:
    elements = Elements(render_page(content))
    sources = [value for name, value in elements.attributes if name in ("src", "href")]
    assert len(sources) == 11 and all(value and value.startswith("data:image/jpeg;base64,") for value in sources)
    assert "link" not in elements.names
    policy = [value for name, value in elements.attributes if name == "content" and value and "default-src" in value]
    assert len(policy) == 1 and policy[0].startswith("default-src 'none'")


def test_optional_parts(content: dict) -> None:
    html = render_page(content | {"evaluation": None})
    assert "Against the truth" not in html and "held out" in html and "31.25 dB" in html
    content["strips"]["frames"][0] |= {"held_out": False, "psnr": None}
    content["slider"]["video"] = "data:video/mp4;base64,AAAA"
    html = render_page(content)
    assert "Against the truth" in html and "nothing seen" in html and "31.25" not in html
    assert '<video controls autoplay loop muted playsinline src="data:video/mp4;base64,AAAA">' in html


def test_images_are_only_shrunk() -> None:
    import base64

    for width, expected in ((20, (10, 20)), (80, (20, 40))):
        source = image_source(np.full((20, 40, 3), (250, 10, 10), np.uint8), width=width, quality=90)
        encoded = np.frombuffer(base64.b64decode(source.removeprefix("data:image/jpeg;base64,")), np.uint8)
        image = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
        assert image is not None and image.shape[:2] == expected and image[..., 2].min() > 230


def test_nested_values_are_flattened() -> None:
    values = {"a": 1.23456789, "b": {"c": None, "d": {"e": ""}}, "f": {}, "g": list(range(1000))}
    assert flattened(values)[:4] == [("a", "1.23457"), ("b.c", "–"), ("b.d.e", "–"), ("f", "{}")]
    assert flattened(values)[4][1].endswith(" …")
