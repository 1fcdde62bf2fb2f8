"""``defacedask scan``: what is there, and what will be skipped and why."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter

import click

from defacedask.cli.consoles import table_console
from defacedask.errors import printable
from defacedask.geometry import Geometry
from defacedask.io.dicom.catalogue import scan
from defacedask.io.dicom.defaced import said
from defacedask.io.dicom.model import Scan, Series
from defacedask.io.dicom.several import told
from defacedask.io.remote import localise
from defacedask.showing import counted

__all__ = ["command"]


def _grid(series: Series) -> str:
    if series.geometry is None:
        return ""
    grid = Geometry.from_dict(series.geometry)
    size = " x ".join(map(str, grid.shape))
    spacing = " x ".join(f"{mm:.3g}" for mm in grid.spacing)
    return f"{size}, {spacing} mm, {grid.codes}"


def _content(series: Series) -> str:
    facts = series.facts
    if "already_defaced" in facts and series.geometry is not None:
        return said(facts["already_defaced"])
    if "structures" in facts:
        return counted(len(facts["structures"]), "structure")
    if "suv" in facts:
        return facts["suv"]["units"] + (
            "" if facts["suv"]["units"] == "g/mL" else f" ({facts['suv']['why']})"
        )
    if series.geometry is not None and "registered" in facts:
        return "in a frame of its own, registered"
    if series.modality == "REG":
        return f"not used: {facts['not_used']}" if "not_used" in facts else "registration"
    if series.modality == "RTDOSE":
        return " ".join(facts.get(key, "") for key in ("units", "type", "summation")).strip()
    return ""


def _tables(result: Scan) -> None:
    from rich.markup import escape
    from rich.table import Table

    console = table_console()
    if result.cases:
        table = Table(title=None, header_style="bold")
        for name in ("case", "patient", "series", "files", "grid (z, y, x)", "content", "description"):
            table.add_column(name, overflow="fold")
        for case in result.cases:
            first = True
            for series in case.series:
                table.add_row(
                    escape(case.id) if first else "",
                    escape(printable(case.patient_id)) if first else "",
                    series.modality + (" *" if series is case.primary and len(case.images) > 1 else ""),
                    str(len(series.files)),
                    _grid(series),
                    escape(printable(", ".join(filter(None, (told(series), _content(series)))))),
                    escape(printable(series.description)),
                )
                first = False
            table.add_section()
        console.print(table)
        for line in _legend(result):
            console.print(line, highlight=False)
    if result.skipped:
        table = Table(title="Skipped", title_justify="left", header_style="bold")
        for name in ("what", "files", "because", "first of them"):
            table.add_column(name, overflow="fold")
        for (kind, reason), files, path in _by_reason(result):
            table.add_row(kind, str(files), escape(printable(reason)), escape(printable(path)))
        console.print(table)
    for note in result.notes:
        console.print(f"Note: {escape(printable(note))}")
    console.print(_sentence(result))


def _legend(result: Scan) -> list[str]:
    """What the table's letters and its star say, where it has them."""
    images = [series for case in result.cases for series in case.images if series.geometry is not None]
    lines = []
    if images:
        letters = "S superior, I inferior, A anterior, P posterior, L left, R right"
        lines.append(f"grid: number of voxels, their size, and the directions of z, y and x ({letters})")
    if any(len(case.images) > 1 for case in result.cases):
        lines.append(
            "*: the image on which the head is looked for first; its plan serves the others of the case"
        )
    return lines


def _by_reason(result: Scan) -> list[tuple[tuple[str, str], int, str]]:
    """Skipped series one by one; loose files of one reason together."""
    rows: list[tuple[tuple[str, str], int, str]] = []
    loose: dict[str, list[str]] = {}
    for skip in result.skipped:
        if skip.series_uid:
            rows.append(((f"{skip.modality} series".strip(), skip.reason), skip.files, skip.path))
        else:
            loose.setdefault(skip.reason, []).append(skip.path)
    rows += [
        (("file" if len(p) == 1 else "files", reason), len(p), p[0]) for reason, p in sorted(loose.items())
    ]
    return rows


def _sentence(result: Scan) -> str:
    series = {(s.modality, s.uid) for case in result.cases for s in case.series}  # volumes of one are one
    kinds = Counter(modality for modality, _ in series)
    patients = len({case.patient_id for case in result.cases})
    if not result.cases:
        return "Nothing here can be defaced: no complete CT, MR or PET series was found."
    found = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    plural = "s" if len(result.cases) > 1 else ""
    return f"{len(result.cases)} case{plural} of {patients} patient{'s' if patients > 1 else ''} ({found})."


@click.command("scan")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON instead of tables.")
@click.option("--workers", type=click.IntRange(min=1), default=None, help="Processes that read headers.")
def command(inputs: tuple[str, ...], as_json: bool, workers: int | None) -> None:
    r"""Show patients, cases and series, and what will be skipped and why. Reads headers only.

    INPUT is any mix of folders (searched, links followed), files, .tcia manifests, text files of Series UIDs, NIfTI
    files, DICOMweb addresses (https://HOST/dicom-web/studies/UID) and fsspec addresses (s3://BUCKET/FOLDER), which
    are fetched, looked at and forgotten. Exit code 1 if nothing can be used.

    \b
    Example:
      defacedask scan ~/data/head-and-neck
      defacedask scan manifest.tcia --json > scan.json
    """
    with tempfile.TemporaryDirectory(prefix="defacedask-") as place:
        result = scan(*localise(inputs, place, say=lambda line: click.echo(line, err=True)), workers=workers)
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=1))
    else:
        _tables(result)
    if not result.cases:
        sys.exit(1)
