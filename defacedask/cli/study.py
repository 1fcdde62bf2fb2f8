"""``defacedask study``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from defacedask.cli.outputs import OUT
from defacedask.cli.release_options import release_options
from defacedask.cli.running import arms_of, finish, run_study, study_options
from defacedask.errors import printable

#: Options that are no question of what is done to the cases.
OF_THE_RUN = frozenset({"cluster", "workers", "performance_report", "reference", "seed"})


@click.command(name="study")
@click.argument("inputs", nargs=-1, required=True)
@click.option(
    "--out",
    required=True,
    type=OUT,
    help="Folder for everything it leaves, or an address (s3://BUCKET/FOLDER).",
)
@click.option(
    "--work",
    type=OUT,
    help="Where it works if --out is an address [FOLDER.work]; an address, too: workers then share no folder.",
)
@study_options
@click.option("--export/--no-export", default=True, show_default=True, help="Write the defaced DICOM.")
@release_options
@click.option("--seed", type=int, default=None, help="Fix the run's secret key, to repeat a run.")
@click.option(
    "--reference", type=click.Path(exists=True, file_okay=False), help="Published tables, to print beside."
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
def command(
    inputs: tuple[str, ...], out: Path | str, work: Path | str | None, dry_run: bool, **options: Any
) -> None:
    r"""Compare defacers on your own patients: the face, the radiomics, the dose; tables and a report.

    INPUTS are folders, files, .tcia manifests or lists of Series UIDs. A second run with the same --out does only
    what is missing or has changed. Defaced files are written last: where the study recognised people behind a
    defacer, in more cases than chance explains, nothing of it is written, or with --allow-visible files that say so.
    Exit code 1 if a case was refused or failed, or a file of the input is damaged.

    \b
    Example:
      defacedask study patients/ --out result
      defacedask study patients/ --out result --defacers quickshear,carina --attacks all
      defacedask study patients/ --out result --arm 'pydeface=pydeface {input} --outfile {output}'
      defacedask study patients/ --out result --protect 'PTV*' --deidentify --map ids.csv --mask seg
    """
    from defacedask.flow.stages.protecting import fit_nothing, patterns_of
    from defacedask.io.dicom.catalogue import scan
    from defacedask.io.remote import localise
    from defacedask.report.run import read_reference
    from defacedask.runs.outputs import output_of, outside
    from defacedask.runs.preparing import settle
    from defacedask.runs.study import resolve_defacers
    from defacedask.showing import counted

    output = output_of(out, work, own="store")
    outside(output.folder, inputs)
    if options["reference"]:
        read_reference(options["reference"])
    names = [*resolve_defacers(options["defacers"]), *arms_of(options["arms"], options["cluster"])]
    found = scan(*localise(inputs, output.folder / "store" / "fetched", say=click.echo))
    for note in found.notes:
        click.echo(printable(f"Note: {note}"), err=True)
    if dry_run:
        refused = 0
        for case in found.cases:
            parts = ", ".join(f"{s.modality} ({len(s.files)} files)" for s in case.images)
            click.echo(
                printable(f"{case.id}: patient {case.patient_id}: {parts}")
                + f"; {counted(len(case.structures), 'structure set')}, {counted(len(case.doses), 'dose')}"
            )
            lacking = fit_nothing(case, patterns_of(options["protect"]))
            refused += bool(lacking)
            for pattern in lacking:
                text = f"{case.id}: no structure is called {pattern}: the case would be refused"
                click.secho(printable(text), fg="red")
        for skip in found.skipped:
            click.echo(printable(f"skipped: {skip.path}: {skip.reason}"))
        settle(
            found, output.folder, **{name: value for name, value in options.items() if name not in OF_THE_RUN}
        )
        click.echo(f"{len(found.cases)} cases x {', '.join(names)}; nothing was done (--dry-run).")
        if refused == len(found.cases):
            raise click.exceptions.Exit(1)
        return
    copies = len(resolve_defacers(options["defacers"])) - 1 if options["export"] else 0
    if copies and (told := output.room(found.cases, copies)):
        click.echo(told, err=True)
    with output.held():
        result = run_study(found, output.folder, output=output, **options)
    finish(result)
