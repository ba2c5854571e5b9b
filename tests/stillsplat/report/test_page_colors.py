"""The colors of the page: readable in both themes and on paper, and different for people with any color vision."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

import stillsplat.report

FOLDER = Path(stillsplat.report.__file__).parent
THEMES = ("light", "dark", "paper")
#: the protanopia, deuteranopia and tritanopia of Machado, Oliveira and Fernandes (2009) at full severity, linear RGB
COLOR_VISION = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


def palette(theme: str) -> dict[str, str]:
    """The color variables of a theme."""
    blocks = re.findall(r":root \{([^}]*)\}", (FOLDER / ("print.css" if theme == "paper" else "page.css")).read_text())
    chosen = blocks[1] if theme == "dark" else blocks[0]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", chosen))


def linear(color: str) -> np.ndarray:
    values = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(first: str, second: str) -> float:
    """The contrast ratio of WCAG 2.2."""
    bright, dark = sorted((float(linear(color) @ [0.2126, 0.7152, 0.0722]) for color in (first, second)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear sRGB under D65."""
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(np.clip(matrix @ np.clip(rgb, 0, 1) / matrix.sum(axis=1), 0.008856, 1))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("theme", THEMES)
def test_text_and_marks_stand_out(theme: str) -> None:
    colors = palette(theme)
    for ground in ("paper", "card", "warn"):
        for name in ("ink", "soft", "accent", "second", "third"):
            assert contrast(colors[name], colors[ground]) >= 4.5, (name, ground)
        for name in ("faint", "quiet"):  # lines and frames of controls, never text
            assert contrast(colors[name], colors[ground]) >= 3, (name, ground)


@pytest.mark.parametrize("theme", THEMES)
def test_lines_of_one_plot_differ_for_everybody(theme: str) -> None:
    colors = palette(theme)
    for vision, matrix in COLOR_VISION.items():
        seen = {name: lab(np.asarray(matrix) @ linear(colors[name])) for name in ("accent", "second", "third")}
        for first, second in itertools.combinations(seen, 2):
            assert np.linalg.norm(seen[first] - seen[second]) > 10, (vision, first, second)


def test_no_text_has_the_color_of_lines() -> None:
    for sheet in FOLDER.glob("*.css"):
        assert not re.search(r"[^-\w]color: var\(--(faint|quiet|rule)\)", sheet.read_text()), sheet.name


def test_paper_and_screen_name_the_same_colors() -> None:
    assert set(palette("dark")) <= set(palette("light")) == set(palette("paper"))


def test_truth_and_prediction_differ_without_color() -> None:
    sheet = (FOLDER / "sections.css").read_text()
    dashes = {
        kind: re.search(rf"svg \.line\.{kind} {{[^}}]*stroke-dasharray: ([^;]*);", sheet)
        for kind in ("truth", "predicted")
    }
    assert all(dashes.values()) and len({found.group(1) for found in dashes.values() if found}) == 2
