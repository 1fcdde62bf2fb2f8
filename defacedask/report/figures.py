"""The figures: privacy against utility, tolerance sweep, cumulative match, box plots of each structure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from defacedask.report.svg import COLOURS, INK, MARKERS, MUTED, PAPER, drawing, to_svg
from defacedask.tables.evidence import Rate

__all__ = ["MOST_POINTS", "Curve", "Point", "boxes", "curves", "privacy_utility"]

#: Points drawn beyond the whiskers of a box.
MOST_POINTS = 40


@dataclass(frozen=True)
class Point:
    """One defacer in the privacy-utility figure.

    Parameters
    ----------
    name : str
    look : int
        Which colour and marker.
    matched : Rate
        Cases matched by the strongest attack.
    change, low, high : float
        Median over cases of each case's median absolute percent change, and its 95 % interval (NaN: too few).
    cases : int
        Cases with radiomics.
    """

    name: str
    look: int
    matched: Rate
    change: float
    low: float
    high: float
    cases: int


def look_of(index: int) -> tuple[str, str]:
    """Colour and marker of the n-th defacer; the pair repeats only after 56."""
    return COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]


def _change_axis(axis: Any, largest: float, threshold: float = 1.0, negative: bool = False) -> None:
    """Linear to ``threshold`` percent, logarithmic beyond: changes span 0 to 10 000 %."""
    axis.set_xscale("symlog", linthresh=threshold, linscale=0.6)
    top = max(threshold, largest) * 1.5
    axis.set_xlim(-top if negative else -0.08 * threshold, top)
    ticks = [0.0] + [10.0**k for k in range(round(np.log10(threshold)), 7) if 10.0**k <= top]
    if negative:
        ticks = [-t for t in reversed(ticks[1:])] + ticks
    if len(ticks) > 11:
        ticks = [t for t in ticks if t == 0 or round(np.log10(abs(t))) % 2 == 0]
    axis.set_xticks(ticks, [f"{t:g}".replace("-", "−") if abs(t) < 1e4 else _power(t) for t in ticks])
    axis.minorticks_off()


def _power(number: float) -> str:
    digits = str(round(np.log10(abs(number)))).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{'−' if number < 0 else ''}10{digits}"


def _near(a: Point, b: Point) -> bool:
    """Whether two marks or their intervals would hide each other, on an axis that is linear below 0.1 %."""
    x, y = (np.arcsinh(p.change / 0.1) for p in (a, b))
    (low, high), (least, most) = a.matched.interval, b.matched.interval
    return bool(abs(x - y) < 0.25 and low <= most and least <= high)


def privacy_utility(points: Sequence[Point], original: Rate | None) -> str:
    """Match rate against median absolute feature change, both with 95 % intervals."""
    from matplotlib.ticker import PercentFormatter
    from matplotlib.transforms import ScaledTranslation

    with drawing(7.2, 4.2) as figure:
        axis = figure.add_subplot()
        largest = max((p.high if np.isfinite(p.high) else p.change for p in points), default=1.0)
        _change_axis(axis, largest, 0.1)
        axis.set_ylim(-0.06, 1.06)
        axis.yaxis.set_major_formatter(PercentFormatter(1.0))
        if original is not None and original.cases:
            axis.axhline(
                original.share,
                color=MUTED,
                linewidth=1,
                linestyle=(0, (4, 3)),
                label=f"originals: {original.hits} of {original.cases}",
            )
        for number, point in enumerate(points):
            colour, marker = look_of(point.look)
            low, high = point.matched.interval
            # marks on one spot are set side by side
            same = sum(_near(point, other) for other in points[:number])
            beside = axis.transData + ScaledTranslation(9 * same / 72, 0, figure.dpi_scale_trans)
            style = {"color": colour, "linewidth": 1.6, "transform": beside, "solid_capstyle": "butt"}
            axis.plot([point.change] * 2, [low, high], **style)
            if np.isfinite(point.low):
                axis.plot([point.low, point.high], [point.matched.share] * 2, **style)
            axis.plot(
                point.change,
                point.matched.share,
                marker,
                color=colour,
                markersize=8,
                linestyle="none",
                label=f"{point.name}: {point.matched.hits} of {point.matched.cases}",
                clip_on=False,
                zorder=3,
                transform=beside,
            )
        axis.set_xlabel("median absolute change of the radiomics features, % (better: left)")
        axis.set_ylabel("cases matched with their original (better: down)")
        figure.legend(loc="outside right upper", handletextpad=0.3, labelspacing=0.8)
        said = "; ".join(
            f"{p.name}: {p.matched.hits} of {p.matched.cases} matched, median change {p.change:.3g} %"
            for p in points
        )
        return to_svg(figure, "tradeoff", "Privacy against utility", said)


@dataclass(frozen=True)
class Curve:
    """One line of a figure."""

    name: str
    look: int | None
    x: np.ndarray
    y: np.ndarray


def curves(
    lines: Sequence[Curve],
    *,
    name: str,
    title: str,
    xlabel: str,
    ylabel: str,
    steps: bool = True,
    marks: Sequence[tuple[float, str]] = (),
    log: float = 0.0,
    chance: bool = False,
    whole: bool = False,
) -> str:
    """Step curves with a direct legend.

    ``marks`` are vertical lines with a word; ``log`` is the left end of a logarithmic axis of shares (0: linear),
    ``chance`` draws the line of guessing.
    """
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    with drawing(7.2, 3.4) as figure:
        axis = figure.add_subplot()
        axis.set_ylim(-0.03, 1.03)
        axis.yaxis.set_major_formatter(PercentFormatter(1.0))
        if whole and lines:
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axis.set_xlim(0.5, max(line.x.max() for line in lines) + 0.5)  # ranks begin at 1
        if log:
            axis.set_xscale("log")
            axis.set_xlim(log, 1.0)
            ticks = [10.0**k for k in range(-6, 1) if 10.0**k >= log]
            axis.set_xticks(ticks, [f"{100 * t:g} %" for t in ticks])
            axis.minorticks_off()
        if chance:
            guess = np.geomspace(log, 1.0, 60) if log else np.linspace(0, 1, 2)
            axis.plot(guess, guess, color=MUTED, linewidth=0.8, linestyle=(0, (2, 3)))
        for index, line in enumerate(lines):
            colour, marker = (INK, "") if line.look is None else look_of(line.look)
            dash = "solid" if line.look is None else (0, ((1, 0), (6, 2), (3, 2), (1, 1))[index % 4])
            axis.plot(
                np.maximum(line.x, log) if log else line.x,
                line.y,
                color=colour,
                linewidth=2 if line.look is None else 1.7,
                linestyle=dash,
                drawstyle="steps-post" if steps else "default",
                marker=marker if not steps else "",
                markersize=4,
                label=line.name,
            )
        for number, (position, word) in enumerate(marks):
            axis.axvline(position, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
            axis.annotate(
                word,
                (position, 0.9 - 0.08 * number),  # neighbours must not write over each other
                xycoords=("data", "axes fraction"),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
                color=MUTED,
                bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.5},
                zorder=4,
            )
        axis.set_xlabel(xlabel)
        axis.set_ylabel(ylabel)
        figure.legend(loc="outside right upper", labelspacing=0.6)
        return to_svg(figure, name, title, f"{title}: one curve each for {', '.join(c.name for c in lines)}.")


def _box(values: np.ndarray, at: float, half: float) -> tuple[list[Any], Any, list[Any]]:
    """Lines of one horizontal box plot: left part, median, right part (whiskers: 5th and 95th percentile)."""
    p5, q1, middle, q3, p95 = np.percentile(values, [5, 25, 50, 75, 95])
    box = [(q1, at - half), (q3, at - half), (q3, at + half), (q1, at + half), (q1, at - half)]
    caps = [[(p, at - half / 2), (p, at + half / 2)] for p in (p5, p95)]
    left = [box, [(p5, at), (q1, at)], caps[0]]
    right = [[(q3, at), (p95, at)], caps[1]]
    return left, [(middle, at - half), (middle, at + half)], right


def _outermost(values: np.ndarray) -> np.ndarray:
    """At most `MOST_POINTS` values, from both ends, as they came: a page must not grow with the cohort."""
    if len(values) <= MOST_POINTS:
        return values
    order = np.argsort(values, kind="stable")
    half = MOST_POINTS // 2
    return values[np.sort(np.concatenate([order[:half], order[-half:]]))]


def boxes(
    groups: Sequence[str],
    series: Sequence[tuple[str, int, Sequence[np.ndarray]]],
    *,
    name: str,
    title: str,
    xlabel: str,
    absolute: bool = False,
) -> str:
    """Horizontal box plots: one row a group, in it one box a series; single cases as points where they are few.

    Parameters
    ----------
    groups : sequence of str
        Row names.
    series : sequence of (name, look, values by group)
        Percent changes.
    absolute : bool
        The values are sizes; the axis starts at 0.
    """
    from matplotlib.collections import LineCollection

    everything = np.concatenate([np.ravel(v) for _, _, by_group in series for v in by_group] or [np.zeros(1)])
    largest = float(np.abs(everything).max()) if len(everything) else 1.0
    slot = 0.8 / max(1, len(series))
    height = 0.5 + max(0.3, 0.17 * len(series) + 0.1) * len(groups)
    # margins by hand: a layout engine draws everything twice, and there is one figure a structure
    left = 0.25 + 0.075 * max(map(len, groups))
    head, foot = 0.12 + 0.2 * -(-len(series) // 4), 0.48
    tall = height + head
    with drawing(7.2, tall, layout=None) as figure:
        figure.subplots_adjust(left / 7.2, foot / tall, 0.985, 1 - head / tall)
        axis = figure.add_subplot()
        axis.grid(False, axis="y")
        _change_axis(axis, largest, negative=not absolute)
        handles = []
        for index, (label, look, by_group) in enumerate(series):
            colour, marker = look_of(look)
            thin: list[Any] = []
            thick: list[Any] = []
            points: list[tuple[float, float]] = []
            for row, values in enumerate(by_group):
                at = row - 0.4 + slot * (index + 0.5)
                if len(values) >= 5:
                    lows, middle, highs = _box(values, at, slot * 0.36)
                    thin += lows + highs
                    thick.append(middle)
                    low, high = np.percentile(values, [5, 95])
                    outside = _outermost(values[(values < low) | (values > high)])
                else:
                    outside = np.asarray(values)
                points += [(value, at) for value in outside]
            axis.add_collection(LineCollection(thin, colors=colour, linewidths=1.1))
            axis.add_collection(LineCollection(thick, colors=colour, linewidths=2.6))
            if points:
                axis.plot(*np.transpose(points), marker, color=colour, markersize=2.6, linestyle="none")
            (handle,) = axis.plot([], [], marker, color=colour, markersize=6, linestyle="none", label=label)
            handles.append(handle)
        for row in range(1, len(groups)):
            axis.axhline(row - 0.5, color="#030303", linewidth=0.6)
        if not absolute:
            axis.axvline(0, color=MUTED, linewidth=0.9)
        axis.set_yticks(range(len(groups)), groups)
        axis.set_ylim(len(groups) - 0.5, -0.5)
        axis.tick_params(axis="y", length=0)
        axis.set_xlabel(xlabel)
        figure.legend(
            handles=handles, loc="upper left", ncols=min(4, len(handles)), handletextpad=0.1, borderpad=0.1
        )
        return to_svg(
            figure,
            name,
            title,
            f"{title}. Rows: {', '.join(groups)}. Boxes: {', '.join(s[0] for s in series)}.",
        )
