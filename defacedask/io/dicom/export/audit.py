"""The record of a run: one JSON line a written or refused instance, and a seal over all of them.

Every case leaves its own part beside the results of the run; `collect` makes ``audit.jsonl`` of the parts that are
there, whole or not at all. It names outputs by their path below the folder and inputs by their hash alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defacedask.errors import StoreError
from defacedask.io.dicom.export.leaks import coded_words
from defacedask.io.store import writing
from defacedask.whole_files import file_hash, write_whole

if TYPE_CHECKING:
    from defacedask.io.dicom.export.words import Words

__all__ = [
    "AUDIT",
    "SEAL",
    "audit_line",
    "collect",
    "hash_of_source",
    "lost_files",
    "read_lines",
    "seal_of",
    "write_lines",
]

AUDIT, SEAL = "audit.jsonl", "audit.seal.json"


def audit_line(status: str, file: str, **known: Any) -> dict[str, Any]:
    """One line of the record; what every line has is there, empty where it is not known.

    Parameters
    ----------
    status : str
        written | refused | copied.
    file : str
        Path in the output folder; of what was not written, the path that it would have.
    **known
        case, defacer, modality, input_sha256, output_sha256, plan_sha256, reason; and what else is known of it.
    """
    names = ("case", "defacer", "modality", "input_sha256", "output_sha256", "plan_sha256", "reason")
    return {"status": status, "file": file, **dict.fromkeys(names, ""), **known}


def hash_of_source(path: str | Path) -> str:
    """SHA-256 of an input file; empty where it cannot be read."""
    try:
        return file_hash(path)
    except OSError:
        return ""


def write_lines(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Write lines, whole or not at all."""
    text = "".join(_json(line) + "\n" for line in lines)
    with writing(f"the record {path.name}"):
        write_whole(path, text)


def _json(line: dict[str, Any]) -> str:
    text = json.dumps(line, sort_keys=True, ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # a file name that is no text
        return json.dumps(line, sort_keys=True)
    return text


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Lines of a part or of the whole record; none if it is not there.

    Raises
    ------
    StoreError
        If it is damaged or cannot be read.
    """
    if not path.exists():
        return []
    try:
        # a line ends with a line feed alone: names may hold other characters that end lines
        text = path.read_text(encoding="utf-8").split("\n")
        lines = [json.loads(line) for line in text if line.strip()]
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"the record {path.name} is damaged ({error}).", "It is written anew.") from None
    if not all(isinstance(line, dict) for line in lines):
        raise StoreError(f"the record {path.name} is damaged (a line is no object).", "It is written anew.")
    return lines


def lost_files(part: Path, out: Path) -> bool:
    """Whether a file that a case's part of the record names as written is gone, or the part is damaged."""
    try:
        written = [str(line["file"]) for line in read_lines(part) if line.get("status") == "written"]
        return not all((out / name).is_file() for name in written)
    except (StoreError, KeyError, OSError):
        return True


def seal_of(path: Path, key: bytes = b"") -> dict[str, Any]:
    """Hash of the record, and with the run's key a code that only its holder could make."""
    data = path.read_bytes()
    seal: dict[str, Any] = {
        "file": path.name,
        "lines": data.count(b"\n"),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    if key:
        own = hmac.new(key, b"defacedask audit 1", hashlib.sha256).digest()
        seal["hmac_sha256"] = hmac.new(own, data, hashlib.sha256).hexdigest()
    return seal


def collect(
    out: Path,
    parts: Iterable[Path],
    more: Sequence[dict[str, Any]] = (),
    key: bytes = b"",
    words: Words | None = None,
) -> Path:
    """Make ``OUT/audit.jsonl`` and its seal of the cases' parts.

    Parameters
    ----------
    out : Path
        Output folder.
    parts : iterable of Path
        One a case and defacer; those that are not there are left out.
    more : sequence of dict
        Lines of what belongs to no case.
    key : bytes
        Of the run, for the seal.
    words : Words, optional
        Of the people whose headers were de-identified: the seal gets codes of them under the key.

    Returns
    -------
    Path
        Of the record.
    """
    lines = list(more)
    for part in parts:
        # whoever reads the folder then finds files that are on no record
        with contextlib.suppress(StoreError):
            lines += read_lines(part)
    lines.sort(key=lambda line: (str(line.get("file", "")), str(line.get("status", ""))))
    path = out / AUDIT
    write_lines(path, lines)
    with writing("the seal of the record"):
        seal = seal_of(path, key)
        if words is not None and key:
            seal["words"] = coded_words(words.forms, key)
        write_whole(out / SEAL, json.dumps(seal, indent=1) + "\n")
    return path
