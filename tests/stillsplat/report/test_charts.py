"""Plots as SVG: positions, scales and missing values."""

import re

import numpy as np
import pytest

from stillsplat.report.charts import frame_chart, line_chart, path_chart, time_bars


def points(svg: str, element: str = "polyline") -> np.ndarray:
    found = re.search(rf'<{element} class="line"[^>]* points="([^"]*)"', svg)
    assert found is not None
    return np.array([pair.split(",") for pair in found.group(1).split()], float)


def test_line_without_missing_values() -> None:
    svg = line_chart("loss", [0, 10, 20, 30], [1.0, float("nan"), 3.0, 2.0], x_label="step", y_label="loss")
    line = points(svg)
    assert len(line) == 3 and (np.diff(line[:, 0]) > 0).all()
    assert line[0, 1] > line[2, 1] > line[1, 1]  # larger values are higher
    assert "<title>loss: 2</title>" in svg and svg.endswith("</svg>")


@pytest.mark.parametrize("values", [[], [float("nan"), float("inf")]])
def test_nothing_to_plot(values: list[float]) -> None:
    steps = list(range(len(values)))
    assert "nothing to plot" in line_chart("loss", steps, values, x_label="step", y_label="loss")
    assert "nothing to plot" in frame_chart(
        values, [False] * len(values), x_label="frame", y_label="dB", labels=("a", "b")
    )


def test_frames_have_dots_and_highlighted_ones_are_on_top() -> None:
    values, highlighted = [30.0, 31.0, float("nan"), 29.0], [False, True, False, False]
    svg = frame_chart(values, highlighted, x_label="frame", y_label="dB", labels=("training", "held out"))
    titles = re.findall(r"<title>(frame \d): ([\d.]+)</title>", svg)
    assert titles == [("frame 0", "30.00"), ("frame 3", "29.00"), ("frame 1", "31.00")]
    assert "training" in svg and "held out" in svg
    # told apart by shape; one of each is in the legend
    assert svg.count('<circle class="dot"') == 3 and svg.count('<path class="diamond"') == 2


def test_long_clips_keep_only_the_diamonds() -> None:
    highlighted = [index % 100 == 0 for index in range(1000)]
    svg = frame_chart(
        [30.0 + index % 7 for index in range(1000)], highlighted, x_label="frame", y_label="dB", labels=("a", "b")
    )
    assert svg.count("<circle") == 1 and svg.count('<path class="diamond"') == 11
    assert len(points(svg)) == 1000


def test_narrow_chart_has_the_same_frames() -> None:
    values = [30.0, 31.0, 29.0]
    svg = frame_chart(values, [False] * 3, x_label="frame", y_label="dB", labels=("a", "b"), size=(360, 230))
    assert 'viewBox="0 0 360 230"' in svg and svg.count("<circle") == 3
    assert points(svg)[:, 0].max() < 360


def test_path_has_one_scale_for_both_axes() -> None:
    centers = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 1.0]])
    line = points(path_chart(centers, np.ones((3, 2)), title="path", axes=("right", "ahead")))
    across, up = np.abs(line[1] - line[0])[0], np.abs(line[2] - line[1])[1]
    assert across == pytest.approx(4 * up, abs=0.3)


def test_bars_are_proportional_to_times() -> None:
    svg = time_bars([("a", 2.0, "2 s"), ("b", 1.0, "1 s")])
    widths = [float(width) for width in re.findall(r'<rect [^>]*width="([\d.]+)"', svg)]
    assert widths[0] == pytest.approx(2 * widths[1], abs=0.2)
