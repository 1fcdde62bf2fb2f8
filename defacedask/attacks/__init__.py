"""Attacks on defaced heads, one a file, behind one record (see `base`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from defacedask.attacks.base import Attack, Attempt
from defacedask.attacks.names import (
    BEST,
    BODY,
    DEBLURRED,
    DENOISED,
    DOSE,
    ENROLMENT,
    FILLED,
    FORCED,
    INVERSION,
    PET,
    PLAIN,
    SYNTHETIC,
    UNMASKED,
)
from defacedask.attacks.target import Target
from defacedask.errors import ConfigError
from defacedask.plugins import Plugins

__all__ = [
    "ATTACK_SETS",
    "BUILT_IN",
    "Attack",
    "Attempt",
    "Target",
    "attack_names",
    "attempts",
    "get_attack",
    "resolve_attacks",
]

#: Entry points through which other packages' attacks join: ``name = "module:RECORD"``, an `Attack` of that name.
GROUP = "defacedask.attacks"
_PLUGINS = Plugins(GROUP, "attack")

#: Built-in attacks, in the order of the tables. Makers are imported when they are needed.
BUILT_IN: dict[str, Attack] = {
    one.name: one
    for one in (
        Attack(PLAIN, "the skin, at the views of the configuration", usual=True),
        Attack(
            FORCED,
            "box and landmarks of the original's same view, where no face is detected; in every other attack too",
            usual=True,
        ),
        Attack(
            BEST,
            "more views, another light and other skin levels; whatever is nearest counts",
            "defacedask.attacks.levels:level_attempts",
            views=2,
        ),
        Attack(
            FILLED,
            "the average face put where the face is missing",
            "defacedask.attacks.template_filled:template_filled",
            views=2,
            usual=True,
        ),
        Attack(
            UNMASKED,
            "levels inside the tissue, peeling, texture, the line under a layer, a classifier, the published mask",
            "defacedask.attacks.unmasking:unmasked",
            usual=True,
        ),
        Attack(
            DENOISED,
            "ghosts of the face in what reads as air",
            "defacedask.attacks.denoised_air:denoised_air",
        ),
        Attack(
            ENROLMENT,
            "a classifier of many renders of everybody's original names each picture of the other attacks",
        ),
        Attack(
            INVERSION,
            "the face as a regression, learnt on the other persons of the run, tells it from what is left",
            views=2,
        ),
        Attack(
            SYNTHETIC,
            "what a detector tells to be added or replaced taken off, alone and with the average face in the hole",
            "defacedask.attacks.synthetic.peel:synthetic_voxels",
        ),
        Attack(
            DEBLURRED,
            "a face that is softer than the rest of its head, deconvolved",
            "defacedask.attacks.deblurred:deblurred",
        ),
        Attack(BODY, "the body's contour of the structure set", usual=True),
        Attack(DOSE, "the dose grid", usual=True),
        Attack(PET, "the skin's uptake in PET", usual=True),
    )
}

#: Sets by name. ``basic`` is what the study did, with the forced crop. What each costs: docs/guide/attacks.md.
ATTACK_SETS: dict[str, tuple[str, ...]] = {
    "basic": (PLAIN, FORCED),
    "default": tuple(name for name, one in BUILT_IN.items() if one.usual),
    "all": tuple(BUILT_IN),
}


def attack_names() -> list[str]:
    """Names of all attacks, built-in first."""
    return [*BUILT_IN, *(name for name in _PLUGINS.names() if name not in BUILT_IN)]


def get_attack(name: str) -> Attack:
    """The attack of a name.

    Raises
    ------
    ConfigError
        If there is none, or more than one, or a plug-in's cannot be loaded.
    """
    _PLUGINS.require_one(name, name in BUILT_IN)
    if name in BUILT_IN:
        return BUILT_IN[name]
    found, where = _PLUGINS.load(name)
    if not where:
        raise ConfigError(
            f"there is no attack {name!r}.", f"Choose from: {', '.join([*ATTACK_SETS, *attack_names()])}."
        )
    if not isinstance(found, Attack) or found.name != name or not found.makes:
        raise _PLUGINS.unusable(name, where, "it is no Attack of that name with a maker")
    return found


def attempts(target: Target, names: Sequence[str]) -> list[Attempt]:
    """All attempts of the named attacks at a target.

    Raises
    ------
    ConfigError
        For an unknown name.
    """
    return [attempt for name in names for attempt in get_attack(name).attempts(target)]


def resolve_attacks(names: str | Iterable[str]) -> tuple[str, ...]:
    """Names and sets -> attacks in their order; ``plain`` is always among them, for all others build on it.

    Parameters
    ----------
    names : str or iterable of str
        Comma-separated names, or ``basic``, ``default`` or ``all`` (the built-in ones).

    Raises
    ------
    ConfigError
        For an unknown name, or none at all, or a plug-in that cannot be used.
    """
    parts = names.split(",") if isinstance(names, str) else list(names)
    chosen: set[str] = set()
    for part in (p.strip() for p in parts):
        if part in ATTACK_SETS:
            chosen.update(ATTACK_SETS[part])
        elif part:
            chosen.add(get_attack(part).name)
    if not chosen:
        raise ConfigError(
            "no attack was named.", "Use --attacks basic, default, all, or a list such as plain,unmasked."
        )
    return tuple(name for name in attack_names() if name in chosen | {PLAIN})
