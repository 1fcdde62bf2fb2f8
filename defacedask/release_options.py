"""What the user chose about the files that leave: private elements, headers, faces visible or only covered."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
from typing import Any

from defacedask.errors import ConfigError

__all__ = ["ReleaseOptions", "check_reversible", "reversible_reason"]


@dataclasses.dataclass(frozen=True)
class ReleaseOptions:
    """What the user chose about what is written.

    Attributes
    ----------
    private : str
        ``keep`` or ``drop`` private elements.
    deidentify : bool
        De-identify headers.
    allow_visible : bool
        Write cases whose face is still visible, marked as such.
    allow_reversible : bool
        Write what a reversible defacer (`defacedask.defacers.Defacer`) leaves, marked as such.
    """

    private: str = "keep"
    deidentify: bool = False
    allow_visible: bool = False
    allow_reversible: bool = False

    @classmethod
    def of(
        cls,
        private: str | None = None,
        deidentify: bool = False,
        allow_visible: bool = False,
        allow_reversible: bool = False,
    ) -> ReleaseOptions:
        """Options with their defaults.

        Raises
        ------
        ConfigError
            If ``private`` is neither ``keep`` nor ``drop``.
        MissingExtraError
            If headers are to be de-identified and dicognito is not installed.
        """
        chosen = private or ("drop" if deidentify else "keep")
        if chosen not in ("keep", "drop"):
            raise ConfigError(f"private elements cannot be {chosen!r}.", "Use keep or drop.")
        if deidentify:
            from defacedask.dicom.export.identity import Identity

            Identity(bytes(16), "probe")
        return cls(chosen, deidentify, allow_visible, allow_reversible)

    @property
    def choice(self) -> dict[str, Any]:
        """JSON-able form, on which what is written depends."""
        return dataclasses.asdict(self)

    def choice_for(self, defacer: str) -> dict[str, Any]:
        """The same for one defacer: what is asked for reversible ones changes nothing for the others."""
        from defacedask.defacers import is_reversible

        return {**self.choice, "allow_reversible": self.allow_reversible and is_reversible(defacer)}

    def arguments(self, key: bytes) -> dict[str, Any]:
        """Arguments of `defacedask.stages.export.export`."""
        own = hmac.new(key, b"defacedask identities 1", hashlib.sha256).digest() if self.deidentify else b""
        return {
            "private": self.private,
            "identity_key": own,
            "allow_visible": self.allow_visible,
            "allow_reversible": self.allow_reversible,
        }


def check_reversible(defacer: str, allowed: bool) -> None:
    """Stop before any work if nothing of a defacer may be written.

    Parameters
    ----------
    defacer : str
        Registered name.
    allowed : bool
        The user asked for what can be undone.

    Raises
    ------
    ConfigError
        If the defacer is reversible and that was not asked for, or there is no such defacer.
    """
    from defacedask.defacers import is_reversible

    if not allowed and is_reversible(defacer):
        raise ConfigError(*reversible_reason(defacer))


def reversible_reason(defacer: str) -> tuple[str, str]:
    """Why nothing of a reversible defacer is written, and what to do, one sentence each."""
    return (
        f"{defacer} only covers the face: the original stays inside what it writes and can be un-masked, so that "
        "this is no de-identified image.",
        "Use another defacer, or --allow-reversible (allow_reversible=True): every file then says so.",
    )
