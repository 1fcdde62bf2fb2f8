"""Which structures of a case are to stay as they are: names the user gave, against what is in the case's store."""

from __future__ import annotations

import fnmatch
import numbers
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from defacedask.anatomy.structure_names import standard_names
from defacedask.errors import ConfigError, RefusedError

if TYPE_CHECKING:
    from defacedask.anatomy.head import Head
    from defacedask.flow.stages.drawn import DrawnStructures
    from defacedask.flow.stages.kept import Kept
    from defacedask.io.dicom.model import Case
    from defacedask.io.store import CaseStore

    Structures: TypeAlias = CaseStore | DrawnStructures

__all__ = [
    "check_margin",
    "drawn_brain",
    "fit_nothing",
    "fits",
    "kept_structures",
    "patterns_of",
    "spared_structures",
]

#: How the reader of structures marks one whose contours it could not use.
_UNUSED = "not used:"


def patterns_of(text: str | Sequence[str] | None) -> tuple[str, ...]:
    """``'PTV*,Brain'`` -> ``('PTV*', 'Brain')``; each once.

    Raises
    ------
    ConfigError
        For what is no text, or a text without a name.
    """
    text = () if text is None else text
    named: list[Any] = list(text) if isinstance(text, Iterable) and not isinstance(text, str) else [text]
    if wrong := [part for part in named if not isinstance(part, str)]:
        raise ConfigError(
            f"structures to protect are named by texts, not by an object of the type {type(wrong[0]).__name__}.",
            "Write 'PTV*,Brain', or a list of such names.",
        )
    parts: list[str] = [name for part in named for name in part.split(",")]
    names = tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))
    if any(named) and not names:
        raise ConfigError(
            f"{','.join(named)!r} names no structure to protect.", "Write 'PTV*,Brain', or leave it out."
        )
    return names


def check_margin(margin_mm: float) -> float:
    """Margin around protected structures, mm.

    Raises
    ------
    ConfigError
        If it is not between 0 and 20.
    """
    if not isinstance(margin_mm, numbers.Real):
        raise ConfigError(f"the margin around protected structures is {margin_mm!r}.", "Choose 0 to 20 mm.")
    if not 0 <= margin_mm <= 20:
        raise ConfigError(
            f"the margin around protected structures is {margin_mm:g} mm.", "Choose 0 to 20 mm."
        )
    return float(margin_mm)


def fits(pattern: str, *names: str) -> bool:
    """Whether a pattern, with ``*`` and ``?``, is any of the names, whatever their case."""
    return any(fnmatch.fnmatchcase(name.casefold(), pattern.casefold()) for name in names)


def fit_nothing(case: Case, patterns: Sequence[str]) -> list[str]:
    """Patterns that fit no structure of a case by the names that its structure sets give; nothing is read.

    Parameters
    ----------
    case : Case
    patterns : sequence of str
        The brain is there without a structure set, too.
    """
    named = [name for part in case.structures for name in part.facts.get("structures", ())]
    names = ("Brain", *named, *standard_names(named))
    return [pattern for pattern in patterns if not fits(pattern, *names)]


def kept_structures(
    store: Structures, patterns: Sequence[str], head: Head | None = None
) -> tuple[list[Kept], list[str]]:
    """Structures of a case that stay as they are, by standard name or the name in the structure set.

    Parameters
    ----------
    store : CaseStore or DrawnStructures
    patterns : sequence of str
    head : Head, optional
        Whose brain stands in for a structure called Brain that the case lacks.

    Returns
    -------
    kept : list of Kept
    missing : list of str
        One sentence for each pattern that fits nothing there is a voxel of.

    Raises
    ------
    RefusedError
        If a structure that a pattern fits could not be read: it cannot be kept.
    """
    parts, lost = _structures(store)
    for pattern in patterns:
        for name, reason in lost.items():
            if fits(pattern, name):
                raise RefusedError(
                    f"the structure {name} is to be protected but could not be read: {reason}",
                    "Mend the structure set, or leave the pattern out.",
                )
    return _kept(store, parts, patterns, head)


