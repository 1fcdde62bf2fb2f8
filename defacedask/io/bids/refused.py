"""Sidecars of what a run wrote, once it is known which images were refused: they name only what is there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from defacedask.errors import StoreError
from defacedask.io.bids.dataset import DataSet
from defacedask.io.bids.pointers import FIELD, gone_note, without_absent
from defacedask.io.bids.sidecar import sidecar_of
from defacedask.io.dicom.export.audit import read_lines, write_lines
from defacedask.io.nifti.names import stem_of
from defacedask.io.store import writing
from defacedask.whole_files import file_hash, write_whole

__all__ = ["name_what_is_there"]


def name_what_is_there(one: DataSet, out: Path, parts: Sequence[Path]) -> None:
    """Let the sidecars of a data set name no image that was refused, and again one that has come since.

    Parameters
    ----------
    one : DataSet
    out : Path
        Output folder.
    parts : sequence of Path
        Parts of the record, one a case; those that are concerned are written anew.
    """
    lines = {}
    for part in parts:
        try:
            lines[part] = read_lines(part)
        except StoreError:
            continue  # whoever reads the folder then finds files that are on no record
    there = {
        str(line["file"])
        for some in lines.values()
        for line in some
        if line.get("status") in ("written", "copied")
    }

    def written(path: Path) -> bool:
        inside = path.relative_to(one.root).as_posix() if one.root in path.parents else ""
        return f"{one.folder}{inside}" in there

    for part, some in lines.items():
        sides = {str(line["file"]): line for line in some if line.get("modality") == "sidecar"}
        changed = False
        for line in some:
            name = str(line["file"])
            inside = name.removeprefix(one.folder)
            side = sides.get(str(Path(name).with_name(f"{stem_of(name)}.json")))
            if side is None or line is side or line.get("status") != "written" or line.get("deidentified"):
                continue  # where headers are de-identified the field goes
            if not name.startswith(one.folder) or not (one.root / inside).is_file():
                continue
            changed |= _settled(one.root / inside, out, side, written)
        if changed:
            write_lines(part, some)


def _settled(source: Path, out: Path, side: dict[str, object], written: object) -> bool:
    """Write one sidecar anew if it names other files than it should; its line is brought up to date."""
    before = sidecar_of(source)
    if FIELD not in before:
        return False
    path = out / str(side["file"])
    try:
        facts = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    wanted, gone = without_absent(before, source, written)  # type: ignore[arg-type]
    if facts.get(FIELD) == wanted.get(FIELD):
        return False
    new = {key: value for key, value in facts.items() if key != FIELD}
    if FIELD in wanted:
        new[FIELD] = wanted[FIELD]
    with writing(f"the sidecar {path.name}"):
        write_whole(path, json.dumps(new, indent=2) + "\n")
    notes = [note for note in side.get("notes") or [] if not str(note).startswith(FIELD)]  # type: ignore[attr-defined]
    side["notes"] = [*notes, *([gone_note(len(gone))] if gone else [])]
    side["output_sha256"] = file_hash(path)
    return True
