"""``defacedask study``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from defacedask.cli.running import finish, run_study, study_options
from defacedask.cli.verbose import verbose_option
from defacedask.errors import printable


@click.command(name="study")
@click.argument("inputs", nargs=-1, required=True)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Folder for everything it leaves."
)
@study_options
@click.option("--export/--no-export", default=True, show_default=True, help="Write the defaced DICOM.")
@click.option("--deidentify", is_flag=True, help="De-identify the headers of what is written, too.")
@click.option(
    "--private",
    type=click.Choice(["keep", "drop"]),
    default=None,
    help="Private elements of what is written.",
)
@click.option(
    "--allow-visible", is_flag=True, help="Write cases whose face is still visible, marked as such."
)
@click.option(
    "--allow-reversible",
    is_flag=True,
    help="Write what only covers the face (carina: it can be un-masked), marked as such.",
)
@click.option("--seed", type=int, default=None, help="Fix the run's secret key, to repeat a run.")
@click.option(
    "--reference", type=click.Path(exists=True, file_okay=False), help="Published tables, to print beside."
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@verbose_option
def command(inputs: tuple[str, ...], out: Path, dry_run: bool, **options: Any) -> None:
    """Compare defacers on your own patients: the face, the radiomics, the dose; tables and a report.

    INPUTS are folders, files, .tcia manifests or lists of Series UIDs. A second run with the same --out does only
    what is missing or has changed.

    Example: defacedask study patients/ --out result --defacers quickshear,carina
    """
    from defacedask.io.dicom.catalogue import scan
    from defacedask.io.remote import localise
    from defacedask.runs.study import resolve_defacers

    found = scan(*localise(inputs, out / "store" / "fetched", say=click.echo))
    for note in found.notes:
        click.echo(printable(f"Note: {note}"), err=True)
    if dry_run:
        names = resolve_defacers(options["defacers"])
        for case in found.cases:
            parts = ", ".join(f"{s.modality} ({len(s.files)} files)" for s in case.images)
            click.echo(
                printable(f"{case.id}: patient {case.patient_id}: {parts}")
                + f"; {len(case.structures)} structure sets, "
                f"{len(case.doses)} doses"
            )
        for skip in found.skipped:
            click.echo(printable(f"skipped: {skip.path}: {skip.reason}"))
        click.echo(f"{len(found.cases)} cases x {', '.join(names)}; nothing was done (--dry-run).")
        return
    finish(run_study(found, out, **options))
