"""Fields of plans as JSON: plain values, arrays, grids, bytes, or records; and back."""

from __future__ import annotations

import base64
import dataclasses
import zlib
from typing import Any

import numpy as np

from defacedask.geometry import Geometry

__all__ = ["decode", "encode", "fields_alone", "is_record", "record"]

_records: dict[str, type] = {}


def record(kind: type) -> type:
    """Let a frozen dataclass with a ``kind`` (class attribute, unique) be a field of plans."""
    _records[kind.kind] = kind  # type: ignore[attr-defined]
    kind.__getstate__ = fields_alone  # type: ignore[assignment, method-assign]
    return kind


def fields_alone(one: Any) -> dict[str, Any]:
    """What is pickled of a dataclass: its fields. What was made of them is made again where it is needed."""
    return {f.name: getattr(one, f.name) for f in dataclasses.fields(one)}


def is_record(value: Any) -> bool:
    """Whether a value is of a class that `record` made known."""
    return type(value) in _records.values()


def encode(value: Any) -> Any:
    """A field of a plan, JSON-able; arrays are compressed and base64-coded."""
    if isinstance(value, np.ndarray):
        packed = base64.b64encode(zlib.compress(np.ascontiguousarray(value).tobytes(), 6)).decode()
        return {"__array__": packed, "dtype": value.dtype.str, "shape": list(value.shape)}
    if is_record(value):
        fields = {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"__record__": value.kind, "fields": fields}
    if isinstance(value, Geometry):
        return {"__geometry__": value.to_dict()}
    if isinstance(value, bytes):
        return {"__bytes__": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {k: encode(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(v) for v in value]
    if isinstance(value, np.generic):
        return value.item()
    return value


def decode(value: Any) -> Any:
    """Inverse of `encode`; lists come back as tuples."""
    if isinstance(value, dict):
        if "__array__" in value:
            raw = zlib.decompress(base64.b64decode(value["__array__"]))
            return np.frombuffer(raw, dtype=value["dtype"]).reshape(value["shape"]).copy()
        if "__geometry__" in value:
            return Geometry.from_dict(value["__geometry__"])
        if "__record__" in value:
            fields = {name: decode(v) for name, v in value["fields"].items()}
            return _records[value["__record__"]](**fields)
        if "__bytes__" in value:
            return base64.b64decode(value["__bytes__"])
        return {k: decode(v) for k, v in value.items()}
    if isinstance(value, list):
        return tuple(decode(v) for v in value)
    return value
