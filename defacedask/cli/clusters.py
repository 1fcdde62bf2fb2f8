"""What every command that runs on a cluster shares: which one, how many workers, and a bar of what has finished."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from distributed import Client
    from rich.console import Console

__all__ = ["HERE", "Bar", "clients", "cluster_options"]

#: This process alone.
HERE = "here"


def _known(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Refuse a cluster that cannot be had before anything is made."""
    if value not in ("local", HERE):
        from defacedask.cluster import check_cluster

        check_cluster(value)
    return value


def cluster_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--cluster`` and ``--workers``."""
    workers = click.option(
        "--workers", type=click.IntRange(min=1), default=None, help="Worker processes [one a core]."
    )
    cluster = click.option(
        "--cluster",
        default="local",
        show_default=True,
        callback=_known,
        help="local, here (this process alone), tcp://HOST:PORT, tls://HOST:PORT, kubernetes, slurm.",
    )
    return cluster(workers(command))


@contextlib.contextmanager
def clients(
    cluster: str,
    workers: int | None,
    device: str = "cpu",
    *,
    report: str | None = None,
    told: Callable[[Client], None] = lambda client: None,
) -> Iterator[Callable[[], Client] | None]:
    """What opens a client when the first task must run; None for this process alone.

    A run that finds everything done starts no cluster. Arguments and errors as in `defacedask.cluster.connect_later`.
    """
    if cluster == HERE:
        yield None
        return
    from defacedask.cluster import connect_later

    with connect_later(cluster, workers, device, report=report, told=told) as opening:
        yield opening


class Bar:
    """A bar of tasks that have finished. It is shown from the first of them on: an error before that stands alone.

    Parameters
    ----------
    console : rich.console.Console
    what : str
        That are counted.
    """

    def __init__(self, console: Console, what: str) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console)
        self._task = self._progress.add_task(what, total=None)
        self._shown = False
        self.console = console

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._progress.stop()

    def update(self, finished: int, total: int) -> None:
        """Show how far it is."""
        if not self._shown:
            self._shown = True
            self._progress.start()
        self._progress.update(self._task, completed=finished, total=total)
