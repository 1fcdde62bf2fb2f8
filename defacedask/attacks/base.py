"""What an attack is: what an attacker does to a defaced head before looking at it.

Every attack sees the defaced image alone (`defacedask.attacks.target.Target`) and returns attempts: images to
contour, each with its own level. A head counts as found if any attempt of any attack finds it.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.geometry import Geometry
from defacedask.plugins import is_ours

if TYPE_CHECKING:
    from defacedask.attacks.target import Target

__all__ = ["Attack", "Attempt", "Maker"]

Maker = Callable[["Target"], "list[Attempt]"]


@dataclasses.dataclass(frozen=True, eq=False)
class Attempt:
    """One image to contour.

    Attributes
    ----------
    attack : str
        Name of the attack, as in the tables.
    variant : str
        Which of its settings.
    values : (z, y, x) float32 array
        On the target's grid, or its own.
    level : float
    geometry : Geometry, optional
        Its own grid.
    """

    attack: str
    variant: str
    values: np.ndarray
    level: float
    geometry: Geometry | None = None


@dataclasses.dataclass(frozen=True)
class Attack:
    """One attack: its name, what it tries, and what makes its attempts.

    Attributes
    ----------
    name : str
        As on the command line and in the tables.
    about : str
        What is tried, in one phrase.
    maker : callable or str
        ``maker(target) -> list of Attempt``, or ``module:function`` of it, imported when it is needed. Empty: the
        attack is another look at what is there, and makes no image; or (inversion) a stage of its own makes it, which
        needs everybody's heads.
    views : int
        From how many of the original's best views its attempts are looked at: a costly attack from one.
    usual : bool
        Whether the set ``default`` holds it.
    """

    name: str
    about: str
    maker: Maker | str = ""
    views: int = 1
    usual: bool = False

    @property
    def makes(self) -> bool:
        """Whether it makes images of its own."""
        return bool(self.maker)

    def attempts(self, target: Target) -> list[Attempt]:
        """Its attempts at a target, which bear its name; a plug-in gets a target of its own.

        Raises
        ------
        ValueError
            If they bear another.
        """
        if not self.maker:
            return []
        function = self.function
        found = function(target if is_ours(function) else target.copied())
        if wrong := {one.attack for one in found} - {self.name}:
            raise ValueError(f"the attack {self.name} calls its attempts {', '.join(sorted(wrong))}")
        return found

    @property
    def function(self) -> Any:
        """The maker, imported."""
        if not isinstance(self.maker, str):
            return self.maker
        module, _, name = self.maker.partition(":")
        return getattr(importlib.import_module(module), name)
