"""The report's page: self-contained, well-formed, accessible, and safe against markup in names, notes and settings."""

import base64

import cv2
import numpy as np
import pytest

from stillsplat.report.charts import Plot, frame_chart, line_chart, path_chart, time_bars
from stillsplat.report.color_bars import ColorBar
from stillsplat.report.page import flattened, image_source, render_page
from tests.stillsplat.report.reading import Page, check_accessible, check_self_contained

HOSTILE = "\"'><evil onload=alert(1)>&"


@pytest.fixture
def content() -> dict:
    """The content of a page in which every text is hostile."""
    path = np.array([[0.0, 0.0], [1.0, 2.0]])
    line = line_chart(HOSTILE, [0, 1], [1, 2], x_label=HOSTILE, y_label=HOSTILE)
    dots = frame_chart([1, 2], [True, False], x_label=HOSTILE, y_label=HOSTILE, labels=(HOSTILE, HOSTILE))
    others = [(HOSTILE, "truth", path)]
    paths = path_chart(path, path, title=HOSTILE, axes=(HOSTILE, HOSTILE), others=others, unit=HOSTILE)
    bars = time_bars([(HOSTILE, 1.0, HOSTILE)])
    plots = [Plot(svg, HOSTILE, HOSTILE) for svg in (line, dots, paths, bars)]
    image = image_source(np.zeros((4, 6, 3), np.uint8), width=6, quality=80, most_bytes=9000)
    titled = {"source": image, "title": HOSTILE, "note": HOSTILE, "alt": HOSTILE}
    row = (HOSTILE,) * 4
    return {
        "title": HOSTILE,
        "width": 64,
        "height": 40,
        "header": {"summary": HOSTILE, "figures": [row], "columns": 1, "unfinished": HOSTILE, "warnings": [HOSTILE]},
        "slider": {"frames": [{"index": 3, "before": image, "after": image, "thumbnail": image}], "first": 3},
        "video": {"source": "data:video/mp4;base64,AAAA", "note": HOSTILE},
        "strips": {
            "frames": [{"index": 3, "images": [titled] * 5, "held_out": True, "psnr": 31.25, "moving_percent": 12.5}],
            "bars": [ColorBar(HOSTILE, ("#000000", "#ffffff"), (HOSTILE,))],
            "seen": HOSTILE,
            "plate": HOSTILE,
        },
        "evaluation": {
            "truth": [row],
            "novel": [{"index": 0, "images": [titled], "psnr": None}],
            "annotations": {"folder": HOSTILE, "scores": [row]},
        },
        "scores": {
            "introduction": HOSTILE,
            "scores": [row],
            "notes": [HOSTILE],
            "plot": Plot(dots, HOSTILE, narrow=dots),
            "table": {"titles": [HOSTILE], "rows": [(HOSTILE, [HOSTILE])], "note": HOSTILE},
        },
        "camera": {"introduction": HOSTILE, "plots": plots, "legend": [{"label": HOSTILE, "kind": "truth"}]},
        "curves": plots,
        "times": plots,
        "files": [{"address": "./a%3Cevil%3E.mp4", "name": HOSTILE + ".mp4", "what": HOSTILE, "size": HOSTILE}],
        "licenses": [(HOSTILE,) * 3],
        "protocol": HOSTILE,
        "lists": [(HOSTILE, flattened({HOSTILE: HOSTILE, "nested": {HOSTILE: [HOSTILE]}}))],
        "code": HOSTILE,
        "date": HOSTILE,
    }


def test_hostile_text_stays_text(content: dict) -> None:
    page = Page(render_page(content))
    assert not page.named("evil")
    assert not [name for element in page.elements for name in element.attributes if name.startswith("on")]
    assert sum(HOSTILE in text for text in page.texts) > 50
    assert len(page.named("script")) == len(page.named("style")) == 1


def test_page_is_self_contained_and_accessible(content: dict) -> None:
    page = Page(render_page(content))
    check_self_contained(page)
    check_accessible(page)
    assert [control.attributes["type"] for control in page.named("input")] == ["range"] + 4 * ["radio"]


def test_optional_parts(content: dict) -> None:
    missing = dict.fromkeys(("slider", "video", "evaluation", "scores"))
    content["header"] |= {"figures": [], "unfinished": "", "warnings": []}
    html = render_page(content | missing | {"curves": []})
    check_self_contained(Page(html))
    for absent in (
        "With and without",
        "<video",
        "Against the truth",
        'id="scores"',
        'id="optimization"',
        "not finished",
    ):
        assert absent not in html, absent
    assert "held out" in html and "31.25 dB" in html
    content["strips"]["frames"][0] |= {"held_out": False, "psnr": None}
    html = render_page(content)
    assert "Against the truth" in html and "nothing of it was seen" in html and "31.25" not in html


@pytest.mark.parametrize(
    ("width", "shape", "expected"),
    [(20, (20, 40), (10, 20)), (80, (20, 40), (20, 40)), (40, (160, 80), (49, 24))],
)
def test_images_are_only_shrunk(width: int, shape: tuple[int, int], expected: tuple[int, int]) -> None:
    source = image_source(np.full((*shape, 3), (250, 10, 10), np.uint8), width=width, quality=90, most_bytes=9000)
    image = decoded(source)
    assert image.shape[:2] == expected and image[..., 2].min() > 230
    assert image.shape[0] * image.shape[1] <= 0.76 * width**2


def test_noise_keeps_to_the_number_of_bytes() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (600, 1000, 3)).astype(np.uint8)
    source = image_source(noise, width=1000, quality=86, most_bytes=20_000)
    image = decoded(source)
    assert len(base64.b64decode(source.partition(",")[2])) <= 20_000
    assert image.shape[1] / image.shape[0] == pytest.approx(5 / 3, rel=0.02)


def test_nested_values_are_flattened() -> None:
    values = {"a": 1.23456789, "b": {"c": None, "d": {"e": ""}}, "f": {}, "g": list(range(1000))}
    assert flattened(values)[:4] == [("a", "1.23457"), ("b.c", "–"), ("b.d.e", "–"), ("f", "{}")]
    assert flattened(values)[4][1].endswith(" …")


def decoded(source: str) -> np.ndarray:
    encoded = np.frombuffer(base64.b64decode(source.removeprefix("data:image/jpeg;base64,")), np.uint8)
    image = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert image is not None
    return image
