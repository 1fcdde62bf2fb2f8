"""The record of a run: one JSON line a written or refused instance, and a seal over all of them.

Every case leaves its own part beside the pieces of the run; `collect` makes ``audit.jsonl`` of the parts that are
there, whole or not at all. It names outputs by their path below the folder and inputs by their hash alone.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from defacedask.store import writing

__all__ = ["AUDIT", "SEAL", "collect", "read_lines", "seal_of", "write_lines"]

AUDIT, SEAL = "audit.jsonl", "audit.seal.json"


def write_lines(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Write lines, whole or not at all."""
    text = "".join(json.dumps(line, sort_keys=True, ensure_ascii=False) + "\n" for line in lines)
    with writing(f"the record {path.name}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            partial.write_text(text, encoding="utf-8")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Lines of a part or of the whole record; none if it is not there."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


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


def collect(out: Path, parts: Iterable[Path], more: Sequence[dict[str, Any]] = (), key: bytes = b"") -> Path:
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

    Returns
    -------
    Path
        Of the record.
    """
    lines = [line for part in parts for line in read_lines(part)]
    lines += list(more)
    lines.sort(key=lambda line: (str(line.get("file", "")), str(line.get("status", ""))))
    path = out / AUDIT
    write_lines(path, lines)
    with writing("the seal of the record"):
        partial = out / f".{SEAL}.{os.getpid()}"
        partial.write_text(json.dumps(seal_of(path, key), indent=1) + "\n", encoding="utf-8")
        partial.replace(out / SEAL)
    return path
