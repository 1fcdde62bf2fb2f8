"""``defacedask deface``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from defacedask.cli.verbose import verbose_option


@click.command("deface")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option(
    "--defacer", required=True, help="Name and options, such as quickshear or quickshear:form=published."
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the defaced files.")
@click.option("--protect", default="", metavar="NAMES", help="Structures that stay, such as 'PTV*,GTV*'.")
@click.option("--margin-mm", type=float, default=3.0, show_default=True, help="Kept around them.")
@click.option(
    "--private",
    type=click.Choice(["keep", "drop"]),
    default=None,
    help="Private elements; pictures in them always go. [keep; with --deidentify drop]",
)
@click.option(
    "--deidentify", is_flag=True, help="De-identify headers too: names, ids, UIDs; dates are shifted."
)
@click.option(
    "--allow-visible", is_flag=True, help="Write cases whose face is still visible, marked as such."
)
@click.option("--work", type=click.Path(path_type=Path), help="Folder for the run's own data [OUT.work].")
@click.option("--key", type=click.Path(path_type=Path), help="File of the UID map's key [WORK/run.key].")
@click.option("--keep-work", is_flag=True, help="Keep the original voxels in the work folder.")
@click.option(
    "--cluster", default="local", show_default=True, help="local, here, tcp://HOST:PORT, kubernetes."
)
@click.option("--workers", type=click.IntRange(min=1), default=None, help="Worker processes [one a core].")
@click.option(
    "--store-to",
    metavar="URL",
    help="Archive for the result: https://HOST/dicom-web or dimse://AET@HOST:PORT.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@verbose_option
def command(
    inputs: tuple[str, ...],
    defacer: str,
    out: Path,
    protect: str,
    margin_mm: float,
    private: str | None,
    deidentify: bool,
    allow_visible: bool,
    work: Path | None,
    key: Path | None,
    keep_work: bool,
    cluster: str,
    workers: int | None,
    store_to: str | None,
    dry_run: bool,
) -> None:
    r"""Take the face out: DICOM in, defaced DICOM out (NIfTI in, NIfTI and mask out), with a record of what was done.

    Headers stay as they are except for UIDs and the record of defacing, unless --deidentify is given. A case that
    cannot be defaced with confidence, or whose face is still visible afterwards, exports nothing. A second run does
    only what is missing or has changed. Exit code 1 if a case was refused or failed.

    \b
    Example:
      defacedask deface patients/ --defacer quickshear --out defaced
      defacedask deface patients/ --defacer quickshear:form=published:buffer_mm=4 --out defaced
      defacedask deface patients/ --defacer quickshear --out defaced --protect 'PTV*,GTV*' --margin-mm 3
      defacedask verify defaced
      defacedask deface https://HOST/dicom-web/studies/UID --defacer carina --out defaced --store-to https://HOST/dicom-web
    """
    from defacedask.defacers import resolve
    from defacedask.dicom.catalogue import scan
    from defacedask.remote import localise
    from defacedask.stages.protecting import patterns_of

    resolve(defacer)
    place = work or out.absolute().with_name(out.absolute().name + ".work")
    inputs = tuple(localise(inputs, place / "fetched", say=click.echo))
    found = scan(*inputs)
    names = patterns_of(protect)
    if dry_run:
        _dry(found, defacer, names)
        return
    options: dict[str, Any] = {
        "inputs": inputs,
        "protect": names,
        "margin_mm": margin_mm,
        "private": private,
        "deidentify": deidentify,
        "allow_visible": allow_visible,
        "work": work,
        "keep_work": keep_work,
    }
    if key is not None:
        from defacedask.defacing import read_key

        options["key"] = read_key(key)
    result = _run(found, out, defacer, cluster, workers, options)
    if store_to and any(case["status"] == "done" for case in result.cases):
        from defacedask.remote import send

        click.echo(f"{send(out, store_to, say=click.echo)} instances stored.")
    if not result.ok:
        raise click.exceptions.Exit(1)


def _dry(found: Any, defacer: str, protect: tuple[str, ...]) -> None:
    for case in found.cases:
        kinds: dict[str, int] = {}
        for series in case.series:
            kinds[series.modality] = kinds.get(series.modality, 0) + len(series.files)
        click.echo(
            f"{case.id}: patient {case.patient_id}: " + ", ".join(f"{n} {k}" for k, n in kinds.items())
        )
    for skip in found.skipped:
        click.echo(f"left out: {skip.path}: {skip.reason}")
    kept = f", keeping {', '.join(protect)}" if protect else ""
    click.echo(f"{len(found.cases)} cases would be defaced by {defacer}{kept}; nothing was done (--dry-run).")
    if not found.cases:
        raise click.exceptions.Exit(1)


def _run(
    found: Any, out: Path, defacer: str, cluster: str, workers: int | None, options: dict[str, Any]
) -> Any:
    import contextlib

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from defacedask.cluster import connect
    from defacedask.defacing import deface
    from defacedask.pieces import DONE, Piece

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with contextlib.ExitStack() as stack:
        client = None if cluster == "here" else stack.enter_context(connect(cluster, workers))
        bar = stack.enter_context(Progress(*columns, console=console))
        task = bar.add_task("tasks", total=None)

        def show(finished: int, total: int, piece: Piece | None) -> None:
            bar.update(task, completed=finished, total=total)
            if piece is not None and piece.status != DONE and not piece.upstream:
                bar.console.print(
                    f"{piece.case}: {piece.status}: {piece.reason}", markup=False, soft_wrap=True
                )

        result = deface(found, out, defacer, client=client, progress=show, **options)
    _summary(result)
    return result


def _summary(result: Any) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    table = Table(title="Defaced", title_justify="left")
    for name in ("case", "status", "instances written", "held back", "seconds"):
        table.add_column(name, justify="right" if name == "seconds" else "left", overflow="fold")
    for row in result.cases:
        written = ", ".join(f"{n} {k}" for k, n in row["written"].items())
        table.add_row(
            escape(row["case"]), row["status"], written, str(len(row["held_back"])), f"{row['seconds']:.1f}"
        )
    console.print(table)
    for row in result.cases:
        if row["reason"]:
            console.print(f"{row['case']}: {row['status']}: {row['reason']}", markup=False, soft_wrap=True)
        for one in row["held_back"]:
            console.print(
                f"{row['case']}: held back: {one['what']}: {one['reason']}", markup=False, soft_wrap=True
            )
        for note in row["notes"]:
            console.print(f"{row['case']}: {note}", markup=False, soft_wrap=True)
    if result.skipped:
        console.print(
            f"{len(result.skipped)} files or series of the input were left out; audit.jsonl says why."
        )
    done = sum(row["status"] == "done" for row in result.cases)
    console.print(
        f"{done} of {len(result.cases)} cases written to {result.out}; "
        + (
            "headers were de-identified; the key in the work folder can undo it."
            if result.deidentified
            else "headers were left as they were, except for UIDs and the record of defacing."
        ),
        markup=False,
        soft_wrap=True,
        highlight=False,
    )
