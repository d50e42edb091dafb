"""Curves of metrics as SVG, drawn without a plotting library so that every run can have them."""

import math
from collections.abc import Mapping, Sequence
from html import escape


Series = Mapping[str, Sequence[tuple[float, float]]]

WIDTH, HEIGHT = 420, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 12, 28
_COLOURS = {"train": "var(--train)", "val": "var(--val)", "test": "var(--test)"}


def draw_curves(title: str, series: Series) -> str:
    """A figure with one line per series over the optimizer step.

    Args:
        title: Caption.
        series: Points (step, value) by name of the stage; values that are not finite are left out.
    """
    kept = {name: [point for point in points if math.isfinite(point[1])] for name, points in series.items()}
    kept = {name: points for name, points in kept.items() if points}
    if not kept:
        return ""
    x_range = _padded([x for points in kept.values() for x, _ in points], 0)
    y_range = _padded([y for points in kept.values() for _, y in points], 0.05)
    lines = "".join(_line(name, points, x_range, y_range) for name, points in kept.items())
    legend = " ".join(f'<span style="color:{_colour(name)}">{escape(name)}</span>' for name in kept)
    return (
        f'<figure><figcaption>{escape(title)} <span class="legend">{legend}</span></figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)} over steps">'
        f"{_axes(x_range, y_range)}{lines}</svg></figure>"
    )


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers that divide a range into about ``count`` parts.

    Example:
        >>> ticks(0, 900)
        [0, 200, 400, 600, 800]
    """
    rough = (high - low) / count
    magnitude = 10 ** math.floor(math.log10(rough))
    step = min((factor * magnitude for factor in (1, 2, 5, 10)), key=lambda candidate: abs(candidate - rough))
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _padded(values: Sequence[float], share: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    if low == high:
        return low - (abs(low) or 1) * 0.5, high + (abs(high) or 1) * 0.5
    return low - share * (high - low), high + share * (high - low)


def _x(value: float, span: tuple[float, float]) -> float:
    return _LEFT + (value - span[0]) / (span[1] - span[0]) * (WIDTH - _LEFT - _RIGHT)


def _y(value: float, span: tuple[float, float]) -> float:
    return HEIGHT - _BOTTOM - (value - span[0]) / (span[1] - span[0]) * (HEIGHT - _TOP - _BOTTOM)


def _colour(name: str) -> str:
    return _COLOURS.get(name, "var(--train)")


def _line(name: str, points: Sequence[tuple[float, float]], x_range: tuple[float, float], y_range: tuple[float, float]) -> str:
    placed = [(_x(x, x_range), _y(y, y_range)) for x, y in sorted(points)]
    if len(placed) == 1:
        return f'<circle cx="{placed[0][0]:.1f}" cy="{placed[0][1]:.1f}" r="3" fill="{_colour(name)}"/>'
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
    return f'<polyline points="{path}" fill="none" stroke="{_colour(name)}" stroke-width="1.6"/>'


def _axes(x_range: tuple[float, float], y_range: tuple[float, float]) -> str:
    parts = []
    for value in ticks(*y_range):
        y = _y(value, y_range)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{value:.4g}</text>')
    parts += [
        f'<text x="{_x(value, x_range):.1f}" y="{HEIGHT - 10}" text-anchor="middle">{value:.6g}</text>'
        for value in ticks(*x_range)
    ]
    return "".join(parts)
