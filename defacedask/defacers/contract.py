"""What belongs to the base classes of defacers and their plans, and how a class that takes it over is told."""

from __future__ import annotations

from collections.abc import Mapping

from defacedask.errors import ContractError

__all__ = ["HOOKS", "PLAN_HOOKS", "keep_final"]

#: What of a plan the base keeps for itself -> what a plug-in writes instead; empty: nothing.
PLAN_HOOKS: Mapping[str, str] = {
    "region": "wanted",
    "region_of": "placed",
    "deface_block": "fill, or change_block",
    "apply": "fill, or change_block",
    "withheld": "",
    "protected": "",
    "protecting": "",
    "to_dict": "",
    "digest": "",
    "__dask_tokenize__": "",
}
#: The same for the class that makes plans.
HOOKS: Mapping[str, str] = {"plan": "propose"}


def keep_final(kind: type, base: type, hooks: Mapping[str, str]) -> None:
    """See that a subclass, or what it is mixed with, takes over nothing that belongs to the base.

    Parameters
    ----------
    kind : type
        Just made, not yet a dataclass.
    base : type
    hooks : mapping
        Name that belongs to the base -> what to write instead.

    Raises
    ------
    ContractError
        Naming the class, the name and what to write instead.
    """
    for one in kind.__mro__:
        if one is base or one in base.__mro__:
            continue
        # a field without a default is an annotation alone, and hides the base's method all the same
        own = {*vars(one), *vars(one).get("__annotations__", {})}
        for name, instead in hooks.items():
            if name in own:
                raise ContractError(
                    f"{one.__module__}.{one.__qualname__} has a {name!r} of its own, which belongs to the base "
                    f"class {base.__name__}: it keeps the brain and protected structures as they are.",
                    f"Write {instead} instead." if instead else "Leave it out.",
                )
