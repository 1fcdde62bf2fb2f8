"""What one may do with a collection: licence, citation and terms, said before it is fetched and kept beside it."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from defacedask.io.remote.cohort.model import Outcome, RemoteSeries
from defacedask.showing import sized

__all__ = ["IDC_TERMS", "TCIA_TERMS", "Use", "asks_more", "page", "said", "table", "uses_of"]

#: Source: TCIA, Data Usage Policies and Restrictions.
TCIA_TERMS = (
    "The Cancer Imaging Archive asks of everybody who uses its data:",
    "- do not use them, alone or with anything else, to identify or contact the persons in them;",
    "- do not make or use information, such as images of faces, from which somebody could readily be recognised,"
    " unless an ethics board has approved just that;",
    "- cite each collection by its DOI, and keep to its licence.",
    "  https://www.cancerimagingarchive.net/data-usage-policies-and-restrictions/",
    "`study` and `attack` render faces and compare them: know that this is allowed for what you do, and give them no"
    " pictures of persons who are known by name.",
)
IDC_TERMS = (
    "The Imaging Data Commons asks you to keep to the licence of each series, to cite each collection, and to cite",
    "the Commons itself (https://doi.org/10.1148/rg.230180). Most of its collections come from TCIA; of those:",
    *TCIA_TERMS,
)
#: Licences that ask for attribution at most.
_FREE = re.compile(
    r"CC[ -]?0.*|CC[ -]BY[ -]\d.*|(Creative Commons )?(CC0|Public Domain|Zero).*"
    r"|(Creative Commons )?Attribution \d[\d.]*( (International|Unported|Generic)( (Public )?Licen[cs]e)?)?",
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True)
class Use:
    """Series of one collection under one licence.

    Attributes
    ----------
    collection, licence, licence_url, doi, citation : str
        Empty where the service does not say.
    series, patients, bytes : int
    modalities : dict
        Modality -> series.
    """

    collection: str
    licence: str
    licence_url: str
    doi: str
    citation: str
    series: int
    patients: int
    bytes: int
    modalities: dict[str, int]


def asks_more(licence: str) -> bool:
    """Whether a licence asks for more than to name the authors; one that is not told may ask for anything."""
    return not _FREE.fullmatch(licence.strip())


def uses_of(series: Iterable[RemoteSeries]) -> list[Use]:
    """Series by collection and licence."""
    groups: dict[tuple[str, str, str, str, str], list[RemoteSeries]] = {}
    for one in series:
        key = (one.collection, one.licence, one.licence_url, one.doi, one.citation)
        groups.setdefault(key, []).append(one)
    return [
        Use(
            *key,
            len(some),
            len({one.patient_id for one in some}),
            sum(one.bytes or 0 for one in some),
            dict(sorted(Counter(one.modality or "unknown" for one in some).items())),
        )
        for key, some in sorted(groups.items())
    ]


def said(uses: Sequence[Use], terms: Sequence[str]) -> Iterator[str]:
    """Lines for a person, before anything is fetched."""
    for use in uses:
        kinds = ", ".join(f"{count} {kind}" for kind, count in use.modalities.items())
        patients = f"{use.patients} patient{'s' if use.patients != 1 else ''}"
        yield f"{_plain(use.collection) or 'no collection'}: {kinds} of {patients}, {sized(use.bytes)}"
        where = f" ({_plain(use.licence_url)})" if use.licence_url else ""
        yield f"  Licence: {_plain(use.licence) or 'not told by the service'}{where}"
        if use.citation or use.doi:
            yield f"  Cite: {_plain(use.citation) or _link(use.doi)}"
    yield from terms


def page(uses: Sequence[Use], terms: Sequence[str]) -> str:
    """Text of ``USAGE.md``."""
    lines = [
        "# What one may do with these data",
        "",
        "Which series has which licence is in `series.csv`.",
        "",
    ]
    for use in uses:
        lines += [f"## {_plain(use.collection) or 'no collection'}", ""]
        lines += [f"- {use.series} series of {use.patients} patients"]
        where = f", {_plain(use.licence_url)}" if use.licence_url else ""
        lines += [f"- Licence: {_plain(use.licence) or 'not told by the service'}{where}"]
        lines += [f"- Cite: {_plain(use.citation) or _link(use.doi)}"] if use.citation or use.doi else []
        lines += [""]
    return "\n".join([*lines, "## Terms", "", *terms, ""])


def table(outcomes: Iterable[Outcome]) -> str:
    """Text of ``series.csv``: a row a series, with its licence, where it lies, or why it is not here."""
    names = ["collection", "patient_id", "study_uid", "uid", "modality", "description", "instances", "bytes"]
    names += ["licence", "licence_url", "doi", "status", "reason", "folder"]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for one in outcomes:
        row = {**one.series.to_dict(), "status": one.status, "reason": one.reason, "folder": one.folder}
        writer.writerow(
            {name: _plain(value) if isinstance(value, str) else value for name, value in row.items()}
        )
    return text.getvalue()


def _plain(text: str) -> str:
    """One line of a service's text that no terminal takes for a command."""
    return "".join(c if c.isprintable() else " " for c in text).strip()


def _link(doi: str) -> str:
    return f"https://doi.org/{_plain(doi)}" if doi.startswith("10.") else _plain(doi)
