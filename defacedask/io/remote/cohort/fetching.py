"""Several series at a time: each tried again where its fault may pass, and ended with an outcome of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from pathlib import Path

from defacedask.errors import DefacedaskError, OutputError, RemoteError, writing
from defacedask.io.remote import room
from defacedask.io.remote.cohort.landing import Landing
from defacedask.io.remote.cohort.model import Asked, Outcome, RemoteSeries, Service, Stopped
from defacedask.io.remote.cohort.usage import page, table, uses_of
from defacedask.io.remote.credentials import TOKEN
from defacedask.patience import patiently
from defacedask.whole_files import write_whole

__all__ = ["PAGE", "TABLE", "fetch_series", "need_room", "record", "service_of", "sort_out", "unlisted"]

log = logging.getLogger(__name__)

#: In the output folder: what one may do with the data, and a row a series.
PAGE, TABLE = "USAGE.md", "series.csv"
#: Series in a row that may fail, a connection, before the service is taken to be down.
_IN_A_ROW = 5


def service_of(asked: Asked, server: str = "") -> Service:
    """The service that has what is asked for.

    Parameters
    ----------
    asked : Asked
    server : str
        Address of an installation of NBIA that the user trusts.

    Raises
    ------
    ConfigError, MissingExtraError
    """
    if asked.service == "idc":
        from defacedask.io.remote.cohort.idc import Idc

        return Idc()
    from defacedask.io.remote.cohort.nbia import Nbia, server_of

    return Nbia(server_of(asked.server, server))


def unlisted(asked: Asked, found: Sequence[RemoteSeries]) -> list[Outcome]:
    """Series that were asked for by their UID, or their folder in a bucket, and that the service does not show."""
    known = {one.uid for one in found} | {one.study_uid for one in found if asked.manifest is None}
    why = f"the service does not list it: it was withdrawn, or is restricted (who has access sets {TOKEN})."
    places = {one.place.rpartition("/")[2] for one in found}
    absent = [RemoteSeries(uid) for uid in asked.uids if uid not in known]
    absent += [RemoteSeries("", place=name) for name in asked.objects if name not in places]
    return [Outcome(one, "unlisted", why) for one in absent]


def sort_out(
    series: Sequence[RemoteSeries], landing: Landing, *, read: bool = False
) -> tuple[list[Outcome], list[RemoteSeries]]:
    """Part series into those that are there already, whole, and those that are not.

    Parameters
    ----------
    series, landing
    read : bool
        See `Landing.whole`.
    """
    here, due = [], []
    for one in series:
        folder = landing.whole(one, read=read)
        if folder:
            here.append(Outcome(one, "here", folder=folder))
        else:
            due.append(one)
    return here, due


def need_room(series: Sequence[RemoteSeries], to: Path, connections: int) -> None:
    """See that a disk has room for some series, and for the largest of them once more a connection.

    Raises
    ------
    OutputError
    """
    sizes = sorted((one.bytes or 0 for one in series), reverse=True)
    room.need_room("the series, while they are fetched,", sum(sizes) + sum(sizes[:connections]), to)


def fetch_series(
    series: Sequence[RemoteSeries], service: Service, landing: Landing, *, connections: int
) -> Generator[Outcome, None, None]:
    """Fetch series into an output folder.

    Parameters
    ----------
    series : sequence of RemoteSeries
    service : Service
    landing : Landing
    connections : int
        Series at a time.

    Yields
    ------
    Outcome
        Of each series, as they end. After some failures in a row that are the service's, the rest is ``left``.

    Raises
    ------
    OutputError
        If nothing more can be written. Whatever ends this early, what is half is taken away.
    """
    stop = threading.Event()
    waiting = iter(series)
    in_a_row = 0
    with ThreadPoolExecutor(connections, thread_name_prefix="fetch") as pool:
        running: set[Future[Outcome]] = set()
        try:
            while True:
                some = islice(waiting, connections * 2 - len(running))
                running |= {pool.submit(_one, one, service, landing, stop.is_set) for one in some}
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    outcome = future.result()
                    in_a_row = in_a_row + 1 if outcome.passing else 0
                    yield outcome
                if in_a_row >= _IN_A_ROW * connections:
                    why = f"{service.name} failed {in_a_row} times in a row: it was not tried any more."
                    yield from (Outcome(one, "left", why) for one in waiting)
        finally:
            stop.set()
            for future in running:
                future.cancel()


def _one(series: RemoteSeries, service: Service, landing: Landing, stopped: Callable[[], bool]) -> Outcome:
    """Fetch one series."""

    def work() -> str:
        if stopped():
            raise Stopped
        with writing(f"series {series.uid}"), landing.aside(series) as folder:
            files = service.get(series, folder, stopped)
            return landing.land(series, folder, files)

    try:
        return Outcome(series, "fetched", folder=patiently(work))
    except OutputError as error:
        if error.fatal:
            raise
        return Outcome(series, "failed", str(error))
    except RemoteError as error:
        return Outcome(series, "failed", str(error), passing=True)
    except DefacedaskError as error:
        return Outcome(series, "failed", str(error))
    except Exception as error:  # of this series alone, whatever it is
        log.exception("series %s", series.uid)
        return Outcome(series, "failed", f"an unexpected {type(error).__name__}: {error}")


def record(landing: Landing, outcomes: Sequence[Outcome], wanted: Sequence[RemoteSeries]) -> None:
    """Write down what one may do with all that is in the folder, and a row a series.

    Parameters
    ----------
    landing : Landing
    outcomes : sequence of Outcome
        Of this run; what landed earlier has notes.
    wanted : sequence of RemoteSeries
        Of this run, whether they are there or not.

    Raises
    ------
    OutputError
    """
    rows = {one.uid: Outcome(one, "here", folder=folder) for one, folder in landing.landed()}
    rows |= {one.series.uid or one.series.place: one for one in outcomes}
    known = {**{uid: row.series for uid, row in rows.items() if row.here}, **{one.uid: one for one in wanted}}
    ordered = sorted(
        rows.values(),
        key=lambda r: (r.series.collection, r.series.patient_id, r.series.study_uid, r.series.uid),
    )
    with writing(f"{PAGE} and {TABLE} in {landing.to}"):
        write_whole(landing.to / PAGE, page(uses_of(known.values()), landing.terms()))
        write_whole(landing.to / TABLE, table(ordered))
