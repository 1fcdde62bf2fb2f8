"""``defacedask deface``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from defacedask.cli.clusters import Bar, clients, cluster_options
from defacedask.cli.consoles import table_console
from defacedask.cli.outputs import OUT
from defacedask.cli.release_options import protect_options, release_options
from defacedask.cli.running import device_option, retry_option, shown_on
from defacedask.cli.verbose import performance_option
from defacedask.errors import printable

#: Reasons why input was left out that are named at the end; the record has all.
MOST_REASONS = 12


@click.command("deface")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option(
    "--defacer", required=True, help="Name and options, such as quickshear or quickshear:form=published."
)
@click.option(
    "--out", required=True, type=OUT, help="Folder for the defaced files, or an address (s3://BUCKET/FOLDER)."
)
@protect_options
@release_options
@click.option(
    "--already-defaced",
    type=click.Choice(["skip", "again", "copy"]),
    default="skip",
    show_default=True,
    help="Input that says it is defaced: leave it out, deface it again, or pass its files on as they came.",
)
@click.option(
    "--work",
    type=OUT,
    help="Folder for the run's own data [OUT.work], or an address (s3://BUCKET/RUN): workers then share no folder.",
)
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    help="File of the run's key; made if it is not there. [WORK/run.key]",
)
@click.option("--keep-work", is_flag=True, help="Keep the original voxels in the work folder.")
@cluster_options
@device_option
@click.option(
    "--store-to",
    metavar="URL",
    help="Archive for the result: https://HOST/dicom-web or dimse://AET@HOST:PORT.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@performance_option
@retry_option
def command(
    inputs: tuple[str, ...],
    defacer: str,
    out: Path | str,
    protect: str,
    margin_mm: float,
    private: str | None,
    deidentify: bool,
    allow_visible: bool,
    already_defaced: str,
    allow_reversible: bool,
    masks: tuple[str, ...],
    ids: Path | None,
    trial: tuple[str, ...],
    work: Path | str | None,
    key: Path | None,
    keep_work: bool,
    cluster: str,
    workers: int | None,
    device: str | None,
    store_to: str | None,
    dry_run: bool,
    performance_report: str | None,
) -> None:
    r"""Take the face out: DICOM in, defaced DICOM out (NIfTI in, NIfTI and mask out), with a record of what was done.

    Headers stay as they are except for UIDs and the record of defacing, unless --deidentify is given. A case that
    cannot be defaced with confidence, or whose face is still visible afterwards, exports nothing (--allow-visible). A
    defacer that only covers the face, as carina does, writes nothing unless --allow-reversible is given: the face can
    be un-masked. A second run does only what is missing or has changed. Exit code 1 if a case was refused or failed,
    or a file of the input is damaged.

    \b
    Example:
      defacedask deface patients/ --defacer quickshear --out defaced
      defacedask deface patients/ --defacer quickshear:form=published:buffer_mm=4 --out defaced
      defacedask deface patients/ --defacer quickshear --out defaced --protect 'PTV*,GTV*' --margin-mm 3
      defacedask deface patients/ --defacer quickshear --out defaced --mask seg
      defacedask deface patients/ --defacer quickshear --out defaced --deidentify --map ids.csv
      defacedask verify defaced
      defacedask deface https://HOST/dicom-web/studies/UID --defacer quickshear --out defaced --store-to https://HOST/dicom-web
    """
    from defacedask.devices import chosen_device
    from defacedask.io.dicom.catalogue import scan
    from defacedask.io.remote import localise
    from defacedask.runs.already import set_aside
    from defacedask.runs.asked import Asked
    from defacedask.runs.outputs import output_of
    from defacedask.runs.run_key import read_key
    from defacedask.runs.sending import check_archive

    chosen: dict[str, Any] = {
        "protect": protect,
        "margin_mm": margin_mm,
        "private": private,
        "deidentify": deidentify,
        "allow_visible": allow_visible,
        "already_defaced": already_defaced,
        "allow_reversible": allow_reversible,
        "masks": masks,
        "ids": ids,
        "trial": trial,
    }
    asked = Asked.of(defacer, **chosen)
    if store_to:
        check_archive(store_to)
    output = output_of(out, work)
    place = output.work or output.folder.with_name(output.folder.name + ".work")
    inputs = tuple(localise(inputs, place / "fetched", say=click.echo))
    found = scan(*inputs)
    for note in found.notes:
        click.echo(printable(f"Note: {note}"), err=True)
    if dry_run:
        left, passed = set_aside(found, already_defaced)
        asked.facts(left.cases)
        _dry(left, passed, defacer, asked.protected)
        return
    if told := output.room(found.cases):
        click.echo(told, err=True)
    said: list[str] = []
    options: dict[str, Any] = {
        **chosen,
        "inputs": inputs,
        # an address again: what it is on this machine is held there
        "work": work if output.depot else place,
        "say": said.append,
        "keep_work": keep_work,
        "device": chosen_device(device),
    }
    if key is not None:
        if not key.exists():
            click.echo(f"Note: {key} is not there: a new key is made and kept in it.", err=True)
        options["key"] = read_key(key)
    whither: Any = out if output.target else output.folder
    result = _run(found, whither, defacer, cluster, workers, performance_report, options)
    for line in said:
        click.echo(line)
    if store_to and any(case["status"] == "done" for case in result.cases):
        from defacedask.runs.sending import send

        click.echo(f"{send(whither, store_to, say=click.echo)} instances stored.")
    if not result.ok:
        raise click.exceptions.Exit(1)


def _dry(found: Any, passed: list[Any], defacer: str, protect: tuple[str, ...]) -> None:
    from defacedask.flow.stages.protecting import fit_nothing

    for case in found.cases:
        kinds = Counter(series.modality for series in case.files.values())
        click.echo(
            printable(f"{case.id}: patient {case.patient_id}: ")
            + ", ".join(f"{n} {k}" for k, n in kinds.items())
        )
    for one in passed:
        click.echo(
            f"{one.case.id}: already defaced: {len(one.series)} series would be passed on as they came"
        )
    for skip in found.skipped:
        click.echo(printable(f"left out: {skip.path}: {skip.reason}"))
    refused = 0
    for case in found.cases:
        if lacking := fit_nothing(case, protect):
            refused += 1
            text = f"{case.id}: would be refused: no structure is called {', '.join(lacking)}"
            click.secho(printable(text), fg="red")
    kept = f", keeping {', '.join(protect)}" if protect else ""
    would = len(found.cases) - refused
    click.echo(f"{would} cases would be defaced by {defacer}{kept}; nothing was done (--dry-run).")
    if not would and not passed:
        raise click.exceptions.Exit(1)


def _run(
    found: Any,
    out: Path | str,
    defacer: str,
    cluster: str,
    workers: int | None,
    report: str | None,
    options: dict[str, Any],
) -> Any:
    from rich.console import Console

    from defacedask.runs.deface import deface

    console = Console(stderr=True)
    # started with the first stage that must run: what is wrong with input and options is said before
    with (
        clients(cluster, workers, options["device"], report=report) as client,
        Bar(console, "tasks") as bar,
    ):
        result = deface(found, out, defacer, client=client, progress=shown_on(bar), **options)
    _summary(result, out)
    return result


def _summary(result: Any, out: Path | str) -> None:
    from rich.markup import escape
    from rich.table import Table

    console = table_console()
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
            console.print(
                printable(f"{row['case']}: {row['status']}: {row['reason']}"), markup=False, soft_wrap=True
            )
        for line in _by_reason((one["reason"], one["what"], 1) for one in row["held_back"]):
            console.print(printable(f"{row['case']}: held back: {line}"), markup=False, soft_wrap=True)
        clipped = row["targets"]
        for note in row["notes"]:
            target = any(note.endswith(one) for one in clipped)
            style = "bold red" if target else None
            words = f"{row['case']}: {'target clipped: ' if target else ''}{note}"
            console.print(printable(words), style=style, markup=False, soft_wrap=True, highlight=not target)
    covered = sum(row["reversible"] for row in result.cases)
    if covered:
        console.print(
            f"{result.defacer} covered the faces of {covered} cases and did not remove them: whoever has the files "
            "can un-mask them. They say so (RecognizableVisualFeatures YES, no code 113102); do not pass them on as "
            "de-identified.",
            style="bold",
            markup=False,
            soft_wrap=True,
            highlight=False,
        )
    clipped = {row["case"]: row["targets"] for row in result.cases if row["targets"]}
    if clipped:
        names = sorted({one.rsplit(": ", 1)[0] for targets in clipped.values() for one in targets})
        console.print(
            printable(
                f"Targets were clipped in {len(clipped)} of {len(result.cases)} cases: {', '.join(names)}. What is "
                f"left is no target to plan on; --protect '{names[0]}' keeps that one whole (a case without a "
                "structure of that name is refused)."
            ),
            style="bold red",
            markup=False,
            soft_wrap=True,
            highlight=False,
        )
    if result.skipped:
        lines = _by_reason(
            (one["reason"], one["path"], one["files"]) for one in result.skipped if not one["damaged"]
        )
        for line in lines[:MOST_REASONS]:
            console.print(printable(f"left out: {line}"), markup=False, soft_wrap=True)
        console.print(
            f"{len(result.skipped)} files or series of the input were left out; audit.jsonl says why."
        )
    for one in result.damaged:
        console.print(
            printable(f"damaged: {one['path']}: {one['reason']}"), style="red", markup=False, soft_wrap=True
        )
    done = sum(row["status"] in ("done", "copied") for row in result.cases)
    console.print(
        printable(f"{done} of {len(result.cases)} cases written to {out}; ")
        + (
            "headers were de-identified; the key in the work folder can undo it."
            if result.deidentified
            else "headers were left as they were, except for UIDs and the record of defacing."
        ),
        markup=False,
        soft_wrap=True,
        highlight=False,
    )


def _by_reason(some: Iterable[tuple[str, str, int]]) -> list[str]:
    """A line a reason, of (reason, first file, files), the commonest first: an image is a hundred files of one."""
    first: dict[str, str] = {}
    files: Counter[str] = Counter()
    for reason, what, count in some:
        first.setdefault(reason, what)
        files[reason] += count
    return [
        f"{first[reason] if count == 1 else f'{count} files ({first[reason]}, ...)'}: {reason}"
        for reason, count in files.most_common()
    ]
