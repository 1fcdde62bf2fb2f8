"""``defacedask demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from defacedask.cli.running import finish, run_study, study_options


@click.command(name="demo")
@click.option(
    "--out", default="demo", show_default=True, type=click.Path(path_type=Path), help="Output folder."
)
@click.option("--subjects", type=int, default=3, show_default=True, help="Virtual patients to make.")
@click.option("--export/--no-export", default=False, show_default=True, help="Write the defaced DICOM.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the virtual patients and the run.")
@study_options
def command(out: Path, subjects: int, seed: int, **options: Any) -> None:
    """The whole study on a small made cohort of virtual patients: needs no data.

    So that it takes minutes on a laptop, only the basic attacks are tried and no DICOM is written unless asked for.

    Example: defacedask demo --out demo
    """
    from defacedask.phantom import write_phantom
    from defacedask.store import writing

    with writing(f"the output folder {out}"):
        out.mkdir(parents=True, exist_ok=True)
    cohort = out / "cohort"
    if not cohort.exists():
        click.echo(f"making {subjects} virtual patients", err=True)
        write_phantom(cohort, subjects, seed=seed, modalities=("CT", "MR"))
    options["attacks"] = options["attacks"] or "basic"
    finish(run_study([cohort], out, seed=seed, **options))
