"""Input that was lent, where a worker does not see it; see `defacedask.flow.lending`."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from defacedask.errors import StoreError, writing
from defacedask.io.remote.objects import Objects

__all__ = ["LIST", "borrow", "member", "texts"]

#: In what is lent: name, size and time of each file.
LIST = "list.json"


def borrow(objects: Objects, name: str, folder: Path) -> dict[str, str]:
    """Bring what was lent.

    Parameters
    ----------
    objects : Objects
    name : str
        Of the object.
    folder : Path
        Where the files go.

    Returns
    -------
    dict
        What a file is called everywhere -> its path here.

    Raises
    ------
    StoreError
        If it is not there.
    """
    with writing("the input of a case"):
        folder.mkdir(parents=True, exist_ok=True)
        aside = folder / "input.tar"
        if not objects.fetch(name, aside):
            raise StoreError(
                "the input of the case is not there, and this worker does not see it.",
                "Run the same command again.",
            )
        found = {}
        with tarfile.open(aside) as tar:
            # files of the list alone, one by one: before Python 3.11.4 `extractall` writes wherever a name says
            for number, (text, size, changed) in enumerate(json.loads(_opened(tar, LIST).read())):
                path = folder / member(number, text)
                path.parent.mkdir(exist_ok=True)
                with _opened(tar, member(number, text)) as source, path.open("wb") as file:
                    shutil.copyfileobj(source, file)
                if path.stat().st_size != size:
                    raise StoreError(
                        f"{Path(text).name} changed while it was read.", "Run the same command again."
                    )
                # what a case is made from is told by its files' sizes and times
                os.utime(path, ns=(changed, changed))
                found[text] = str(path)
        aside.unlink()
    return found


def _opened(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    try:
        file = tar.extractfile(name)
    except KeyError:
        file = None
    if file is None:
        raise StoreError(
            f"the input of the case is not whole (no file {name}).", "Run the same command again."
        )
    return file


def member(number: int, path: str) -> str:
    """Name of a file in what is lent."""
    return f"{number:06d}/{Path(path).name}"


def texts(value: Any) -> Iterator[str]:
    """All texts in some arguments, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from texts(key)
            yield from texts(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from texts(one)
