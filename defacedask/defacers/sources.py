"""Which code a defacer is: hashes of its source, for the keys of what it made.

The hash is taken once for each class, when it is loaded, so that it is that of the code in memory: a file that is
edited later changes nothing in a process that runs already.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["source_files", "source_hash"]

#: Of this package, what a built-in defacer's result depends on; of others, the whole package.
OWN = (
    "defacers",
    "anatomy",
    "backend.py",
    "boxes.py",
    "coordinates.py",
    "devices.py",
    "geometry.py",
    "kernels.py",
    "modality.py",
    "sampling.py",
    "volume",
)
_PACKAGE = Path(__file__).resolve().parents[1]
_SUFFIXES = (".py", ".pyx", ".so", ".pyd")


@functools.cache
def source_hash(kind: type | Callable[..., Any]) -> str:
    """SHA-256 of the source of a class or function and of what belongs to it; empty if it has none.

    Parameters
    ----------
    kind : type or function
        Defacer or plan, or what makes an attack's attempts.
    """
    files = source_files(kind)
    if not files:
        return ""
    total = hashlib.sha256()
    for name, path in files:
        content = path.read_bytes()
        total.update(f"{name}\0{len(content)}\0".encode())
        total.update(content)
    return total.hexdigest()


def source_files(kind: type | Callable[..., Any]) -> list[tuple[str, Path]]:
    """Files whose content makes a class do what it does: (name, path), sorted by name.

    Its own module and those of the classes it is derived from; of each the whole package, or, for a module that
    stands alone, the modules beside it that it uses.
    """
    found: dict[str, Path] = {}
    for base in getattr(kind, "__mro__", (kind,)):
        module = sys.modules.get(base.__module__)
        if module is None or not getattr(module, "__file__", None):
            if base is kind:
                return []  # made by hand: nothing says what it does
            continue
        top = base.__module__.partition(".")[0]
        if top == "defacedask":
            found.update(_code_files(_PACKAGE, top, OWN))
        elif top not in sys.stdlib_module_names:
            package = sys.modules.get(top)
            folder = getattr(package, "__path__", None)
            if folder:
                for place in folder:
                    found.update(_code_files(Path(place), top))
            else:
                found.update(_beside(module))
    return sorted(found.items())


def _code_files(folder: Path, name: str, parts: Iterable[str] = ("",)) -> Iterator[tuple[str, Path]]:
    for place in (folder / part for part in parts):
        for path in [place] if place.is_file() else place.rglob("*"):
            if path.suffix in _SUFFIXES:
                yield f"{name}/{path.relative_to(folder).as_posix()}", path


def _beside(module: ModuleType) -> dict[str, Path]:
    """File of a module, and of the modules and packages in the same folder that it uses, and they use."""
    out: dict[str, Path] = {}
    folder = Path(str(module.__file__)).parent
    # in a folder of installed packages everything lies beside everything, but is no part of it
    installed = folder.name in ("site-packages", "dist-packages")
    waiting = [module]
    while waiting:
        one = waiting.pop()
        path = Path(str(one.__file__))
        if one.__name__ in out or not path.is_file():
            continue
        out[one.__name__] = path
        for value in list(vars(one).values()):
            name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
            top = str(name).partition(".")[0]
            used = sys.modules.get(top)
            file = getattr(used, "__file__", None)
            if used is None or not file or installed:
                continue
            if Path(file).parent == folder:
                waiting.append(used)
            elif Path(file).parent.parent == folder and f"{top}/__init__.py" not in out:
                out.update(_code_files(Path(file).parent, top))
    return out
