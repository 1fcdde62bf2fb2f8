"""Names of structures: from what a clinic wrote to the names of the study (TG-263).

Only real synonyms are mapped, spelled in any case and with any separators: TG-263 names and their reverse
order, plain English, common abbreviations, Latin and German. Nothing is guessed: a margin, a partial structure,
a planning helper or a combination (``Brainstem_PRV03``, ``~Brain``, ``zBrain``, ``Parotid_L-PTV``,
``Parotids``) keeps its own name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = [
    "STUDY_NAMES",
    "is_target_volume",
    "standard_name",
    "standard_names",
    "standard_vocabulary",
    "target_dose",
    "target_kind",
]

#: The study's structures, in the order of its tables.
STUDY_NAMES = (
    "Bone_Mandible",
    "Brain",
    "Brainstem",
    "Target",
    "Cavity_Oral",
    "OpticChiasm",
    "Eye_L",
    "Eye_R",
    "OpticNrv_L",
    "OpticNrv_R",
    "Parotid_L",
    "Parotid_R",
)

_SINGLE = {
    "Bone_Mandible": "bone mandible, mandible, mandible bone, mandibula, mandibular bone, lower jaw, "
    "jaw lower, jaw bone lower, unterkiefer",
    "Brain": "brain, whole brain, brain whole, brain total, encephalon, gehirn, hirn",
    "Brainstem": "brainstem, brain stem, stem brain, br stem, brnstem, brstem, truncus cerebri, "
    "truncus encephali, hirnstamm, stammhirn",
    "Cavity_Oral": "cavity oral, oral cavity, oral cav, cav oral, oralcav, cavum oris, cavitas oris, "
    "mouth cavity, mundhoehle, mundhöhle",
    "OpticChiasm": "optic chiasm, chiasm, chiasma, chiasm optic, optic chiasma, chiasma optic, opt chiasm, "
    "opt chiasma, chiasma opticum, chiasma opt",
    "Target": "target, target volume, target vol",
}
_PAIRED = {
    "Eye": "eye, eye ball, eyeball, globe, eye globe, globe eye, bulbus, bulbus oculi, auge",
    "OpticNrv": "optic nrv, optic nerve, nerve optic, nrv optic, opt nerve, opt nrv, optic nrve, "
    "nervus opticus, n opticus, opticus, sehnerv",
    "Parotid": "parotid, parotid gland, gland parotid, glnd parotid, parotid glnd, glandula parotis, "
    "glandula parotidea, parotis",
}
_SIDES = {
    "L": ("l", "lt", "left", "links", "li", "sinistra", "sinister", "sin"),
    "R": ("r", "rt", "right", "rechts", "re", "dextra", "dexter", "dex"),
}


def _aliases() -> dict[str, str]:
    table = {}
    for standard, names in _SINGLE.items():
        for name in names.split(","):
            table[name.replace(" ", "")] = standard
    for organ, names in _PAIRED.items():
        for name in names.split(","):
            words = name.split()
            for side, spellings in _SIDES.items():
                for spelling in spellings:
                    for at in range(len(words) + 1):
                        table["".join([*words[:at], spelling, *words[at:]])] = f"{organ}_{side}"
    return table


_ALIASES = _aliases()
# Separators carry no meaning; every other character does (TG-263: ~ partial, ^ qualifier, + margin).
_SEPARATORS = re.compile(r"[\s_.,;:/()\[\]\\-]+")
_DOSE = r"\d+(?:[.p]\d+)?"
_TARGET = re.compile(
    rf"""(?P<kind>PTV|CTV|GTV|ITV)
    (?:(?:vas|sb|par|mp|p|n|v)(?=$|[\d\s_^!-]))?           # TG-263 classifiers: primary, nodal, ...
    (?P<rest>(?:[\s_^!./()-]*(?:{_DOSE}|[a-z]+))*)
    [\s_^!./()-]*""",
    re.IGNORECASE | re.VERBOSE,
)
# what makes something else of a target: a ring, a helper, a difference
_NOT_A_TARGET = re.compile(
    r"(^(PTV|CTV|GTV|ITV)|[\s_-])(ring|shell|wall|opt|optim\w*|avoid\w*|exp|minus|sub|not|nt|outside|eval|help|dummy|out|prv|"
    r"union|crop\w*|cold|hot|less|without|ohne|artifact|air)\d*($|[\s_-])|[-+](PTV|CTV|GTV|ITV)",
    re.IGNORECASE,
)
_KINDS = ("PTV", "ITV", "CTV", "GTV")
_LEVELS = {
    "high": 3,
    "hi": 3,
    "hd": 3,
    "boost": 3,
    "mid": 1,
    "int": 1,
    "intermediate": 1,
    "low": 0,
    "lo": 0,
    "ld": 0,
}


def standard_vocabulary() -> frozenset[str]:
    """Single words of at least three letters that names of structures are made of, in lower case."""
    texts = [
        *_SINGLE.values(),
        *_PAIRED.values(),
        *STUDY_NAMES,
        *(w for side in _SIDES.values() for w in side),
    ]
    return frozenset(w for text in texts for w in re.split(r"[\W_]+", text.lower()) if len(w) > 2)


def standard_name(name: str) -> str:
    """Name of the study for a structure, or the name itself (stripped) if it is none of them.

    Parameters
    ----------
    name : str
        As in the structure set.

    Returns
    -------
    str
        One of `STUDY_NAMES`, or ``name`` without surrounding blanks and control characters. Every target
        (PTV, ITV, CTV, GTV) answers ``Target``: `standard_names` decides between several.
    """
    own = _clean(name)
    if own[:1] in "_~" or not own:
        return own
    if target_kind(own):
        return "Target"
    return _ALIASES.get(_SEPARATORS.sub("", own).casefold(), own)


def target_kind(name: str) -> str:
    """``PTV``, ``ITV``, ``CTV`` or ``GTV`` if the name is a target volume's, else ``""``."""
    own = _clean(name)
    match = _TARGET.fullmatch(own)
    if not match or _NOT_A_TARGET.search(own):
        return ""
    return match["kind"].upper()


