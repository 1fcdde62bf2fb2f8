"""Options that `deface`, `study` and `demo` share: what stays as it is, and how files are written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

__all__ = ["protect_options", "release_options"]

Command = Callable[..., Any]


def _with(options: list[Callable[[Command], Command]]) -> Callable[[Command], Command]:
    def add(command: Command) -> Command:
        for one in reversed(options):
            command = one(command)
        return command

    return add


#: What stays as it is.
protect_options = _with(
    [
        click.option(
            "--protect", default="", metavar="NAMES", help="Structures that stay, such as 'PTV*,GTV*'."
        ),
        click.option("--margin-mm", type=float, default=3.0, show_default=True, help="Kept around them."),
    ]
)

#: How defaced files are written.
release_options = _with(
    [
        click.option(
            "--private",
            type=click.Choice(["keep", "drop"]),
            default=None,
            help="Private elements; pictures in them always go. [keep; with --deidentify drop]",
        ),
        click.option(
            "--deidentify", is_flag=True, help="De-identify headers too: names, ids, UIDs; dates are shifted."
        ),
        click.option(
            "--allow-visible", is_flag=True, help="Write cases whose face is still visible, marked as such."
        ),
        click.option(
            "--allow-reversible",
            is_flag=True,
            help="Write what only covers the face (carina: it can be un-masked), marked as such.",
        ),
        click.option(
            "--mask",
            "masks",
            type=click.Choice(["seg", "nifti"]),
            multiple=True,
            help="Write the mask of DICOM images as DICOM Segmentation, as NIfTI, or both (give it twice).",
        ),
        click.option(
            "--map",
            "ids",
            type=click.Path(path_type=Path),
            help="CSV of a trial's own ids: patient_id, subject_id, perhaps site_id; with --deidentify.",
        ),
        click.option(
            "--trial",
            multiple=True,
            metavar="NAME=VALUE",
            help="Said in de-identified headers: sponsor, protocol, protocol-name, site, site-name.",
        ),
    ]
)
