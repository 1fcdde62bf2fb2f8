"""``defacedask demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from defacedask.cli.outputs import FOLDER
from defacedask.cli.running import arms_of, finish, run_study, study_options


@click.command(name="demo")
@click.option("--out", default="demo", show_default=True, type=FOLDER, help="Output folder.")
@click.option(
    "--subjects", type=click.IntRange(1, 9999), default=3, show_default=True, help="Virtual patients to make."
)
@click.option(
    "--export/--no-export",
    default=None,
    help="Write the defaced DICOM of every patient by every defacer, or none. [one patient by one defacer]",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="Of the virtual patients and the run.",
)
@study_options
def command(out: Path, subjects: int, seed: int, export: bool | None, **options: Any) -> None:
    """The whole study on a small made cohort of virtual patients: needs no data.

    It leaves a report and, of one patient, the defaced DICOM by a defacer against which the study found nothing, with
    its record, verified. So that it takes minutes on a laptop, only the basic attacks are tried.

    Example: defacedask demo --out demo
    """
    from defacedask.io.store import writing
    from defacedask.phantom import write_phantom
    from defacedask.runs.run_key import key_of_seed

    options["attacks"] = options["attacks"] or "basic"
    _check(out, options)
    with writing(f"the output folder {out}"):
        out.mkdir(parents=True, exist_ok=True)
    cohort = out / "cohort"
    if cohort.exists():
        _same_cohort(cohort, subjects, seed)
    else:
        click.echo(f"making {subjects} virtual patients", err=True)
        write_phantom(cohort, subjects, seed=seed, modalities=("CT", "MR"))
    sample = export is None
    result = run_study([cohort], out, seed=seed, export=bool(export), sample=sample, **options)
    finish(result, None if export is False else key_of_seed(seed))


def _check(out: Path, options: dict[str, Any]) -> None:
    """Refuse options that a study would refuse, before virtual patients are made, which takes minutes."""
    from defacedask.costs.texture import check_classes
    from defacedask.flow.stages.protecting import check_margin, patterns_of
    from defacedask.runs.face_settings import face_settings, resolve_tolerance
    from defacedask.runs.preparing import resolve_defacers

    resolve_defacers(options["defacers"])
    arms_of(options["arms"], options["cluster"])
    faces = face_settings(
        options["recogniser"], options["attacks"], options["allow_upload"], out / "store" / "faces"
    )
    resolve_tolerance(options["tolerance"], faces)
    check_classes(options["feature_classes"])
    check_margin(options["margin_mm"])
    patterns_of(options["protect"])


def _same_cohort(cohort: Path, subjects: int, seed: int) -> None:
    """Refuse virtual patients of an earlier demo that are others than those asked for."""
    import pydicom

    from defacedask.errors import ConfigError
    from defacedask.phantom.elements import Study

    there = len([one for one in cohort.iterdir() if one.is_dir()])
    first = next(cohort.rglob("*.dcm"), None)
    frame = (
        ""
        if first is None
        else pydicom.dcmread(first, stop_before_pixels=True).get("FrameOfReferenceUID", "")
    )
    who = {Study(seed, n, 1).uid("frame") for n in range(1, there + 1)}
    if there != subjects or frame not in who:
        seeds = "" if frame in who else ", made with another --seed"
        raise ConfigError(
            f"{cohort} holds {there} virtual patients of an earlier demo{seeds}.", "Choose another --out."
        )
