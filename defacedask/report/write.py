"""From a run's folder to ``report/index.html``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from defacedask.inputs import folder_of
from defacedask.report import numbers
from defacedask.report.run import CONTROL, Run, read_run
from defacedask.report.sampled import sample_notes
from defacedask.report.templating import rendered
from defacedask.tables.files import write_files

__all__ = ["render_report", "write_report"]


def write_report(out: Any, *, reference: str | Path | None = None, pictures: bool = True) -> Path:
    """Write the page of a run.

    Parameters
    ----------
    out : path, or what `study` or `attack` returned
        Output folder of a study: ``tables/``, and if there ``config.yaml`` and ``pictures/index.json``.
    reference : path, optional
        Folder of published tables (CSV) to print beside the measured ones.
    pictures : bool
        Put the pictures into the page, behind a switch that is off. They identify people; without them the
        page identifies nobody by face.

    Returns
    -------
    pathlib.Path
        ``OUT/report/index.html``; whole or untouched.

    Raises
    ------
    InputError
        If the folder holds nothing of a run, or something in it is damaged.
    OutputError
        If the page cannot be written.
    """
    folder = folder_of(out)
    page = render_report(read_run(folder, reference), pictures=pictures)
    return write_files(folder / "report", {"index.html": page.encode()})[0]


def render_report(run: Run, *, pictures: bool = True) -> str:
    """Make the page of a run as a string.

    Parameters
    ----------
    run : Run
        See `defacedask.report.run.read_run`.
    pictures : bool
        As in `write_report`.
    """
    return rendered("defacedask.report", "index.html.j2", _context(run, pictures))


def _context(run: Run, pictures: bool) -> dict[str, Any]:
    from defacedask import __version__
    from defacedask.report.sections import (
        agreement,
        controls,
        crops,
        decision,
        distribution,
        dose,
        ears,
        further,
        glance,
        privacy,
        radiomics,
        record,
        rescan,
        skin,
        threshold,
        tried,
        verdict,
        verification,
    )
    from defacedask.report.sections.pictures import Album, album

    return {
        "version": __version__,
        "headline": verdict.headline(run),
        "status": record.status_counts(run),
        "defacers": [d for d in run.defacers if d != CONTROL],
        "glance": glance.glance_table(run),
        "decisions": decision.decision_table(run),
        "tried": tried.tried_lines(run),
        "threshold": threshold.threshold_sentence(run),
        "threshold_words": threshold.threshold_words(run),
        "virtual": run.virtual,
        "sign": dose.SIGN,
        "tradeoff": verdict.tradeoff(run),
        "sampled": " ".join(sample_notes(run.features.sampled)),
        "controls": controls.control_table(run),
        "faces": privacy.faces_table(run),
        "attacks": privacy.attacks_table(run),
        "recognition_figures": verification.recognition_figures(run),
        "verification": verification.verification_table(run),
        "agreement": agreement.agreement_table(run),
        "skin": skin.skin_table(run),
        "crops": crops.crops_table(run),
        "further": [
            table
            for make in (
                further.average_table,
                further.searches_table,
                further.groups_table,
                ears.ears_table,
            )
            if (table := make(run))
        ],
        "radiomics": radiomics.radiomics_tables(run),
        "radiomics_cases": run.features.cases,
        "structures": len(run.features.structures),
        "definitions": radiomics.definitions(run),
        "hazards": radiomics.hazard_table(run),
        "classes": radiomics.classes_table(run),
        "boxes": distribution.box_plots(run),
        "volumes": dose.volume_table(run),
        "dose": dose.dose_table(run),
        "rescan": rescan.rescan_table(run),
        "masks": rescan.masks_table(run),
        "timing": record.timing_table(run),
        "cases": record.cases_table(run),
        "undone": record.undone_table(run),
        "skipped": record.skipped_table(run),
        "config": record.config_rows(run),
        "album": album(run) if pictures else Album(cases=[], shown=0, left_out=0, missing=0, others=0),
        "pictures": pictures,
        "listed": len(run.pictures),
        "reference": Path(run.reference.folder).name if run.reference else "",
        "tolerance": ", ".join(f"{value:g} ({name})" for name, value in run.tolerances.items()),
        "numbers": numbers,
    }
