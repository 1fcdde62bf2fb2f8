"""``defacedask fetch``: a cohort from a public archive."""

from __future__ import annotations

import contextlib
import hashlib
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from defacedask.cli.outputs import FOLDER
from defacedask.errors import ConfigError, InputError, OutputError

if TYPE_CHECKING:
    from defacedask.io.remote.cohort.model import Asked, Outcome, RemoteSeries, Service

__all__ = ["command"]

#: Seconds between lines that say how far it is.
_BETWEEN = 10.0
#: Series that failed and are named on the screen; all of them are in the table.
_NAMED = 20


@click.command("fetch")
@click.argument("source", metavar="MANIFEST|idc:COLLECTION")
@click.option(
    "--to", type=FOLDER, required=True, help="Folder for the series; one that is there is completed."
)
@click.option("--dry-run", is_flag=True, help="Say what would be fetched, how large it is and its licence.")
@click.option("--accept", is_flag=True, help="The licence is known and accepted: do not ask.")
@click.option("--modality", default="", help="Only these, with commas, such as CT,RTSTRUCT,RTDOSE.")
@click.option("--patients", type=click.IntRange(min=1), default=None, help="Only the first so many patients.")
@click.option("--server", default="", help="Address of another NBIA than the manifest's, which you trust.")
@click.option(
    "--connections",
    type=click.IntRange(1, 32),
    default=None,
    help="Series at a time; NBIA 4, IDC 16 by default.",
)
@click.option("--check", is_flag=True, help="Read again what is there already, and compare its MD5.")
def command(
    source: str,
    to: Path,
    dry_run: bool,
    accept: bool,
    modality: str,
    patients: int | None,
    server: str,
    connections: int | None,
    check: bool,
) -> None:
    r"""Get a cohort from The Cancer Imaging Archive (NBIA) or the Imaging Data Commons.

    MANIFEST is a .tcia manifest or a text file of Series Instance UIDs, for NBIA, or an .s5cmd manifest of IDC.
    idc: takes a collection, an analysis result, a series or study UID, or such a file.

    Licence, citation and terms are said before anything is fetched, and kept in USAGE.md and series.csv. A licence
    that asks for more than attribution is to be accepted. A series lands whole and compared with the MD5 of the
    service, or not at all; the same command again fetches what is missing. Exit code 1 if anything is missing. A
    token for restricted data is taken from DEFACEDASK_REMOTE_TOKEN.

    \b
    Example:
      defacedask fetch manifest.tcia --to cohort --dry-run
      defacedask fetch idc:upenn_gbm --to cohort --patients 5
    """
    from defacedask.flow.lock import only_run
    from defacedask.io.remote.cohort.asked import read_asked
    from defacedask.io.remote.cohort.fetching import (
        fetch_series,
        need_room,
        record,
        service_of,
        sort_out,
        unlisted,
    )
    from defacedask.io.remote.cohort.landing import Landing

    asked = read_asked(source)
    if server and asked.service != "nbia":
        raise ConfigError("--server is for NBIA, and this is asked of IDC.", "Leave it out.")
    service = service_of(asked, server)
    found = service.look_up(asked)
    absent = unlisted(asked, found)
    wanted = _chosen(found, modality, patients)
    if not wanted:
        raise InputError(_none(service, absent, found), absent[0].reason if absent else "")
    at_once = connections or service.connections
    landing = Landing(to, service.terms)
    here, due = sort_out(wanted, landing, read=check)
    _say_first(service, wanted, absent, here, due)
    if dry_run:
        try:
            need_room(due, to, at_once)
        except OutputError as error:
            click.echo(f"Note: {error.message}")
        click.echo("Nothing was fetched: this was a dry run.")
        sys.exit(1 if absent else 0)
    need_room(due, to, at_once)
    _accepted(due, accept)
    landing.make()
    with only_run(landing.state, command="fetch"):
        landing.begin()
        ended = [*here, *absent]
        record(landing, ended, wanted)
        _keep_manifest(asked, to)
        try:
            with contextlib.closing(fetch_series(due, service, landing, connections=at_once)) as outcomes:
                for outcome in _followed(outcomes, due):
                    ended.append(outcome)
        finally:
            record(landing, ended, wanted)
    _say_last(ended, to)


