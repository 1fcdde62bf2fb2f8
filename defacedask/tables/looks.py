"""What recognisers saw, as a part of a table: encodings as bytes, everything else as columns."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from defacedask.faces.identification import Sighting
from defacedask.flow.result import TaskResult
from defacedask.tables.parts import read_part

__all__ = [
    "ENROLLED",
    "FACTS",
    "LOOKING",
    "LOOKS",
    "PLANTED",
    "Group",
    "looks_table",
    "read_looks",
    "sightings",
    "specs_of",
]

#: Stages that look for faces.
LOOKING = ("faces", "inversion")
#: Name of the table, of the one with the pictures of originals that are for the gallery alone, and of the one with
#: those of doses that were planted on them.
LOOKS, ENROLLED, PLANTED = "looks", "enrolled", "planted"
#: What is known of a picture beside who it is of, the view, the encoding, and whether a face was found.
FACTS = ("case", "defacer", "modality", "recogniser", "attack", "variant", "forced", "level")
#: (modality, recogniser).
Group = tuple[str, str]

_TEXTS = ("person", "view", "case", "defacer", "modality", "recogniser", "attack", "variant")
_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in _TEXTS),
        ("forced", pa.bool_()),
        ("level", pa.float64()),
        ("detected", pa.bool_()),
        ("numbers", pa.binary()),
        ("other", pa.string()),
    ]
)
_SPECS = b"recognisers"


def sightings(
    results: Iterable[TaskResult], patients: Mapping[str, str], kind: str = LOOKS
) -> dict[Group, list[Sighting]]:
    """(modality, recogniser) -> what was seen, from the stages `LOOKING`: `LOOKS`, `ENROLLED` or `PLANTED`."""
    groups: dict[Group, list[Sighting]] = defaultdict(list)
    for result in results:
        for look in result.facts.get(kind, ()) if result.stage in LOOKING and result.ok else ():
            facts = {
                "case": result.case,
                "defacer": result.defacer,
                "modality": look["modality"],
                "recogniser": look.get("recogniser") or result.facts["recogniser"],
                "attack": look["attack"],
                "variant": look.get("variant", ""),
                "forced": look.get("forced", False),
                "level": look["level"],
            }
            seen = Sighting(patients[result.case], look["view"], look["encoding"], look["detected"], facts)
            groups[facts["modality"], facts["recogniser"]].append(seen)
    return groups


def looks_table(groups: Mapping[Group, Iterable[Sighting]], specs: Mapping[str, str]) -> pa.Table:
    """Rows of `LOOKS`.

    Parameters
    ----------
    groups : mapping
        See `sightings`.
    specs : mapping
        Recogniser's name -> how to open it.
    """
    rows = [_row(group, one) for group, seen in groups.items() for one in seen]
    return pa.Table.from_pylist(rows, schema=_SCHEMA.with_metadata({_SPECS: json.dumps(dict(specs))}))


def _row(group: Group, one: Sighting) -> dict[str, Any]:
    code = one.encoding
    number = isinstance(code, np.ndarray) or (
        isinstance(code, list) and all(isinstance(value, (int, float)) for value in code)
    )
    return {
        "person": one.person,
        "view": one.view,
        "detected": bool(one.detected),
        **{name: one.facts.get(name) for name in FACTS},
        "modality": group[0],
        "recogniser": group[1],
        "numbers": np.asarray(code, dtype=np.float64).tobytes() if number else None,
        # a service's encodings are not numbers
        "other": None if number or code is None else json.dumps(code),
    }


def read_looks(folder: Path, name: str = LOOKS, **options: Any) -> dict[Group, list[Sighting]]:
    """What was seen, from a part; options are those of `defacedask.tables.parts.read_part`."""
    groups: dict[Group, list[Sighting]] = defaultdict(list)
    for row in read_part(folder, name, **options).to_dict("records"):
        code: Any = None
        if row["numbers"] is not None:
            code = np.frombuffer(row["numbers"])
        elif isinstance(row["other"], str):
            code = json.loads(row["other"])
        facts = {name: row[name] for name in FACTS}
        facts["level"] = None if pd.isna(facts["level"]) else facts["level"]
        seen = Sighting(row["person"], row["view"], code, row["detected"], facts)
        groups[row["modality"], row["recogniser"]].append(seen)
    return groups


def specs_of(folder: Path) -> dict[str, str]:
    """Recogniser's name -> how to open it, from a part."""
    found: dict[str, str] = json.loads(pq.read_schema(folder / f"{LOOKS}.parquet").metadata[_SPECS])
    return found
