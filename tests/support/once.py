"""What is dear and depends on its arguments alone is computed once a test session, for all workers.

Many tests need a head's place, what the witness sees of it, or a face's encoding on the way to something else, and
their patients are the same few. The first call with some content computes, with the real function; a later one with
the same content, to the last bit, gets a copy of that answer, in whatever worker or program it is asked. Nothing
outlives the session, so that a fault shows in all that rests on it. In tests of such a function itself it always
runs, and has to give what was remembered of it.
"""

from __future__ import annotations

import dataclasses
import fcntl
import functools
import hashlib
import importlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import numpy as np

__all__ = [
    "APART",
    "DEAR",
    "FOLDER",
    "PRELOAD",
    "dask_setup",
    "in_workers",
    "now",
    "start",
    "told",
    "unchanged",
]

#: Where the answers of a session lie; programs that tests start inherit it. Empty: every call computes.
FOLDER = "DEFACEDASK_TESTS_ONCE"
#: What is remembered: module, name in it, and the tests (below ``tests``) of just that, in which it always runs.
DEAR = (
    ("defacedask.anatomy.place", "find_head", ("anatomy/test_",)),
    ("defacedask.anatomy.place", "look_closer", ("anatomy/test_",)),
    ("defacedask.anatomy.witness.seeing", "sighting_of", ("anatomy/witness/",)),
    (
        "defacedask.faces.recognition.face_recognition",
        "FaceRecognition._faces",
        ("faces/", "testing/test_oracle"),  # which compares them with the public package's
    ),
)
#: In these tests functions are replaced below those above: what they give is neither compared nor remembered.
APART = ("faces/",)

#: What worker processes load that are to remember, too.
PRELOAD = "support.once"

_test = ""


def now(test: str) -> None:
    """Say which test runs: its path below ``tests``."""
    global _test
    _test = test


def unchanged(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function behind one that `told` made."""
    return getattr(function, "__wrapped__", function)


def told(function: Callable[..., Any], name: str, *, runs_in: tuple[str, ...] = ()) -> Callable[..., Any]:
    """The function, which does not compute again what it was asked in this session; ``runs_in`` tests it always does.

    Raises
    ------
    AssertionError
        If it then gives anything else than what is remembered.
    """

    @functools.wraps(function)
    def asked(*args: Any, **kwargs: Any) -> Any:
        folder = os.environ.get(FOLDER)
        always = _test.startswith(runs_in)
        if not folder or (always and _test.startswith(APART)):
            return function(*args, **kwargs)
        digest = hashlib.blake2b(name.encode(), digest_size=16)
        _feed(digest, (args, kwargs))
        path = Path(folder) / digest.hexdigest()
        # whoever asks the same meanwhile waits for the answer
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            known = path.read_bytes() if path.exists() else None
            if known is None or always:
                made = pickle.dumps(function(*args, **kwargs))
                assert known in (None, made), f"{name} gives another answer than before to the same question"
                partial = path.with_suffix(".partial")
                partial.write_bytes(made)
                partial.rename(path)
                known = made
        return pickle.loads(known)

    return asked


def start() -> None:
    """Remember from now on, in this process."""
    for module, name, tests in DEAR:
        owner: Any = importlib.import_module(module)
        *outer, last = name.split(".")
        for part in outer:
            owner = getattr(owner, part)
        setattr(owner, last, told(unchanged(getattr(owner, last)), f"{module}:{name}", runs_in=tests))


def dask_setup(worker: Any) -> None:
    """Dask calls this in a worker that loads this module, see `in_workers`."""
    start()


def in_workers() -> Any:
    """A context: worker processes that are started in it remember what this session knows."""
    return dask.config.set({"distributed.worker.preload": [PRELOAD]})


#: Digests of average heads, which are large, many times asked with, and never changed; kept with them.
_atlases: dict[int, tuple[Any, bytes]] = {}


def _feed(digest: Any, value: Any) -> None:
    """Add all that a value holds."""
    digest.update(type(value).__qualname__.encode())
    if isinstance(value, np.ndarray):
        digest.update(repr((value.dtype, value.shape)).encode())
        digest.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8))
    elif type(value).__name__ == "Atlas":
        digest.update(_of_atlas(value))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            digest.update(field.name.encode())
            _feed(digest, getattr(value, field.name))
    elif isinstance(value, dict):
        for key in sorted(value):
            digest.update(key.encode())
            _feed(digest, value[key])
    elif isinstance(value, (list, tuple)):
        digest.update(str(len(value)).encode())
        for one in value:
            _feed(digest, one)
    elif value is None or isinstance(value, (str, bytes, bool, int, float, np.generic)):
        digest.update(repr(value).encode() + b";")
    else:
        raise TypeError(f"a {type(value)} cannot be told from another: teach _feed what it holds")


def _of_atlas(atlas: Any) -> bytes:
    if id(atlas) not in _atlases:
        digest = hashlib.blake2b(digest_size=16)
        for field in dataclasses.fields(atlas):
            _feed(digest, getattr(atlas, field.name))
        _atlases[id(atlas)] = atlas, digest.digest()
    return _atlases[id(atlas)][1]