def _structures(store: Structures) -> tuple[list[tuple[str, Any]], dict[str, str]]:
    """Structures of a case with the paths of their sets, and name -> reason of those that could not be read."""
    lost: dict[str, str] = {}
    for row in store.facts.get("unread_structures", ()):
        lost |= dict.fromkeys(row["names"], row["reason"])
    parts: list[tuple[str, Any]] = []
    for path in store.structure_sets:
        for part in store.structures(path):
            unused = next((w for w in part.warnings if w.startswith(_UNUSED)), "")
            if unused:
                lost |= dict.fromkeys((part.name, part.original_name), unused.removeprefix(_UNUSED).strip())
            else:
                parts.append((path, part))
    return parts, lost


def _kept(
    store: Structures, parts: Sequence[tuple[str, Any]], patterns: Sequence[str], head: Head | None = None
) -> tuple[list[Kept], list[str]]:
    """See `kept_structures`; ``parts`` as `_structures` gives them."""
    from defacedask.flow.stages.kept import Kept

    kept: dict[tuple[str, str], Kept] = {}  # names are unique in a set
    missing: list[str] = []
    for pattern in patterns:
        found = False
        for path, part in parts:
            if not fits(pattern, part.name, part.original_name):
                continue
            mask = part.mask
            if not mask.any():
                continue
            found = True
            if (path, part.name) not in kept:
                end = [a + n for a, n in zip(part.start, part.shape, strict=True)]
                grid = store.geometry(path).block(part.start, end)
                kept[path, part.name] = Kept(part.original_name, mask, grid)
        if found:
            continue
        if fits(pattern, "Brain") and head is not None:
            kept["head", ""] = Kept("Brain", head.brain, head.grid)
        else:
            missing.append(
                f"no structure of the case is called {pattern}, so nothing of that name is protected."
            )
    return list(kept.values()), missing


def spared_structures(store: Structures, patterns: Sequence[str], head: Head) -> tuple[list[Kept], list[str]]:
    """Structures that a defacer leaves as they are without being asked, as far as the case has them.

    Parameters
    ----------
    store : CaseStore or DrawnStructures
    patterns : sequence of str
        See `defacedask.defacers.Defacer.spares`.
    head : Head

    Returns
    -------
    kept : list of Kept
        Voxels outside of the body are left out: a new face may lie in that air.
    notes : list of str
        One sentence for each that is there and cannot be read.
    """
    from defacedask.anatomy.grid import resample
    from defacedask.flow.stages.kept import Kept

    if not patterns:
        return [], []
    parts, lost = _structures(store)
    notes = [
        f"{name} is not spared, for it could not be read: {reason}"
        for name, reason in lost.items()
        if any(fits(pattern, name) for pattern in patterns)
    ]
    kept: list[Kept] = []
    for one in _kept(store, parts, patterns)[0]:
        mask = one.mask & resample(head.body, head.grid, one.grid, nearest=True)
        if mask.any():
            kept.append(Kept(one.name, mask, one.grid))
    return kept, notes


#: Dice overlap of a drawn brain with the one found in the image from which it is believed to be the brain.
ALIKE = 0.7


def drawn_brain(store: Structures, head: Head) -> Kept | None:
    """The brain as somebody drew it, where a structure set has one that is about where the brain was found.

    A drawn brain reaches to the skull, one that is found ends a voxel before it: both stay.

    Parameters
    ----------
    store : CaseStore or DrawnStructures
    head : Head
    """
    from defacedask.anatomy.grid import resample
    from defacedask.flow.stages.kept import Kept

    for path in store.structure_sets:
        for part in store.structures(path):
            if part.name != "Brain" or any(w.startswith(_UNUSED) for w in part.warnings):
                continue
            mask = part.mask
            end = [a + n for a, n in zip(part.start, part.shape, strict=True)]
            grid = store.geometry(path).block(part.start, end)
            found = resample(head.brain, head.grid, grid, nearest=True)
            whole = float(head.brain.sum()) * head.grid.voxel_volume / grid.voxel_volume
            if 2.0 * float((found & mask).sum()) >= ALIKE * (whole + float(mask.sum())):
                return Kept(f"{part.original_name} (as drawn)", mask, grid)
    return None
