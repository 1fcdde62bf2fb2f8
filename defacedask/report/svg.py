"""Matplotlib figures as inline SVG that follows the page: its fonts, its ink, light and dark."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["COLOURS", "INK", "MARKERS", "MUTED", "PAPER", "RULE", "drawing", "to_svg"]

#: Stand-ins that `to_svg` turns into the page's CSS variables.
INK, MUTED, RULE, PAPER = "#010101", "#020202", "#030303", "#040404"
#: Okabe and Ito's colours in an order that keeps neighbours apart for colour-blind readers. In the page each is
#: a variable with a lighter twin for dark screens.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#666666")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "h")

_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
    PAPER: "var(--paper)",
    **{colour: f"var(--c{i})" for i, colour in enumerate(COLOURS)},
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "defacedask",
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.edgecolor": RULE,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9.5,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "figure.facecolor": "none",
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "text.color": INK,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": INK,
}


@contextmanager
def drawing(width: float, height: float, **options: Any) -> Iterator[Any]:
    """Give a figure of ``width`` x ``height`` inches in the page's style; it is closed afterwards.

    Nothing global is touched: no pyplot, no backend choice.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), **({"layout": "constrained"} | options))
        FigureCanvasSVG(figure)
        yield figure
        figure.clear()


def to_svg(figure: Any, name: str, title: str, description: str) -> str:
    """Turn a figure into an ``<svg>`` element.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Made by `drawing`.
    name : str
        Unique on the page: put before all ids.
    title, description : str
        What a screen reader says.
    """
    from markupsafe import escape

    stream = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(stream, format="svg", metadata=nothing, transparent=True)
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{name}-", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    # the page's font and size steps; matplotlib laid out with a wider one, so nothing overflows
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    head = (
        f'<svg role="img" aria-labelledby="{name}-t {name}-d" viewBox="0 0 '
        f'{figure.get_figwidth() * 72:g} {figure.get_figheight() * 72:g}" '
        f'style="width:{figure.get_figwidth() * 96:.0f}px" xmlns:xlink="http://www.w3.org/1999/xlink">'
        f'<title id="{name}-t">{escape(title)}</title><desc id="{name}-d">{escape(description)}</desc>'
    )
    return re.sub(r"^<svg[^>]*>", lambda _: head, text, count=1)
