"""``-v``: where an error came from, beside the sentence that says what it is."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Any

import click

__all__ = ["performance_option", "show_traceback", "verbose_option"]


def performance_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--performance-report`` to a command that runs on a cluster."""
    return click.option(
        "--performance-report",
        type=click.Path(dir_okay=False, writable=True),
        default=None,
        metavar="FILE",
        help="Dask's own report (HTML) of what ran when and where.",
    )(command)


def verbose_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``-v`` to a command; the command itself gets no argument from it."""
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


def show_traceback(given: Any, error: BaseException) -> None:
    """Print where an error came from if ``-v`` was given; ``given`` is the ``obj`` of the context."""
    if given and given.get("verbose"):
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
