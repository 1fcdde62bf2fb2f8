"""``defacedask status``."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("status")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option(
    "--price",
    type=click.FloatRange(min=0),
    default=None,
    help="Of one worker for an hour, in any currency, to tell what cases cost.",
)
def command(out: Path, as_json: bool, price: float | None) -> None:
    """Say how far a run is that writes, or wrote, to a folder; nothing there is touched.

    Example: defacedask status result
    """
    from defacedask.flow.status import status_of

    found = status_of(out)
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=1))
        return
    of = f" of {found.cases}" if found.cases else ""
    click.echo(f"{found.command or 'run'}: {found.state}; results of {found.begun}{of} cases")
    for stage, counts in found.results.items():
        click.echo(f"  {stage}: " + ", ".join(f"{n} {status}" for status, n in sorted(counts.items())))
    if found.last is not None:
        click.echo(f"last result {_ago(found.last)}; {found.lately} in the last ten minutes")
    if found.left is not None:
        click.echo(f"about {_span(found.left)} left, at the rate of the last ten minutes")
    hours = found.hours_a_thousand
    if hours is not None:
        cost = "" if price is None else f", {hours * price:,.2f} at {price:g} an hour"
        click.echo(f"1,000 cases take {hours:,.1f} hours of one worker{cost}")
    for stage, case, seconds in found.running[:10]:
        click.echo(f"  at work: {stage} of {case} for {_span(seconds)}")
    if len(found.running) > 10:
        click.echo(f"  and {len(found.running) - 10} more")


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _ago(seconds: float) -> str:
    return f"{_span(max(seconds, 0.0))} ago"
