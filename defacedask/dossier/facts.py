"""What a dossier rests on: the tables of a study, the record of what was written, and the hashes of both."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd

from defacedask.dossier.judge import Judgement, judge
from defacedask.errors import InputError
from defacedask.io.dicom.export.audit import AUDIT, SEAL, read_lines
from defacedask.report.run import Run, read_run
from defacedask.verify import Verification, verify
from defacedask.whole_files import file_hash

__all__ = ["Facts", "gather"]

#: Columns of the table ``audit`` that figures are made of.
_AUDIT = ("case", "defacer", "modality", "status", "face_moved", "visible", "reversible", "deidentified")


@dataclasses.dataclass(frozen=True)
class Facts:
    """All that the page says.

    Attributes
    ----------
    out : Path
    run : Run or None
        The study; None where files were written and nothing was tried on them.
    audit : DataFrame
        Lines of the record; empty where nothing was written.
    checked : Verification or None
        Of what was written, made now.
    files : dict
        Path below ``out`` -> SHA-256, of configuration, tables and record.
    outputs : str
        SHA-256 over the hashes of all files that were written, sorted, a line each; "" if none was.
    judged : Judgement or None
        What another validator says, see `defacedask.dossier.judge`.
    """

    out: Path
    run: Run | None
    audit: pd.DataFrame
    checked: Verification | None
    files: dict[str, str]
    outputs: str
    judged: Judgement | None = None

    @property
    def defacers(self) -> list[str]:
        """Of the study, else those on record; the control is none, and other people's arms are last."""
        if self.run is not None:
            return [name for name in self.run.defacers if name != "none"]
        return sorted({name for name in self.audit["defacer"] if name and name != "copied"})


def gather(out: Path, key: bytes = b"") -> Facts:
    """Read what is there, and check what was written.

    Parameters
    ----------
    out : Path
        Of `study` or `deface`.
    key : bytes
        Of the run, if it is at hand: see `defacedask.verify.verify`.

    Raises
    ------
    InputError
        If the folder is neither a study's nor one that was written.
    """
    studied, written = (out / "tables").is_dir(), (out / AUDIT).is_file()
    if not studied and not written:
        raise InputError(
            f"{out} holds neither the tables of a study nor a record of defaced files.",
            "Name the output folder of `defacedask study` or `defacedask deface`.",
        )
    lines = read_lines(out / AUDIT) if written else []
    audit = pd.DataFrame([{name: line.get(name) for name in _AUDIT} for line in lines], columns=list(_AUDIT))
    audit["face_moved"] = pd.to_numeric(audit["face_moved"])
    hashes = sorted(str(line["output_sha256"]) for line in lines if line.get("status") == "written")
    return Facts(
        out,
        read_run(out) if studied else None,
        audit,
        verify(out, key=key) if written else None,
        {name: file_hash(out / name) for name in _named(out)},
        hashlib.sha256("".join(f"{one}\n" for one in hashes).encode()).hexdigest() if hashes else "",
        judge(out, lines),
    )


def _named(out: Path) -> list[str]:
    tables = [p.relative_to(out).as_posix() for p in (out / "tables").glob("*.*") if p.is_file()]
    return [name for name in ("config.yaml", AUDIT, SEAL) if (out / name).is_file()] + sorted(tables)


def manifest(facts: Facts) -> str:
    """What `defacedask.dossier.signing.check_dossier` compares with the folder, as JSON."""
    content: dict[str, Any] = {"files": facts.files, "outputs_sha256": facts.outputs}
    return json.dumps(content, indent=1, sort_keys=True).replace("<", "\\u003c")  # it stands in a script
