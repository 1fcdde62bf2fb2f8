"""Output folders on the command line: a path, or an address where a command can write to one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

__all__ = ["FOLDER", "OUT"]


class _Out(click.ParamType):
    """A folder (`Path`) or an address (text): as a path, an address would lose one of its slashes."""

    name = "path"

    def __init__(self, addresses: bool) -> None:
        self.addresses = addresses

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | str:
        """See `click.ParamType`."""
        from defacedask.io.remote import is_remote

        if isinstance(value, str) and not value.strip():
            # as a path it would be the current folder
            self.fail("it is empty. Name a folder.", param, ctx)
        if isinstance(value, Path) or not is_remote(value):
            return Path(value)
        if not self.addresses:
            self.fail(f"{value} is an address. Name a folder of this machine.", param, ctx)
        return str(value)


#: A folder, or an address that takes one.
OUT = _Out(True)
#: A folder of this machine.
FOLDER = _Out(False)
