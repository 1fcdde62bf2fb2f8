"""Which attacks there are, and which of them a run tries."""

from __future__ import annotations

from collections.abc import Iterable

from defacedask.errors import ConfigError
from defacedask.faces.looking import FORCED, PLAIN

__all__ = [
    "ATTACK_SETS",
    "BEST",
    "BODY",
    "DENOISED",
    "DOSE",
    "FILLED",
    "FORCED",
    "INVERSION",
    "NAMES",
    "PET",
    "PLAIN",
    "UNMASKED",
    "resolve_attacks",
]

BEST, FILLED, UNMASKED, DENOISED = "best_view_level", "template_filled", "unmasked", "denoised_air"
INVERSION = "inversion"
BODY, DOSE, PET = "body_contour", "dose_grid", "pet_skin"

#: Every attack. The last three are not done to an image of the anatomy but made from something else that shows the
#: head; they are told apart by the modality in the tables (RTSTRUCT, RTDOSE, PT).
NAMES: dict[str, str] = {
    PLAIN: "the skin, at the views of the configuration",
    FORCED: "box and landmarks of the original's same view, where no face is detected; in every other attack too",
    BEST: "more views, another light and other skin levels; whatever is nearest counts",
    FILLED: "the average face put where the face is missing",
    UNMASKED: "levels inside the tissue, peeling, texture, the line under a layer, a classifier, the published mask",
    DENOISED: "ghosts of the face in what reads as air",
    INVERSION: "the face as a regression, learnt on the other persons, tells it from what the defacer kept",
    BODY: "the body's contour of the structure set",
    DOSE: "the dose grid",
    PET: "the skin's uptake in PET",
}

#: Sets by name. ``basic`` is what the study did, with the forced crop. What each costs is measured in README.
ATTACK_SETS: dict[str, tuple[str, ...]] = {
    "basic": (PLAIN, FORCED),
    "default": (PLAIN, FORCED, FILLED, UNMASKED, BODY, DOSE, PET),
    "all": tuple(NAMES),
}


def resolve_attacks(names: str | Iterable[str]) -> tuple[str, ...]:
    """Names and sets -> attacks in their order; ``plain`` is always among them, for all others build on it.

    Parameters
    ----------
    names : str or iterable of str
        Comma-separated names, or ``basic``, ``default`` or ``all``.

    Raises
    ------
    ConfigError
        For an unknown name, or none at all.
    """
    parts = names.split(",") if isinstance(names, str) else list(names)
    chosen: set[str] = set()
    for part in (p.strip() for p in parts):
        if not part:
            continue
        if part not in NAMES and part not in ATTACK_SETS:
            raise ConfigError(
                f"there is no attack {part!r}.", f"Choose from: {', '.join([*ATTACK_SETS, *NAMES])}."
            )
        chosen.update(ATTACK_SETS.get(part, (part,)))
    if not chosen:
        raise ConfigError(
            "no attack was named.", "Use --attacks basic, default, all, or a list such as plain,unmasked."
        )
    return tuple(name for name in NAMES if name in chosen | {PLAIN})
