"""What the user chose about the files that leave: private elements, headers, faces visible or only covered."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from defacedask.errors import ConfigError

if TYPE_CHECKING:
    from defacedask.io.dicom.people import People

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
    masks : tuple of str
        Published masks beside DICOM images: ``seg``, ``nifti``.
    """

    private: str = "keep"
    deidentify: bool = False
    allow_visible: bool = False
    allow_reversible: bool = False
    masks: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        private: str | None = None,
        deidentify: bool = False,
        allow_visible: bool = False,
        allow_reversible: bool = False,
        masks: Iterable[str] = (),
    ) -> ReleaseOptions:
        """Options with their defaults.

        Raises
        ------
        ConfigError
            If ``private`` is neither ``keep`` nor ``drop``, or a mask is neither ``seg`` nor ``nifti``.
        MissingExtraError
            If headers are to be de-identified and dicognito is not installed.
        """
        chosen = private or ("drop" if deidentify else "keep")
        if chosen not in ("keep", "drop"):
            raise ConfigError(f"private elements cannot be {chosen!r}.", "Use keep or drop.")
        if deidentify:
            from defacedask.io.dicom.export.identity import Identity

            Identity(bytes(16), "probe")
        kinds = tuple(sorted({masks} if isinstance(masks, str) else set(masks)))
        if unknown := set(kinds) - {"seg", "nifti"}:
            raise ConfigError(f"a mask cannot be written as {min(unknown)!r}.", "Use seg or nifti.")
        return cls(chosen, deidentify, allow_visible, allow_reversible, kinds)

    @property
    def choice(self) -> dict[str, Any]:
        """JSON-able form, on which what is written depends."""
        return {**dataclasses.asdict(self), "masks": list(self.masks)}

    def naming(self, key: bytes, people: People | None = None) -> dict[str, Any]:
        """Those of `arguments` on which names of files and of the case depend."""
        own = hmac.new(key, b"defacedask identities 1", hashlib.sha256).digest() if self.deidentify else b""
        return {"identity_key": own, **({"people": people} if self.deidentify and people else {})}

    def arguments(self, key: bytes, people: People | None = None) -> dict[str, Any]:
        """Arguments of `defacedask.flow.stages.export.export`."""
        return {
            **self.naming(key, people),
            "private": self.private,
            "allow_visible": self.allow_visible,
            "allow_reversible": self.allow_reversible,
            "masks": list(self.masks),
        }

    def depends(self, defacer: str, key: bytes, people: People | None = None) -> Any:
        """JSON-able form of all that on which what is written depends; of the people only a code under the key.

        What is asked for reversible defacers changes nothing for the others.
        """
        from defacedask.defacers import is_reversible

        choice = {**self.choice, "allow_reversible": self.allow_reversible and is_reversible(defacer)}
        if not self.deidentify:
            return choice
        text = json.dumps(people, sort_keys=True).encode()
        return [choice, hmac.new(key, b"defacedask people 1" + text, hashlib.sha256).hexdigest()]


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


def recognised_reason(what: str) -> tuple[str, str]:
    """Why nothing is written of a defacer behind which people were recognised, and what to do, one sentence each.

    Parameters
    ----------
    what : str
        Clause on who was.
    """
    return (
        f"{what}: no file of it may say that the face is gone.",
        "Use another defacer; --allow-visible writes it nevertheless, and says so.",
    )


def reversible_reason(defacer: str) -> tuple[str, str]:
    """Why nothing of a reversible defacer is written, and what to do, one sentence each."""
    return (
        f"{defacer} only covers the face: the original stays inside what it writes and can be un-masked, so that "
        "this is no de-identified image.",
        "Use another defacer, or --allow-reversible (allow_reversible=True): every file then says so.",
    )
