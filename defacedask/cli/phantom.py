"""``defacedask phantom``: virtual patients as DICOM."""

from __future__ import annotations

import os
from pathlib import Path

import click

from defacedask.cli.outputs import FOLDER

__all__ = ["command"]


@click.command("phantom")
@click.option(
    "--subjects", type=click.IntRange(1, 9999), default=4, show_default=True, help="How many patients."
)
@click.option("--out", required=True, type=FOLDER, help="Output folder.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Same seed, same bytes.")
@click.option(
    "--scans",
    type=click.IntRange(1, 99),
    default=1,
    show_default=True,
    help="Scans of each patient (new noise, pose, view).",
)
@click.option(
    "--size",
    type=click.Choice(["coarse", "normal", "clinical"]),
    default="normal",
    show_default=True,
    help="Grids; clinical is a CT of 512 x 512 x 200.",
)
@click.option(
    "--modality",
    "modalities",
    multiple=True,
    type=click.Choice(["CT", "MR", "PT"]),
    help="May be repeated; all by default. RTSTRUCT, RTPLAN and RTDOSE come with the CT.",
)
@click.option("--registered", is_flag=True, help="MR in a frame of its own, with a Spatial Registration.")
@click.option("--workers", type=click.IntRange(1), default=None, help="Processes; by default one a core.")
def command(
    subjects: int,
    out: Path,
    seed: int,
    scans: int,
    size: str,
    modalities: tuple[str, ...],
    registered: bool,
    workers: int | None,
) -> None:
    """Write virtual patients as DICOM: CT, MR, PET, RTSTRUCT, RTPLAN and RTDOSE; no data needed.

    Each is a smooth deformation of the built-in average head, another person to a face recogniser.

    Example: defacedask phantom --subjects 8 --scans 2 --out cohort
    """
    from defacedask.phantom.write import MODALITIES, write_phantom

    folders = write_phantom(
        out,
        subjects,
        seed=seed,
        scans=scans,
        size=size,
        modalities=modalities or MODALITIES,
        registered=registered,
        workers=workers or min(subjects, os.cpu_count() or 1),
        progress=lambda folder: click.echo(folder.name, err=True),
    )
    click.echo(f"{len(folders)} virtual patients in {out}")
