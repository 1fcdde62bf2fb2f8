"""What was written, changed afterwards with its record."""

from __future__ import annotations

import json
from pathlib import Path

import pydicom

from defacedask.io.dicom.export.audit import AUDIT, collect, read_lines
from defacedask.whole_files import file_hash


def reseal(out: Path, change) -> None:
    """Write the record anew, as somebody would who knows the format: only hashes of files are then right."""
    lines = read_lines(out / AUDIT)
    for line in lines:
        if (out / line["file"]).exists():
            line["output_sha256"] = file_hash(out / line["file"])
    change(lines)
    part = out.parent / "part.jsonl"
    part.write_text("".join(json.dumps(line) + "\n" for line in lines))
    collect(out, [part])


def edit(out: Path, name: str, change) -> None:
    """Change a file and its hash on record."""
    dataset = pydicom.dcmread(out / name)
    change(dataset)
    dataset.save_as(out / name)
    reseal(out, lambda lines: None)
