"""What the user chose about the files that leave: private elements, headers, faces that are still visible."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any

from defacedask.errors import ConfigError

if TYPE_CHECKING:
    from defacedask.dicom.people import People

__all__ = ["ReleaseOptions"]


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
    """

    private: str = "keep"
    deidentify: bool = False
    allow_visible: bool = False

    @classmethod
    def of(
        cls, private: str | None = None, deidentify: bool = False, allow_visible: bool = False
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
        return cls(chosen, deidentify, allow_visible)

    @property
    def choice(self) -> dict[str, Any]:
        """JSON-able form, on which what is written depends."""
        return dataclasses.asdict(self)

    def naming(self, key: bytes, people: People | None = None) -> dict[str, Any]:
        """Those of `arguments` on which names of files and of the case depend."""
        own = hmac.new(key, b"defacedask identities 1", hashlib.sha256).digest() if self.deidentify else b""
        return {"identity_key": own, **({"people": people} if self.deidentify and people else {})}

    def arguments(self, key: bytes, people: People | None = None) -> dict[str, Any]:
        """Arguments of `defacedask.stages.export.export`."""
        return {**self.naming(key, people), "private": self.private, "allow_visible": self.allow_visible}

    def depends(self, key: bytes, people: People | None = None) -> Any:
        """JSON-able form of all that on which what is written depends; of the people only a code under the key."""
        if not self.deidentify:
            return self.choice
        text = json.dumps(people, sort_keys=True).encode()
        return [self.choice, hmac.new(key, b"defacedask people 1" + text, hashlib.sha256).hexdigest()]
