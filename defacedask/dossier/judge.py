"""What an independent validator of DICOM says of files that were written, where one is installed."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["Judgement", "judge"]

#: Clunie's validator, in Debian's package dicom3tools.
VALIDATOR = "dciodvfy"
#: Files that are shown to it at most, and seconds for each.
MOST, SECONDS = 60, 60
_OTHER = (".nii", ".nii.gz", ".json", ".tsv")


@dataclasses.dataclass(frozen=True)
class Judgement:
    """Files that were looked at, those with an error, and errors in all."""

    files: int
    faulty: int
    errors: int


def judge(out: Path, lines: Iterable[Mapping[str, Any]]) -> Judgement | None:
    """Show one file of each case, defacer and modality to the validator.

    Parameters
    ----------
    out : Path
    lines : iterable of dict
        Of the record.

    Returns
    -------
    Judgement or None
        None where it is not installed, or nothing was written as DICOM. Errors that the source's headers had are
        among them: files stay what they were but for what was defaced.
    """
    program = shutil.which(VALIDATOR)
    chosen: dict[tuple[str, ...], str] = {}
    for line in lines:
        name = str(line.get("file", ""))
        if (
            line.get("status") == "written"
            and not name.lower().endswith(_OTHER)
            and line.get("modality") != "dataset"
        ):
            chosen.setdefault(tuple(str(line.get(k)) for k in ("case", "defacer", "modality")), name)
    if program is None or not chosen:
        return None
    counts = []
    for name in list(chosen.values())[:MOST]:
        try:
            said = subprocess.run(
                [program, str(out / name)], capture_output=True, timeout=SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        text = (said.stderr + said.stdout).decode(errors="replace")
        counts.append(sum(line.startswith("Error") for line in text.splitlines()))
    return Judgement(len(counts), sum(n > 0 for n in counts), sum(counts)) if counts else None