def is_target_volume(name: str, kind: str = "") -> bool:
    """Whether a structure is a target: by its interpreted type, or by its name (also the study's, ``Target``)."""
    return (
        kind.upper() in ("PTV", "CTV", "GTV", "ITV")
        or name.strip().lower() == "target"
        or bool(target_kind(name))
    )


def target_dose(name: str) -> float:
    """Prescribed dose in Gy that a target's name says (``PTV70``, ``PTV_7000``, ``PTV 59.4 Gy``), else nan.

    Numbers below 10 are counters (``PTV1``), those from 1000 on are centigray.
    """
    found = [float(n.replace("p", ".")) for n in re.findall(r"\d+(?:[.p]\d+)?", _clean(name))]
    doses = [n / 100 if n >= 1000 else n for n in found]
    doses = [n for n in doses if 10 <= n <= 120]
    return max(doses) if doses else float("nan")


def standard_names(names: Sequence[str], empty: Sequence[bool] | None = None) -> list[str]:
    """Names of one structure set, each mapped to the study's and each unique.

    Where several structures are the same one to the study, the one that is called exactly so wins, then the
    first in the set; those without voxels come last. The others keep their own names. ``Target`` is the PTV
    of the highest dose named (then one called high or boost, then an unnamed level, then mid, then low);
    without a PTV the ITV, CTV or GTV by the same rule. Equal names that remain are numbered: ``Name``,
    ``Name_2``.

    Parameters
    ----------
    names : sequence of str
        In the order of the structure set.
    empty : sequence of bool, optional
        Which of them have no voxels.

    Returns
    -------
    list of str
        In the same order; the same input gives the same answer.
    """
    own = [_clean(n) for n in names]
    gone = [bool(e) for e in empty] if empty is not None else [False] * len(own)
    best: dict[str, tuple[tuple, int]] = {}
    for at, name in enumerate(own):
        standard = standard_name(name)
        if standard in STUDY_NAMES:
            rank = (gone[at], name != standard, *(_target_rank(name) if standard == "Target" else ()), at)
            if standard not in best or rank < best[standard][0]:
                best[standard] = (rank, at)
    winners = {at: standard for standard, (_, at) in best.items()}
    out = [winners.get(at, name or "unnamed") for at, name in enumerate(own)]
    # a loser whose own name is the standard one must not take it back; winners are served first
    taken = set(winners.values())
    plain = {name for at, name in enumerate(out) if at not in winners}
    for at, name in enumerate(out):
        if at in winners:
            continue
        unique, number = name, 2
        while unique in taken or (unique != name and unique in plain):
            unique, number = f"{name}_{number}", number + 1
        taken.add(unique)
        out[at] = unique
    return out


def _target_rank(name: str) -> tuple:
    kind = target_kind(name)
    dose = target_dose(name)
    words = re.findall(r"[a-z]+", name[3:].casefold())
    level = next((_LEVELS[w] for w in words if w in _LEVELS), 2)
    return (_KINDS.index(kind) if kind else -1, -dose if dose == dose else 0.0, -level)


def _clean(name: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in str(name)).split())
