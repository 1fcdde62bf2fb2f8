"""From a run's folder to its dossier: the sections, and the page."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defacedask.anatomy.structure_names import STUDY_NAMES
from defacedask.dossier.cost import cost_table
from defacedask.dossier.evidence import (
    attacks_table,
    controls_table,
    recognised_table,
    separation_table,
    skin_table,
    unmasked_table,
)
from defacedask.dossier.facts import Facts, gather, manifest
from defacedask.dossier.figures import Figure, Source, Table
from defacedask.dossier.signing import seal_page
from defacedask.inputs import folder_of
from defacedask.io.store import writing
from defacedask.report import numbers
from defacedask.report.run import Run
from defacedask.report.templating import rendered
from defacedask.whole_files import write_whole

if TYPE_CHECKING:
    from defacedask.report.sections.decision import Decision

__all__ = ["page_of", "usual_place", "write_dossier"]

#: Checks of `defacedask.verify`, in words.
CHECKS = {
    "record": "every file is on record, once, and the record is the one that was sealed",
    "hash": "every file has the bytes that were written",
    "tags": "every file says what was done to it, and masks are what they say",
    "references": "every reference leads to a file that is there",
    "leaks": "no UID, name or id of the source is left",
}


def usual_place(out: Path) -> Path:
    """Where the dossier of a folder lies: a folder of defaced files holds these and its record alone."""
    return (
        out / "report" / "dossier.html"
        if (out / "tables").is_dir()
        else out.with_name(f"{out.name}.dossier.html")
    )


def write_dossier(
    out: Any, *, to: str | Path | None = None, key: bytes = b"", sign: Any = None, pictures: bool = False
) -> Path:
    """Write the dossier of a finished run, its hash, and with a key its signature.

    Parameters
    ----------
    out : path, or what `study` or `deface` returned
    to : path, optional
        The page; by default ``OUT/report/dossier.html`` of a study, ``OUT.dossier.html`` beside defaced files.
    key : bytes
        Of the run: what was written is then also searched for names and ids.
    sign : private key, optional
        See `defacedask.dossier.signing.read_private` and `key_of_run`.
    pictures : bool
        Put the study's pictures of heads into the page. They identify people, unless they are virtual.

    Returns
    -------
    Path
        Of the page. Beside it lie ``.sha256``, and if it was signed ``.sig`` and ``.pub.pem``.

    Raises
    ------
    InputError
        If the folder is neither a study's nor one of defaced files, or is damaged.
    OutputError
        If the page cannot be written.
    """
    folder = folder_of(out)
    page = Path(to) if to else usual_place(folder)
    text = page_of(gather(folder, key), pictures=pictures)
    with writing("the dossier"):
        write_whole(page, text)
    seal_page(page, sign)
    return page


def page_of(facts: Facts, *, pictures: bool = False) -> str:
    """Make the page as a string."""
    return rendered("defacedask.dossier", "dossier.html.j2", _context(facts, pictures))


def _context(facts: Facts, pictures: bool) -> dict[str, Any]:
    from defacedask import __version__

    run = facts.run
    source = Source({"audit": facts.audit, **({} if run is None else dict(run.tables))})
    return {
        "version": __version__,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "defacers": facts.defacers,
        "studied": run is not None,
        "virtual": _virtual(run),
        "settings": _settings(facts),
        "cohort": _cohort(source, run),
        "decisions": _decisions(run, facts.defacers),
        "gallery": _gallery(run),
        "persons": source.one("verification", "gallery_size", "max") if run else None,
        "threshold": _threshold(run),
        "controls": controls_table(source) if run else None,
        "recognised": recognised_table(source, facts.defacers) if run else None,
        "separation": separation_table(source, facts.defacers) if run else None,
        "attacks": attacks_table(source, facts.defacers) if run else None,
        "unmasked": unmasked_table(source, facts.defacers) if run else None,
        "residual": _residual(source, facts),
        "skin": skin_table(source, facts.defacers) if run else None,
        "cost": cost_table(source, facts.defacers) if run else None,
        "written": _written(source, facts),
        "checks": _checks(facts),
        "unseen": facts.checked.unseen if facts.checked else [],
        "files": facts.files,
        "outputs": facts.outputs,
        "manifest": manifest(facts),
        "album": _album(run) if pictures else None,
        "is_figure": lambda cell: isinstance(cell, Figure),
    }


def _virtual(run: Run | None) -> str:
    if run is None:
        return ""
    virtual, cases = run.virtual
    if not virtual:
        return ""
    return (
        "All patients are virtual: nothing here says how real faces are hidden."
        if virtual == cases
        else "Some of the patients are virtual; the counts mix them with real persons."
    )


def _settings(facts: Facts) -> list[tuple[str, str]]:
    """What a reader needs of the configuration; folders and patients' names are not in it."""
    if facts.run is None:
        return []
    config = facts.run.config
    chosen: Any = config.get("settings")
    chosen = chosen if isinstance(chosen, Mapping) else {}
    code = chosen.get("code") or {}
    rows = []
    for name, options in (chosen.get("defacers") or {}).items():
        if name == "none":
            continue
        # of a folder, as of an average head, its own name is enough
        how = ", ".join(f"{k}={str(v).rsplit('/', 1)[-1]}" for k, v in (options or {}).items()) or "as built"
        source = str((code.get(name) or {}).get("source", ""))
        rows.append((name, f"{how}; code SHA-256 {source}" if source else how))
    for name, arm in (chosen.get("arms") or {}).items():
        # a command may hold paths: its program is named, the rest is covered by the hash of the configuration
        program = Path(str(arm.get("command", "")).split()[0]).name if arm.get("command") else ""
        rows.append(
            (name, f"somebody else's, by {program}" if program else "somebody else's, defaced before")
        )
    rows.append(
        ("recognisers", ", ".join(dict.fromkeys(facts.run.tables["controls"]["recogniser"])) or "none")
    )
    rows.append(("structures that stay", ", ".join(chosen.get("protect") or ()) or "the brain"))
    versions = config.get("versions")
    if isinstance(versions, Mapping):
        rows.append(("versions", ", ".join(f"{k} {v}" for k, v in versions.items() if isinstance(v, str))))
    for name in ("config_sha256", "run_key_sha256"):
        if config.get(name):
            rows.append((name, str(config[name])))
    return rows


