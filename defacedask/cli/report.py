"""``defacedask report``."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command(name="report")
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--reference",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of published tables (CSV) to print beside the measured ones.",
)
@click.option(
    "--pictures/--no-pictures",
    default=True,
    help="Put pictures of heads into the page, behind a switch that is off. They identify people.",
)
def command(out: Path, reference: Path | None, pictures: bool) -> None:
    r"""Make the derived tables and the HTML page of a study again from what is there.

    OUT is the output folder of `defacedask study` or `demo`.

    \b
    Example:
      defacedask report out
      defacedask report out --reference published_tables --no-pictures
    """
    from defacedask.report import write_report
    from defacedask.report.run import read_run
    from defacedask.tables.derive import attempts, derive_tables
    from defacedask.tables.files import write_tables
    from defacedask.tables.parts import write_batches

    run = read_run(out, reference)
    derived = derive_tables(run.tables, run.tolerances)
    write_batches(out, "best_attempts", attempts(run.tables))
    write_tables(out, derived)
    click.echo(write_report(out, reference=reference, pictures=pictures))
