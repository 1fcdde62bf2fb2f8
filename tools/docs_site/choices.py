"""What there is to choose: defacers with their options, recognisers, attacks, and the configuration."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources

from defacedask.attacks import ATTACK_SETS
from defacedask.attacks import BUILT_IN as ATTACKS
from defacedask.defacers import BUILT_IN, STUDY_DEFACERS, get_defacer
from defacedask.defacers.options import known_options
from defacedask.faces.recognition import BUILT_IN as RECOGNISERS

__all__ = ["configuration", "page"]


def page() -> str:
    """Markdown of all that can be named on the command line."""
    kinds = {name: type(get_defacer(name)) for name in BUILT_IN}
    return _page(
        "What there is to choose",
        "`defacedask list defacers`, `list recognisers` and `list attacks` say the same, with what plug-ins add.",
        "## Defacers",
        f"`all` means {_and(STUDY_DEFACERS)}. The control `none` always runs beside them in a study. Options go "
        "behind a colon: `quickshear:form=published:buffer_mm=4`.",
        _table(
            ("name", "what it does", "reversible", "options"),
            (
                (f"`{name}`", kind.describe(), "**yes**" if kind.reversible else "no", known_options(kind))
                for name, kind in kinds.items()
            ),
        ),
        "## Attacks",
        _table(
            ("name", "what is tried", "in the sets"),
            (
                (f"`{name}`", it.about, ", ".join(one for one, own in ATTACK_SETS.items() if name in own))
                for name, it in ATTACKS.items()
            ),
        ),
        "## Recognisers",
        "\n".join(f"- `{name}`" for name in RECOGNISERS),
        "`onnx` needs a file (`onnx:PATH`). `azure` is a service: it gets pictures of the faces, and only with "
        "`--allow-upload`.",
    )


def configuration() -> str:
    """Markdown of the configuration: the file of defaults itself."""
    text = resources.files("defacedask").joinpath("defacedask.yaml").read_text(encoding="utf-8")
    return _page(
        "Configuration",
        "These are the defaults, as they stand in `defacedask/defacedask.yaml`. Dask's configuration system reads "
        "them. Override one in a file in `~/.config/dask/`, or by a variable in which two underscores separate the "
        "levels: `DASK_DEFACEDASK__RECOGNITION__TOLERANCE=0.4`. An option of the command line goes before both.",
        f"```yaml\n{text.strip()}\n```",
    )


def _page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", *parts]) + "\n"


def _and(names: Iterable[str]) -> str:
    *most, last = (f"`{name}`" for name in names)
    return f"{', '.join(most)} and {last}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    cells = [head, ("---",) * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(" ".join(one.split()).replace("|", "&#124;") for one in row) + " |" for row in cells
    )
