"""Checks for people who write plug-ins, and of our recogniser against the package that it is named after.

>>> from defacedask.testing import check_defacer
>>> from my_package import MyDefacer  # doctest: +SKIP
>>> check_defacer(MyDefacer)  # doctest: +SKIP
>>> from defacedask.testing import compare_face_recognition
>>> compare_face_recognition([picture])  # doctest: +SKIP
"""

from __future__ import annotations

from typing import Any

from defacedask.errors import ContractError
from defacedask.testing.oracle import compare_face_recognition

__all__ = ["check_defacer", "compare_face_recognition"]


def check_defacer(kind: Any, **options: Any) -> None:
    """Check a defacer against the contract, on the built-in average head: it needs no data.

    Parameters
    ----------
    kind : type
        Subclass of `defacedask.defacers.Defacer`; it need not be installed.
    **options
        To check it with; by default its own defaults.

    Raises
    ------
    ContractError
        Naming every clause that is broken, and how (an `AssertionError`, too). The clauses are the functions of
        `defacedask.testing.clauses`, with what each asks for.
    """
    from defacedask.defacers import Defacer
    from defacedask.testing.clauses import CLAUSES
    from defacedask.testing.subject import Subject

    if not (isinstance(kind, type) and issubclass(kind, Defacer)):
        raise ContractError(f"{kind!r} is no subclass of defacedask.defacers.Defacer.")
    it = Subject(kind, options)
    try:
        _ = it.plan, it.applied
    except Exception as error:
        raise ContractError(
            f"{kind.__name__} breaks the contract of defacers:\n- working: it makes no plan of the average head, or "
            f"cannot apply it to a CT, MR, PET and dose: {type(error).__name__}: {error}"
        ) from error
    broken = []
    for name, clause in CLAUSES.items():
        try:
            faults = list(clause(it))
        except Exception as error:
            faults = [f"{type(error).__name__}: {error}"]
        broken += [f"- {name}: {fault}" for fault in faults]
    if broken:
        raise ContractError(f"{kind.__name__} breaks the contract of defacers:\n" + "\n".join(broken))
