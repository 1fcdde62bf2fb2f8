"""The secret of a run: noise and the new UIDs are drawn from it, so that who holds it can repeat them."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path

from defacedask.errors import ConfigError
from defacedask.io.store import writing

__all__ = ["key_of_seed", "read_key"]


def key_of_seed(seed: int) -> bytes:
    """Key of a run that must be repeatable by anybody who knows a number."""
    return hashlib.sha256(f"defacedask seed {seed}".encode()).digest()


def read_key(path: Path) -> bytes:
    """Key of a run: that of the file, or a new one that is kept there for its owner alone.

    Raises
    ------
    ConfigError
        If the file holds no key.
    """
    if path.exists():
        try:
            key = bytes.fromhex(path.read_text(encoding="ascii").strip())
        except (OSError, ValueError):
            key = b""
        if len(key) < 16:
            raise ConfigError(
                f"{path} holds no key.", "It must be one line of at least 32 hexadecimal digits."
            )
        return key
    key = secrets.token_bytes(32)
    with writing(f"the key {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(key.hex() + "\n", encoding="ascii")
    return key