def _chosen(found: list[RemoteSeries], modality: str, patients: int | None) -> list[RemoteSeries]:
    kinds = {name.strip().upper() for name in modality.split(",") if name.strip()}
    chosen = [one for one in found if not kinds or one.modality.upper() in kinds]
    if patients is None:
        return chosen
    first = sorted({(one.collection, one.patient_id) for one in chosen})[:patients]
    return [one for one in chosen if (one.collection, one.patient_id) in set(first)]


def _none(service: Service, absent: list[Outcome], found: list[RemoteSeries]) -> str:
    if found:
        return "none of the series is of that modality."
    return (
        f"{service.name} shows none of the {len(absent)} series."
        if absent
        else f"{service.name} shows no series."
    )


def _say_first(
    service: Service,
    wanted: list[RemoteSeries],
    absent: list[Outcome],
    here: list[Outcome],
    due: list[RemoteSeries],
) -> None:
    """What there is and what one may do with it, before anything is fetched."""
    from defacedask.io.remote.cohort.usage import said, uses_of
    from defacedask.showing import sized

    patients = len({(one.collection, one.patient_id) for one in wanted})
    total = sized(sum(one.bytes or 0 for one in wanted))
    persons = f"{patients} patient{'s' if patients != 1 else ''}"
    click.echo(f"{service.name}: {len(wanted)} series of {persons}, {total}")
    for line in said(uses_of(wanted), service.terms):
        click.echo(line)
    if absent:
        first = absent[0].series.uid or absent[0].series.place
        click.echo(f"{len(absent)} series are not listed there (the first: {first}).", err=True)
    if here:
        click.echo(f"{len(here)} series are here already, whole.")
    click.echo(f"{len(due)} series to fetch, {sized(sum(one.bytes or 0 for one in due))}.")


def _accepted(due: list[RemoteSeries], accept: bool) -> None:
    """Ask where a licence asks for more than attribution."""
    from defacedask.io.remote.cohort.usage import asks_more

    more = sorted(
        {one.licence or "a licence that the service does not tell" for one in due if asks_more(one.licence)}
    )
    if accept or not more:
        return
    if not sys.stdin.isatty():
        raise ConfigError(
            f"these data come under {', '.join(more)}, and nobody is here to be asked whether that is accepted.",
            "Say so with --accept.",
        )
    click.confirm(f"Is {', '.join(more)} acceptable for what you do?", abort=True)


def _keep_manifest(asked: Asked, to: Path) -> None:
    """A copy of a list of series, which `scan` takes as input, beside the data."""
    from defacedask.errors import writing
    from defacedask.io.remote.cohort.fetching import PAGE, TABLE
    from defacedask.whole_files import write_whole

    if asked.manifest is None or not asked.uids or asked.manifest.resolve().parent == to.resolve():
        return
    with writing(f"the copy of {asked.manifest}"):
        content = asked.manifest.read_bytes()
        place = to / asked.manifest.name
        if place.name in (PAGE, TABLE) or (place.exists() and place.read_bytes() != content):
            place = to / f"{place.stem}-{hashlib.sha256(content).hexdigest()[:8]}{place.suffix}"
        write_whole(place, content)


def _followed(outcomes: Iterable[Outcome], due: list[RemoteSeries]) -> Iterable[Outcome]:
    """The same outcomes; lines say how far it is, and what failed as it fails."""
    from defacedask.showing import sized

    last, got, failed = time.monotonic(), 0, 0
    total = sized(sum(one.bytes or 0 for one in due))
    for count, outcome in enumerate(outcomes, 1):
        yield outcome
        if outcome.here:
            got += outcome.series.bytes or 0
        else:
            failed += 1
            if failed <= _NAMED:
                click.echo(f"Not fetched: {outcome.series.uid}: {outcome.reason}", err=True)
        if time.monotonic() - last >= _BETWEEN:
            last = time.monotonic()
            click.echo(f"{count} of {len(due)} series, {sized(got)} of {total}, {failed} failed", err=True)


def _say_last(ended: list[Outcome], to: Path) -> None:
    from defacedask.io.remote.cohort.fetching import PAGE, TABLE

    missing = [one for one in ended if not one.here]
    fetched = sum(one.status == "fetched" for one in ended)
    click.echo(
        f"{fetched} series fetched, {len(ended) - fetched - len(missing)} were here, {len(missing)} missing."
    )
    click.echo(f"Licences and terms: {to / PAGE}; a row a series: {to / TABLE}")
    if missing:
        click.echo("The same command again tries what is missing.", err=True)
        sys.exit(1)
    click.echo(f"Look at it: defacedask scan {to}")
