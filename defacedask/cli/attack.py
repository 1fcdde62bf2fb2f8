"""``defacedask attack``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from defacedask.cli.clusters import Bar, clients, cluster_options
from defacedask.cli.outputs import FOLDER
from defacedask.cli.running import retry_option, service_of
from defacedask.cli.verbose import performance_option
from defacedask.errors import printable

__all__ = ["command"]


@click.command("attack")
@click.argument("original", type=click.Path(path_type=Path))
@click.argument("defaced", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=FOLDER, help="Folder for everything it leaves.")
@click.option(
    "--name", default="defaced", show_default=True, help="What the defacer is called in the tables."
)
@click.option(
    "--attacks",
    default=None,
    help="basic, default, all, or names with commas [default]; `list attacks` names them.",
)
@click.option(
    "--recogniser",
    default=None,
    help="Names with commas: face_recognition, mobilefacenet, faceres, ...: `defacedask list recognisers`.",
)
@click.option(
    "--allow-upload",
    is_flag=True,
    help="Let a recogniser that is a service (azure) have rendered pictures of the patients' faces.",
)
@click.option(
    "--tolerance",
    default=None,
    help="Distance that still is a match: face_recognition's [0.3], or NAME=NUMBER of another, with commas.",
)
@click.option(
    "--forced-matrix",
    type=click.IntRange(min=0),
    default=None,
    help="Persons, drawn at random, whose landmarks are put on each other's defaced heads. [0]",
)
@click.option(
    "--surfaces",
    type=click.Choice(["ply", "vtp"]),
    is_flag=False,
    flag_value="ply",
    default=None,
    help="Write the skin of every head to OUT/surfaces, for 3D Slicer [ply]. They identify people.",
)
@click.option("--pictures/--no-pictures", default=None, help="Keep pictures of heads in the report.")
@cluster_options
@click.option("--dry-run", is_flag=True, help="Say what belongs together, and do nothing.")
@performance_option
@retry_option
def command(
    original: Path,
    defaced: Path,
    out: Path,
    cluster: str,
    workers: int | None,
    dry_run: bool,
    surfaces: str | None,
    performance_report: str | None,
    **options: Any,
) -> None:
    r"""Try to recognise defaced heads as their originals, whoever defaced them.

    ORIGINAL and DEFACED are folders or files, DICOM or NIfTI. Cases are paired by patient id, else by name, grid or
    voxels; what has no partner is said. A pair whose voxels are not those of one scan is refused, whatever its names
    say. Exit code 1 if a pair failed or was refused, or a file of the input is damaged.

    \b
    Example:
      defacedask attack patients/ defaced/ --out attacked
      defacedask attack bids/ bids_defaced/ --out attacked --attacks plain,forced_crop,template_filled --surfaces
    """
    from defacedask.runs.attack import AttackOptions, prepare_attack

    if dry_run:
        _dry(original, defaced)
        return
    if options["allow_upload"]:
        service_of(options["recogniser"], cluster)
    asked = AttackOptions(surfaces=surfaces or "", **options)
    prepared = prepare_attack(original, defaced, out, asked)
    _run(prepared, cluster, workers, performance_report)


def _dry(original: Path, defaced: Path) -> None:
    from defacedask.attacks.pairing import pair_cases
    from defacedask.io.dicom.catalogue import scan

    pairing = pair_cases(scan(original).cases, scan(defaced).cases)
    for pair in pairing.pairs:
        click.echo(f"{pair.original.id}: {pair.defaced.id}, by {pair.how}")
    for case in pairing.originals:
        click.echo(f"{case.id}: {pairing.reasons.get(case.id, 'no defaced case belongs to it')}")
    for case in pairing.defaced:
        click.echo(f"{case.id}: {pairing.reasons.get(case.id, 'no original belongs to this defaced case')}")
    click.echo(
        f"{len(pairing.pairs)} pairs; nothing was done (--dry-run): their voxels are compared when they are attacked."
    )
    if not pairing.pairs:
        raise click.exceptions.Exit(1)


def _run(prepared: Any, cluster: str, workers: int | None, report: str | None) -> None:
    from rich.console import Console

    from defacedask.cli.running import finish
    from defacedask.flow.result import DONE, TaskResult
    from defacedask.runs.attack import run_attack
    from defacedask.runs.face_settings import upload_warning

    console = Console(stderr=True)

    def say(text: str, **style: Any) -> None:
        console.print(printable(text), markup=False, soft_wrap=True, highlight=False, **style)

    leaving = upload_warning(prepared.settings.faces)
    if leaving:
        say(leaving, style="bold")
    if prepared.surfaces:
        say(f"Surfaces go to {prepared.folder / 'surfaces'}: they identify people.", style="bold")
    why = prepared.pairing.reasons
    for case in prepared.pairing.originals:
        say(f"{case.id}: {why.get(case.id, 'no defaced case belongs to it')}; it stays in the gallery")
    for case in prepared.pairing.defaced:
        say(f"{case.id}: {why.get(case.id, 'no original belongs to this defaced case')}; it is left out")
    with clients(cluster, workers, report=report) as client, Bar(console, "pairs") as bar:
        said: set[str] = set()

        def once(line: str) -> None:
            # what many teach takes a second pass
            if line not in said:
                said.add(line)
                say(line)

        def show(finished: int, total: int, result: TaskResult | None) -> None:
            bar.update(finished, total)
            if result is not None and result.status != DONE:
                if not result.upstream:
                    once(f"{result.case}: {result.status}: {result.reason}")
            elif result is not None:
                for note in result.facts.get("notes", []):
                    once(f"{result.case}: {note}")

        result = run_attack(prepared, client=client, progress=show)
    for note in prepared.notes:
        say(note)
    finish(result)
