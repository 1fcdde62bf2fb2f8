"""What a stage wrote of a case goes to the address of the output from the worker that made it, and leaves its disk.

So no machine holds more output than that of the cases at hand. Before anything is sent the files are verified as
`defacedask.verify` does it, from their bytes and record alone.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from defacedask.errors import DefacedaskError, MissingExtraError, OutputError, RemoteError
from defacedask.io.remote.objects import Objects
from defacedask.io.remote.parts import Parts
from defacedask.io.remote.publish import require

__all__ = ["deliver", "files_on_record"]

#: Status of a line of the record whose file is in the output.
THERE = ("written", "copied")


def files_on_record(record: Path) -> dict[str, str]:
    """Name -> SHA-256 of the files that a part of the record says are in the output.

    Raises
    ------
    StoreError
        If it is damaged.
    """
    return _files(_lines(record))


def _lines(record: Path) -> list[dict[str, Any]]:
    """Lines of a part of the record whose files are in the output."""
    from defacedask.io.dicom.export.audit import read_lines

    return [line for line in read_lines(record) if line["status"] in THERE]


def _files(lines: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    return {str(line["file"]): str(line["output_sha256"]) for line in lines}


def deliver(record: Path, out: Path, to: Mapping[str, Any]) -> int:
    """Send the files of one part of the record, and remove them here.

    Parameters
    ----------
    record : Path
        The part of the record.
    out : Path
        Folder that holds its files.
    to : mapping
        Of `defacedask.runs.outbox.Outbox.arguments`: address, token, run, part.

    Returns
    -------
    int
        Files that were sent; others were there.

    Raises
    ------
    DefacedaskError
        If they do not pass their verification: nothing is sent.
    OutputError
        If the address does not take them; no other case could be sent either.
    """
    from defacedask.verify.cases import verify_part

    lines = _lines(record)
    if problems := verify_part(out, lines):
        first = problems[0]
        raise DefacedaskError(
            f"what was written did not pass its verification ({len(problems)} problems; {first.file}: "
            f"{first.what}), so nothing of it was sent to {to['address']}.",
            "Please report this.",
        )
    files = _files(lines)
    try:
        objects = Objects(to["address"])
        parts = Parts(objects, to["run"])
        sent = parts.deliver(to["part"], out, files, functools.partial(require, to["address"], to["token"]))
    except (RemoteError, MissingExtraError) as error:
        raise OutputError(error.message, error.hint, fatal=True) from error
    for name in files:
        (out / name).unlink(missing_ok=True)
    empty = {parent for name in files for parent in (out / name).parents if out in parent.parents}
    for folder in sorted(empty, key=lambda path: -len(path.parts)):
        with contextlib.suppress(OSError):  # another case's files lie there
            folder.rmdir()
    return sent