def _cohort(source: Source, run: Run | None) -> Table | None:
    if run is None:
        return None
    rows: list[list[str | Figure]] = [
        [
            modality or "not known",
            source.one("cases", "case", "count", modality=modality),
            source.one("cases", "patient", "distinct", modality=modality),
            *(
                source.one("cases", "case", "count", modality=modality, status=s)
                for s in ("done", "refused", "failed")
            ),
        ]
        for modality in sorted(run.cases.modalities)
    ]
    heads = ("head found on", "cases", "patients", "done", "refused", "failed")
    return Table("Cases that were looked at", heads, rows)


def _decisions(run: Run | None, defacers: list[str]) -> list[tuple[str, list[Any]]]:
    if run is None:
        return []
    from defacedask.report.sections.decision import measured, planned, published

    return [
        (name, [_unnamed(run, answer(run, name)) for answer in (published, planned, measured)])
        for name in defacers
    ]


def _unnamed(run: Run, answer: Decision) -> Decision:
    """An answer without names that people gave to structures: they may hold a patient's."""
    own = {name for table in (run.features, run.volumes, run.doses) for name in map(str, table.structures)}
    reasons = answer.reasons
    for name in sorted(own - set(STUDY_NAMES), key=len, reverse=True):
        reasons = tuple(reason.replace(name, "another structure") for reason in reasons)
    return dataclasses.replace(answer, reasons=reasons)


def _gallery(run: Run | None) -> str:
    if run is None:
        return ""
    kinds = {control.gallery for control in run.controls} or {"originals"}
    words = {
        "originals": "the originals themselves, the very scans that were defaced, easier than any real attack",
        "second-scan": "other scans of the same persons",
        "photographs": "photographs of the same persons",
    }
    return " and ".join(words.get(kind, kind) for kind in sorted(kinds))


def _threshold(run: Run | None) -> str:
    from defacedask.report.sections.threshold import threshold_words

    return threshold_words(run) if run is not None else ""


def _residual(source: Source, facts: Facts) -> Table | None:
    """How much of the face's skin moved, of what was written and of what was refused for it."""
    table, status = ("exports", "done") if facts.run is not None else ("audit", "written")
    rows: list[list[str | Figure]] = []
    for name in facts.defacers:
        about = {"defacer": name, "status": status}
        if not source.rows(table, **about)["face_moved"].notna().any():
            continue
        rows.append(
            [name, *(source.one(table, "face_moved", how, _percent, **about) for how in ("min", "median"))]
        )
    if not rows:
        return None
    heads = ("defacer", "least", "median")
    return Table("Share of the face's skin, brow to chin, that moved by 3 mm or more", heads, rows)


def _percent(share: Any) -> str:
    return numbers.rate(share)


def _written(source: Source, facts: Facts) -> Table | None:
    if not len(facts.audit):
        return None
    rows: list[list[str | Figure]] = []
    for name in sorted({n for n in facts.audit["defacer"] if n}):
        about = {"defacer": name}
        rows.append(
            [
                name,
                source.one("audit", "case", "distinct", status="written", **about),
                *(
                    source.one("audit", "status", "count", status=s, **about)
                    for s in ("written", "refused", "copied")
                ),
                source.one("audit", "visible", "count", status="written", visible=True, **about),
                source.one("audit", "reversible", "count", status="written", reversible=True, **about),
                source.one("audit", "deidentified", "count", status="written", deidentified=True, **about),
            ]
        )
    heads = (
        "defacer",
        "cases written",
        "files written",
        "files held back",
        "passed on as they came",
        "marked: face visible",
        "marked: only covered",
        "headers de-identified",
    )
    return Table("What was written", heads, rows)


def _checks(facts: Facts) -> list[tuple[str, str, str]]:
    """Each check of `verify`, and what it found; no file is named."""
    if facts.checked is None:
        return []
    found = {name: sum(p.check == name for p in facts.checked.problems) for name in CHECKS}
    other = len(facts.checked.problems) - sum(found.values())
    rows = [
        (name, words, f"{found[name]} problems" if found[name] else "holds") for name, words in CHECKS.items()
    ]
    if other:
        rows.append(("other", "anything else", f"{other} problems"))
    if facts.judged is not None:
        seen = facts.judged
        words = (
            "another's validator (dciodvfy) on one file of each case and modality; errors of the source count"
        )
        rows.append(("standard", words, f"{seen.errors} errors in {seen.faulty} of {seen.files} files"))
    return rows


def _album(run: Run | None) -> Any:
    from defacedask.report.sections.pictures import album

    found = None if run is None else album(run)
    return found if found and found["cases"] else None
