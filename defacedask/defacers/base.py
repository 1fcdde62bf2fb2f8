"""The contract of all defacers: look at one head, return a small plan; apply the plan anywhere in its frame.

A plan is plain data. What it does at a voxel depends on that voxel's world position and original value alone,
never on the grid or on neighbours, so applying it block by block equals applying it to the whole volume, and
the plan made on a CT applies to the PET, the MR and the dose grid in the same frame of reference.

Safety belongs to these two classes. A plug-in says what it wants (`Defacer.propose`, `Plan.wanted`) and what comes
in its place (`Plan.fill`); `Defacer.plan` adds the brain and what the user protects, `Plan.region` takes both out of
what is wanted, and `Plan.deface_block` puts back, bit for bit, what was changed there all the same.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from defacedask.defacers.codec import record
from defacedask.defacers.contract import HOOKS, keep_final
from defacedask.defacers.plan import Plan, bits, plan_types
from defacedask.defacers.protect import Protected, brain_of
from defacedask.errors import ContractError, RefusedError
from defacedask.modality import AIR, air_of

if TYPE_CHECKING:
    from defacedask.anatomy.head import Head

__all__ = ["AIR", "BRAIN_MARGIN", "Defacer", "Plan", "air_of", "bits", "plan_types", "record"]

#: mm around the brain in which nothing changes, unless a defacer has an option ``brain_margin_mm``.
BRAIN_MARGIN = 2.0


@dataclasses.dataclass(frozen=True)
class Defacer(abc.ABC):
    """Makes plans. Its dataclass fields are its options.

    Attributes
    ----------
    name : str
        What the user types after ``--defacer``.
    reversible : bool
        The face is only covered: whoever has the result can recover it. Such a result is written only if the user
        asks for it by name, and never stamped as free of recognizable features.
    spares : tuple of str
        Names of structures, with ``*`` and ``?``, that stay wherever a case has them, without being asked for.
    personal : bool
        The key that `propose` gets is one of run and person, the same in all cases of a patient; otherwise one of run
        and case.
    """

    name: ClassVar[str] = ""
    reversible: ClassVar[bool] = False
    spares: ClassVar[tuple[str, ...]] = ()
    personal: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        keep_final(cls, Defacer, HOOKS)

    @abc.abstractmethod
    def propose(self, head: Head, *, key: bytes, protected: tuple[Protected, ...]) -> Plan:
        """Look at a head and decide what to change.

        Parameters
        ----------
        head : Head
            Everything that may be asked about one head.
        key : bytes
            Secret of the run and case, for defacers that draw noise.
        protected : tuple of Protected
            What will stay as it is, the brain first: the base sees to that. For plans that are laid out around it.

        Raises
        ------
        RefusedError
            If the head does not allow a trustworthy plan.
        """

    def plan(self, head: Head, *, key: bytes = b"", protected: Sequence[Protected] = ()) -> Plan:
        """Look at a head and decide; brain and protected structures stay as they are, whatever is proposed.

        Parameters
        ----------
        head : Head
        key : bytes
            Secret of the run and case, for defacers that draw noise.
        protected : sequence of Protected
            Structures that stay as they are, besides the brain (see `defacedask.defacers.protect`).

        Raises
        ------
        RefusedError
            If the head does not allow a trustworthy plan, or no brain is found that could be protected.
        ContractError
            If what is proposed is not a plan of this defacer.
        """
        kind = plan_types.get(self.name)
        kept: tuple[Protected, ...] = ()
        if kind is None or not kind.wants_nothing:
            if not head.brain.any():
                raise RefusedError("no brain was found in this head, so none could be protected.")
            kept = (brain_of(head, getattr(self, "brain_margin_mm", BRAIN_MARGIN)), *protected)
        plan = self.propose(head, key=key, protected=kept)
        if type(plan) is not kind:
            raise ContractError(
                f"{type(self).__name__} proposed a {type(plan).__name__}, which is not the plan of the defacer "
                f"{self.name!r}.",
                "`name` of the defacer and `defacer` of its plan must be the same word.",
            )
        return plan.protecting(kept)

    @classmethod
    def describe(cls) -> str:
        """First paragraph of the docstring."""
        return (cls.__doc__ or "").split("\n\n")[0].strip()


Registry = dict[str, Callable[..., Defacer]]
