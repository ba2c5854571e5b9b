"""Plots as inline SVG. Colors are CSS variables of the page, so that plots follow its light and dark theme."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

#: dots that are closer together than so many pixels are left out
_SMALLEST_STEP = 2.0


@dataclass(frozen=True)
class Plot:
    """A plot with an optional title and caption."""

    svg: Markup
    title: str = ""
    caption: str = ""
    #: the same for narrow screens, where the other one would be too small to read
    narrow: Markup | None = None


def line_chart(
    label: str, x: Sequence[float], y: Sequence[float], *, x_label: str, y_label: str, color: str = "accent"
) -> Markup:
    """A line through the points with finite coordinates, in the CSS variable `color`."""
    width, height = 360, 230
    left, right, top, bottom = 60, 12, 12, 38
    pairs = np.stack([np.asarray(x, np.float64), np.asarray(y, np.float64)], axis=1)
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    if len(pairs) == 0:
        return _empty(width, height, "nothing to plot")
    x_low, x_high = _padded(pairs[:, 0].min(), pairs[:, 0].max(), 0.0)
    y_low, y_high = _padded(*_robust_range(pairs[:, 1]), 0.06)
    inner_width, inner_height = width - left - right, height - top - bottom

    def x_at(value: float) -> float:
        return left + (value - x_low) / (x_high - x_low) * inner_width

    def y_at(value: float) -> float:
        level = min(max((value - y_low) / (y_high - y_low), -0.02), 1.02)
        return top + (1 - level) * inner_height

    parts = [_open(width, height, f"{y_label} over {x_label}")]
    parts += [_grid_line(left, width - right, y_at(tick), tick) for tick in _ticks(y_low, y_high, 5)]
    below = height - bottom + 16
    for tick in _ticks(x_low, x_high, 4):
        parts.append(f'<text class="tick" x="{x_at(tick):.1f}" y="{below}" text-anchor="middle">{_number(tick)}</text>')
    parts.append(_axes(left, width - right, top, height - bottom, height, x_label, y_label))
    points = " ".join(f"{x_at(x):.1f},{y_at(y):.1f}" for x, y in pairs)
    last_x, last_y = pairs[-1]
    parts.append(
        f'<polyline class="line" style="stroke:var(--{color})" points="{points}"/>'
        f'<circle cx="{x_at(last_x):.1f}" cy="{y_at(last_y):.1f}" r="3" style="fill:var(--{color})">'
        f"<title>{escape(label)}: {_number(last_y)}</title></circle>"
    )
    return _close(parts)


def frame_chart(
    values: Sequence[float],
    highlighted: Sequence[bool],
    *,
    x_label: str,
    y_label: str,
    labels: tuple[str, str],
    size: tuple[int, int] = (1080, 220),
) -> Markup:
    """A dot per frame on a thin line, a diamond in the accent color if highlighted; `labels` of (other, highlighted)
    frames. Clips with more frames than fit get the line, and only the diamonds."""
    width, height = size
    left, right, top, bottom = 56, 12, 30, 38
    finite = np.array([value for value in values if math.isfinite(value)])
    if len(finite) == 0:
        return _empty(width, height, "nothing to plot")
    low, high = _padded(float(finite.min()), float(finite.max()), 0.12)
    inner_width, inner_height = width - left - right, height - top - bottom
    step = inner_width / len(values)

    def y_at(value: float) -> float:
        return top + (1 - (value - low) / (high - low)) * inner_height

    parts = [_open(width, height, f"{y_label} per {x_label}")]
    parts += [_grid_line(left, width - right, y_at(tick), tick) for tick in _ticks(low, high, 4)]
    known = [(index, value) for index, value in enumerate(values) if math.isfinite(value)]
    line = " ".join(f"{left + (index + 0.5) * step:.1f},{y_at(value):.1f}" for index, value in known)
    parts.append(f'<polyline class="line" style="stroke:var(--quiet);stroke-width:1.4" points="{line}"/>')
    radius = min(4.0, max(2.2, step * 0.28))
    for index, value in sorted(known, key=lambda item: highlighted[item[0]]):
        x, y, title = left + (index + 0.5) * step, y_at(value), f"<title>frame {index}: {value:.2f}</title>"
        if highlighted[index]:
            parts.append(_diamond(x, y, radius * 1.5, title))
        elif step >= _SMALLEST_STEP:
            parts.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}">{title}</circle>')
    for tick in _ticks(0, len(values) - 1, width // 100 + 2, whole=True):
        x = left + (tick + 0.5) * step
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{height - bottom + 16}" text-anchor="middle">{tick:.0f}</text>'
        )
    parts.append(_axes(left, width - right, top, height - bottom, height, x_label, y_label))
    if any(highlighted) and not all(highlighted):
        second = left + 15 + 6.6 * len(labels[0]) + 18
        parts.append(f'<circle class="dot" cx="{left + 5}" cy="12" r="4"/>' + _diamond(second + 5, 12, 6))
        parts.append(f'<text class="label" x="{left + 15}" y="16">{escape(labels[0])}</text>')
        parts.append(f'<text class="label" x="{second + 15:.1f}" y="16">{escape(labels[1])}</text>')
    return _close(parts)


def path_chart(
    centers: np.ndarray,
    directions: np.ndarray,
    *,
    title: str,
    axes: tuple[str, str],
    others: Sequence[tuple[str, str, np.ndarray]] = (),
    unit: str = "",
    points: np.ndarray | None = None,
) -> Markup:
    """A camera path: centers (N, 2) and viewing directions (N, 2), with both axes at the same scale.

    `others` are further paths as (label, class of the line, centers). `unit` is that of the scale bar. `points` (M, 2)
    are points of the scene, for orientation; the plot is large enough to contain most of them.
    """
    width, height, margin = 340, 270, 34
    shown = [centers] + [path for _, _, path in others]
    if points is not None and len(points):
        low, high = np.percentile(points, [3, 97], axis=0)
        shown.append(np.array([low, high]))
    bounds = np.concatenate(shown)
    low, high = bounds.min(axis=0), bounds.max(axis=0)
    middle = (low + high) / 2
    available = np.array([width - 2 * margin, height - 2.4 * margin])
    scale = float((available / np.maximum(high - low, 1e-9)).min())

    def place(values: np.ndarray) -> np.ndarray:
        placed = (values - middle) * scale
        return np.stack([width / 2 + placed[:, 0], height / 2 - placed[:, 1]], axis=1)

    parts = [_open(width, height, title)]
    if points is not None and len(points):
        at = place(points)
        inside = (np.abs(at - [width / 2, height / 2]) < [width / 2 - 4, height / 2 - 18]).all(axis=1)
        dots = "".join(f"M{x:.1f} {y:.1f}h.01" for x, y in at[inside])
        parts.append(f'<path class="cloud" d="{dots}"/>')
    at = place(centers)
    every = max(1, math.ceil(len(centers) / 16))
    reach = width * 0.075
    for index in range(0, len(centers), every):
        x, y = at[index]
        dx, dy = directions[index][0], -directions[index][1]
        # the two sides of the field of view
        for turn in (-0.32, 0.32):
            ax = (dx * math.cos(turn) - dy * math.sin(turn)) * reach
            ay = (dx * math.sin(turn) + dy * math.cos(turn)) * reach
            parts.append(f'<line class="view" x1="{x:.1f}" y1="{y:.1f}" x2="{x + ax:.1f}" y2="{y + ay:.1f}"/>')
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    parts.append(f'<polyline class="line" style="stroke:var(--accent)" points="{line}"/>')
    # on top, because a good path covers them otherwise
    for label, kind, path in others:
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in place(path))
        parts.append(f'<polyline class="line thin {kind}" points="{line}"><title>{escape(label)}</title></polyline>')
    for (x, y), kind, name in ((at[0], "begin", "first frame"), (at[-1], "end", "last frame")):
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" class="{kind}"><title>{name}</title></circle>')
    bar = _nice_step(0.2 * width / scale)
    begin, end, base = margin / 2, margin / 2 + bar * scale, height - 10
    parts.append(
        f'<line class="axis" x1="{begin:.1f}" x2="{end:.1f}" y1="{base:.1f}" y2="{base:.1f}"/>'
        f'<text class="tick" x="{end + 6:.1f}" y="{height - 6.5:.1f}">{_number(bar)} {escape(unit)}</text>'
        f'<text class="label" x="{width - 6}" y="{height - 6.5:.1f}" text-anchor="end">{escape(axes[0])} →</text>'
        f'<text class="label" x="12" y="6" text-anchor="end" transform="rotate(-90 12 6)">{escape(axes[1])} →</text>'
    )
    return _close(parts)


def time_bars(times: Sequence[tuple[str, float, str]]) -> Markup:
    """Horizontal bars of (label, seconds, formatted time) at the same scale, each below its label."""
    width, row = 400, 36
    longest = max([seconds for _, seconds, _ in times], default=0.0) or 1.0
    lines = [_open(width, row * len(times) + 2, "time per step")]
    for index, (label, seconds, shown) in enumerate(times):
        y = index * row
        size = max(seconds / longest * (width - 70), 1.5)
        lines.append(
            f'<text class="label" x="0" y="{y + 12}">{escape(label)}</text>'
            f'<rect x="0" y="{y + 17}" width="{size:.1f}" height="12" rx="2" style="fill:var(--second)"/>'
            f'<text class="tick" x="{size + 7:.1f}" y="{y + 27}">{escape(shown)}</text>'
        )
    return _close(lines)


def _open(width: float, height: float, description: str) -> str:
    # much larger than drawn, letters would be larger than those around the plot
    limit = f'style="max-width:{1.3 * width:.0f}px"'
    return f'<svg viewBox="0 0 {width:g} {height:g}" {limit} role="img" aria-label="{escape(description)}">'


def _close(parts: Sequence[str]) -> Markup:
    return Markup("".join(parts) + "</svg>")


def _empty(width: int, height: int, reason: str) -> Markup:
    text = f'<text class="label" x="{width / 2}" y="{height / 2}" text-anchor="middle">{escape(reason)}</text>'
    return _close([_open(width, height, reason), text])


def _grid_line(left: float, right: float, y: float, value: float) -> str:
    return (
        f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="tick" x="{left - 8}" y="{y + 3.5:.1f}" text-anchor="end">{_number(value)}</text>'
    )


def _axes(left: float, right: float, top: float, bottom: float, height: float, x_label: str, y_label: str) -> str:
    """The horizontal axis and the labels of both axes."""
    across, along = (left + right) / 2, (top + bottom) / 2
    return (
        f'<line class="axis" x1="{left}" x2="{right}" y1="{bottom}" y2="{bottom}"/>'
        f'<text class="label" x="{across:.0f}" y="{height - 5}" text-anchor="middle">{escape(x_label)}</text>'
        f'<text class="label" x="12" y="{along:.0f}" text-anchor="middle" '
        f'transform="rotate(-90 12 {along:.0f})">{escape(y_label)}</text>'
    )


def _diamond(x: float, y: float, reach: float, title: str = "") -> str:
    corners = f"M{x:.1f} {y - reach:.1f}l{reach:.1f} {reach:.1f}l{-reach:.1f} {reach:.1f}l{-reach:.1f} {-reach:.1f}z"
    return f'<path class="diamond" d="{corners}">{title}</path>'


def _robust_range(values: np.ndarray) -> tuple[float, float]:
    """The range of most values: the first ones of an optimization can be outliers."""
    low, high = np.percentile(values, [1, 99]) if len(values) > 20 else (values.min(), values.max())
    return float(low), float(high)


def _padded(low: float, high: float, share: float) -> tuple[float, float]:
    if high - low < 1e-9 * max(1.0, abs(low)):
        return low - 0.5, high + 0.5
    return low - share * (high - low), high + share * (high - low)


def _nice_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(max(rough, 1e-30)))
    for factor in (1, 2, 5, 10):
        if factor * power >= rough * 0.999:
            return factor * power
    return 10 * power


def _ticks(low: float, high: float, about: int, whole: bool = False) -> list[float]:
    step = _nice_step((high - low) / max(about, 1))
    if whole:
        step = max(1.0, round(step))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def _number(value: float) -> str:
    if value == 0:
        return "0"
    if abs(value) >= 10000 and abs(value) % 1000 == 0:
        return f"{value / 1000:.0f}k"
    if abs(value) >= 0.01:
        return f"{value:.3f}".rstrip("0").rstrip(".") if abs(value) < 10 else f"{value:.1f}".rstrip("0").rstrip(".")
    return f"{value:.1e}"
