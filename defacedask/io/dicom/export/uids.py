"""One map from the source's UIDs to new ones, for a whole cohort: keyed, so that only who holds the key can undo it.

A new UID is ``2.25.`` and a UUID as a decimal number (PS3.5 B.2, X.667): 122 bits of HMAC-SHA256 over the old one
under the run's key, in the layout of a version 8 UUID (RFC 9562). Nothing is stored: the same key gives the same
map today and next year, in whatever order files come.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import uuid

from defacedask.errors import ConfigError

__all__ = ["ROOT", "UID_TOKEN", "UidMap"]

#: What every UID made here starts with.
ROOT = "2.25."
#: Something that reads like a UID of an instance, in text or bytes.
UID_TOKEN = re.compile(rb"(?<![0-9])(?<![0-9]\.)[0-2](?:\.(?:0|[1-9][0-9]*)){2,}(?![0-9])")


class UidMap:
    """Old UID to new UID.

    Parameters
    ----------
    key : bytes
        Secret of the run, at least 16 bytes. It enters no output.

    Raises
    ------
    ConfigError
        If the key is too short to be a secret.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < 16:
            raise ConfigError("the key of the UID map must have at least 16 bytes.", "Use 32 random bytes.")
        self._key = hmac.new(key, b"defacedask uid map 1", hashlib.sha256).digest()
        self._known: dict[str, str] = {}

    def __call__(self, uid: str) -> str:
        """New UID of ``uid``; always the same, at most 44 characters."""
        uid = str(uid).strip(" \0")
        new = self._known.get(uid)
        if new is None:
            digest = hmac.new(self._key, uid.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
            number = int.from_bytes(digest[:16], "big")
            number = number & ~(0xF << 76) | (8 << 76)  # version 8: free form
            number = number & ~(0x3 << 62) | (0x2 << 62)  # variant of RFC 9562
            new = self._known[uid] = f"{ROOT}{uuid.UUID(int=number).int}"
        return new

    def same_length(self, token: bytes) -> bytes:
        """New UID cut or filled with zeros to the length of the old one, for places that cannot grow."""
        return self(token.decode("ascii")).encode("ascii")[: len(token)].ljust(len(token), b"0")
