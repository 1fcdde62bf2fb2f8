"""What a defaced array says of itself: that it is defaced, by what, and from which series it comes."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from defacedask.defacers.registry import found
from defacedask.errors import ConfigError

__all__ = ["defaced_attrs"]

#: Names of the source that the result must not bear as its own.
_OWN = ("series_uid", "series_key", "sop_instance_uid")


def defaced_attrs(attrs: Mapping[Any, Any], name: str, digest: str) -> dict[Any, Any]:
    """Attributes of what a plan made of an array with these attributes.

    Parameters
    ----------
    attrs : mapping
        Of the original, or of what another plan left.
    name : str
        Of the defacer.
    digest : str
        SHA-256 of the plan.

    Returns
    -------
    dict
        The same, flat, with ``defaced_by`` (after an earlier defacer's, with a comma between),
        ``defacing_plan_sha256`` (as in the record of an export), ``defacing_software``, ``derivation`` (a sentence),
        and the UIDs of the source under ``source_series_uid`` and ``source_sop_instance_uid``.
    """
    from defacedask import __version__

    out: dict[Any, Any] = {f"source_{k}" if k in _OWN else k: v for k, v in attrs.items()}
    software = f"defacedask {__version__}"
    out["defaced_by"] = ", ".join([*filter(None, [out.get("defaced_by", "")]), name])
    out["defacing_plan_sha256"] = ", ".join([*filter(None, [out.get("defacing_plan_sha256", "")]), digest])
    out["defacing_software"] = software
    out["derivation"] = (
        f"Not the source series: {out['defaced_by']} ({software}) changed the face{_only_covered(name)}."
    )
    return out


def _only_covered(name: str) -> str:
    with contextlib.suppress(ConfigError):  # a plan whose defacer is not registered
        if getattr(found(name)[0], "reversible", False):
            return ", which is covered and can be recovered"
    return ""
