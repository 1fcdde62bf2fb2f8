"""``-v`` and ``--log``: where an error came from, beside the sentence that says what it is."""

from __future__ import annotations

import logging
import os
import traceback
from pathlib import Path
from typing import Any

import click

__all__ = ["NEW_FILE", "performance_option", "show_traceback", "verbose_option"]


class _NewFile(click.Path):
    """A file that can be written: its folder is there, which is seen before hours of work and not after them."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See `click.ParamType`."""
        found = super().convert(value, param, ctx)
        folder = Path(os.fsdecode(found)).absolute().parent
        if not folder.is_dir():
            self.fail(f"there is no folder {folder}.", param, ctx)
        if not os.access(folder, os.W_OK):
            self.fail(f"the folder {folder} cannot be written.", param, ctx)
        return found


#: A file that a command leaves.
NEW_FILE = _NewFile(dir_okay=False, writable=True, path_type=str)


def performance_option(command: Any) -> Any:
    """Add ``--performance-report`` to a command that runs on a cluster."""
    return click.option(
        "--performance-report",
        type=NEW_FILE,
        default=None,
        metavar="FILE",
        help="Dask's own report (HTML) of what ran when and where.",
    )(command)


def verbose_option(command: Any) -> Any:
    """Add ``-v`` and ``--log`` to a command; the command itself gets no argument from them."""
    command = click.option(
        "--log",
        type=click.Path(dir_okay=False),
        expose_value=False,
        callback=_log,
        help="File to add what -v says to.",
    )(command)
    return click.option(
        "-v",
        "--verbose",
        is_flag=True,
        expose_value=False,
        callback=_set,
        help="Say more: where an error came from.",
    )(command)


def _set(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    context.ensure_object(dict)["verbose"] = value
    if value:
        logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
        logging.getLogger("defacedask").setLevel(logging.INFO)


def _log(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if not value:
        return
    context.ensure_object(dict)["log"] = value
    try:
        handler = logging.FileHandler(value, encoding="utf-8")
    except OSError as error:
        raise click.BadParameter(f"{value} cannot be written ({error.strerror}).") from None
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    log = logging.getLogger("defacedask")
    log.addHandler(handler)
    log.setLevel(logging.INFO)


def show_traceback(given: Any, error: BaseException) -> None:
    """Print where an error came from if ``-v`` was given, and log it; ``given`` is the ``obj`` of the context."""
    if given and given.get("log"):
        logging.getLogger("defacedask").error("%s", error, exc_info=error)
    if given and given.get("verbose"):
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
