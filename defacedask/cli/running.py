"""What `study` and `demo` share: a cluster, a progress bar, and a summary at the end."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from defacedask.cli.clusters import HERE, Bar, clients, cluster_options
from defacedask.cli.consoles import table_console
from defacedask.cli.release_options import protect_options
from defacedask.cli.verbose import performance_option
from defacedask.errors import printable

# all else is imported where it is used: `--help` needs none of it
if TYPE_CHECKING:
    from rich.console import Console

    from defacedask.flow.result import TaskResult
    from defacedask.runs.outputs import Output
    from defacedask.runs.study import StudyResult

__all__ = [
    "UndoneLines",
    "arms_of",
    "device_option",
    "finish",
    "retry_option",
    "run_study",
    "service_of",
    "shown_on",
    "study_options",
]

#: Of every command that defaces.
device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default=None,
    help="Where kernels run: cuda is a card of NVIDIA's, auto takes one where a worker has it. [auto]",
)


def _set_retry(context: click.Context, parameter: click.Parameter, value: bool | None) -> None:
    if value is not None:
        import dask.config

        context.with_resource(dask.config.set({"defacedask.cluster.retry-failed": value}))


#: Of every command that goes on where an earlier run stopped; the command itself gets no argument from it.
retry_option = click.option(
    "--retry-failed/--no-retry-failed",
    default=None,
    expose_value=False,
    callback=_set_retry,
    help="Whether what failed in an earlier run with the same --out is tried again. [retry]",
)


class UndoneLines:
    """Lines of stages that were not done; a long reason that many cases share is told once in full."""

    #: Reasons that are remembered; many name a number of their own case.
    MOST = 100

    def __init__(self) -> None:
        self._first: dict[tuple[str, str], str] = {}

    def line(self, result: TaskResult) -> str:
        """What a result came to."""
        who = f"{result.case} by {result.defacer}" if result.defacer else result.case
        first = self._first.get((result.defacer, result.reason))
        if first is not None and first != result.case:
            return f"{who}: {result.status}, for the same reason as {first}"
        self._first[result.defacer, result.reason] = result.case
        if len(self._first) > self.MOST:
            del self._first[next(iter(self._first))]
        return f"{who}: {result.status}: {result.reason}"


def shown_on(bar: Bar) -> Callable[[int, int, TaskResult | None], None]:
    """What tells a bar of each result, and writes a line above it for each stage that was not done."""
    from defacedask.flow.result import DONE

    undone = UndoneLines()

    def show(finished: int, total: int, result: TaskResult | None) -> None:
        bar.update(finished, total)
        if result is not None and result.status != DONE and not result.upstream:
            bar.console.print(printable(undone.line(result)), markup=False, soft_wrap=True)

    return show


def study_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that `study` and `demo` both take."""
    options: list[Callable[..., Any]] = [
        click.option(
            "--defacers",
            default="all",
            show_default=True,
            help="Names with commas, or all; with options: 'quickshear:form=published,carina'.",
        ),
        click.option(
            "--arm",
            "arms",
            multiple=True,
            metavar="NAME=FOLDER|COMMAND",
            help="Somebody else's defacer, judged like ours: NAME=FOLDER of heads defaced already, or NAME='command "
            "{input} {output}' (NIfTI files; {input_dir} {output_dir}: the case's own files), run once a case.",
        ),
        click.option(
            "--recogniser",
            default=None,
            help="Names with commas: face_recognition, mobilefacenet, faceres, ...: `defacedask list recognisers`.",
        ),
        click.option(
            "--attacks",
            default=None,
            help="basic, default, all, or names with commas: `defacedask list attacks`. [default]",
        ),
        click.option(
            "--allow-upload",
            is_flag=True,
            help="Let a recogniser that is a service (azure) have rendered pictures of the patients' faces.",
        ),
        click.option(
            "--gallery",
            default=None,
            help="Compare with: originals, second-scan, or a folder of photographs (PatientID.jpg). [originals]",
        ),
        click.option(
            "--forced-matrix",
            type=click.IntRange(min=0),
            default=None,
            help="Persons, drawn at random, whose landmarks are put on each other's defaced heads. [0]",
        ),
        click.option(
            "--feature-classes",
            default=None,
            help="More of pyradiomics' features, such as glcm,shape; the study's ten always come.",
        ),
        click.option(
            "--tolerance",
            default=None,
            help="Distance that still is a match: face_recognition's [0.3], or NAME=NUMBER of another, with commas.",
        ),
        cluster_options,
        device_option,
        click.option("--pictures/--no-pictures", default=None, help="Keep pictures of heads in the report."),
        performance_option,
        retry_option,
    ]
    command = protect_options(command)
    for add in reversed(options):
        command = add(command)
    return command


def arms_of(given: Iterable[str], cluster: str) -> dict[str, Any]:
    """Arms that were asked for; where workers run on this machine their programs must be here."""
    from defacedask.runs.arms import programs_here, read_arms

    arms = read_arms(given)
    if cluster in ("local", HERE):
        programs_here(arms)
    return arms


def service_of(recogniser: str | None, cluster: str) -> None:
    """Refuse a service that the workers of this machine could not reach; others may have what this one lacks."""
    from defacedask.config import option
    from defacedask.faces.recognition import split_names

    names = split_names(recogniser or option("recognition.recogniser"))
    if cluster in ("local", HERE) and any(name.partition(":")[0] == "azure" for name in names):
        from defacedask.faces.recognition.azure import service

        service()


def run_study(
    cases: Any,
    out: Path,
    *,
    cluster: str,
    workers: int | None,
    device: str | None = None,
    reference: str | None = None,
    sample: bool = False,
    performance_report: str | None = None,
    output: Output | None = None,
    **options: Any,
) -> StudyResult:
    """Run a study with a progress bar on a cluster; options as in `defacedask.runs.study.study`.

    With ``sample`` one patient is written after it, see `defacedask.runs.sample`. ``output`` is held.
    """
    from rich.console import Console

    from defacedask.devices import chosen_device
    from defacedask.flow.executors import device_for
    from defacedask.runs.face_settings import upload_warning
    from defacedask.runs.sample import write_sample
    from defacedask.runs.study import prepare, run

    console = Console(stderr=True)
    # where all is done in this process, it must have the card itself
    device = device_for(device, None) if cluster == HERE else chosen_device(device)
    if options.get("allow_upload"):
        service_of(options.get("recogniser"), cluster)
    prepared = prepare(cases, out, device=device, **options)
    leaving = upload_warning(prepared.settings.faces)
    if leaving:
        console.print(leaving, style="bold", markup=False, soft_wrap=True, highlight=False)

    said: list[str] = []

    def opened(client: Any) -> None:
        if client.dashboard_link:
            console.print(f"Dask dashboard: {client.dashboard_link}", highlight=False)

    with (
        clients(cluster, workers, device, report=performance_report, told=opened) as client,
        Bar(console, "tasks") as bar,
    ):

        def write_one(tables: MutableMapping[str, Any]) -> None:
            bar.console.print("writing the defaced DICOM of one patient")
            write_sample(prepared, tables)

        later = write_one if sample else None
        result = run(
            prepared,
            client=client,
            progress=shown_on(bar),
            reference=reference,
            before_report=later,
            output=output,
            say=said.append,
        )
    for line in said:
        click.echo(line)
    return result


def finish(result: StudyResult, key: bytes | None = None) -> None:
    """Print the summary: what the run is worth first, as on the page.

    With the run's ``key`` what was written is checked against its record, too. Exit code 1 if a case was refused or
    failed, a file of the input is damaged, or a check failed.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from defacedask.faces.rates import upper_bound
    from defacedask.report.run import MOST_LINES, read_run
    from defacedask.report.sections.decision import withheld_lines
    from defacedask.report.sections.harm import touched_lines
    from defacedask.report.sections.threshold import threshold_words
    from defacedask.report.sections.verdict import headline

    console = table_console()
    seen = read_run(result.out)
    worth = headline(seen)
    console.print(worth.first, style="bold", markup=False, soft_wrap=True, highlight=False)
    for line in filter(None, [worth.about, *worth.more]):
        console.print(f"  {line}", markup=False, soft_wrap=True, highlight=False)
    faces = result.tables["faces_detected"]
    words = ("defacer", "modality")
    several = faces["recogniser"].nunique() > 1
    # a table each, for a recogniser's name and its threshold need a line of a narrow terminal of their own
    for name, part in faces.groupby("recogniser", sort=False):
        # the page's threshold, and any attack: as in the first line
        who = f", by {name}" if several else ""
        within = threshold_words(seen, str(name))
        title = f"Faces after defacing{who}; matched: within {within} by any attack"
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)  # 80 columns
        for head in (*words, "cases", "faces\ndetected", "judged", "matched", "95 % upper\nbound"):
            least = 14 if head == "defacer" else None  # the built-in names on one line
            table.add_column(
                head, justify="left" if head in words else "right", overflow="fold", min_width=least
            )
        for row in part.itertuples():
            matched = row.matches_any_attack
            bound = f"{100 * upper_bound(matched, row.judged):.1f} %" if row.judged else ""
            texts = [getattr(row, word) for word in words]
            numbers = (row.cases, row.faces_detected, row.judged, matched if row.judged else "not judged")
            table.add_row(*texts, *map(str, numbers), bound)
        console.print(table)
    counts = seen.cases.statuses
    console.print("cases: " + ", ".join(f"{n} {status}" for status, n in counts.most_common()))
    undone = _undone(result)
    for row in itertools.islice(undone, MOST_LINES):
        console.print(f"  {row.case}: {row.status}: {row.reason}", markup=False, soft_wrap=True)
    if more := sum(1 for _ in undone):
        console.print(f"  and {more} more: {result.out / 'tables' / 'cases.parquet'}", soft_wrap=True)
    damaged = _damaged(result)
    for row in damaged[:MOST_LINES]:
        line = printable(f"damaged: {row.path}: {row.reason}")
        console.print(line, style="red", markup=False, soft_wrap=True)
    if len(damaged) > MOST_LINES:
        more_lines = f"and {len(damaged) - MOST_LINES} more: {result.out / 'tables' / 'skipped.parquet'}"
        console.print(f"  {more_lines}", soft_wrap=True)
    for line in [*withheld_lines(seen), *touched_lines(seen)]:
        console.print(line, style="bold red", markup=False, soft_wrap=True, highlight=False)
    console.print(f"report: {result.report}", soft_wrap=True, highlight=False)
    verified = key is None or _verified(result, key, console)
    if any(n for status, n in counts.items() if status != "done") or damaged or not verified:
        raise click.exceptions.Exit(1)


def _undone(result: StudyResult) -> Iterator[Any]:
    """Rows of cases that are not done."""
    from defacedask.tables.batches import batches

    for cases in batches(result.tables, "cases", ["case", "status", "reason"]):
        yield from cases[cases["status"] != "done"].itertuples()


def _damaged(result: StudyResult) -> list[Any]:
    """Rows of what of the input is cut off, spoiled or cannot be opened."""
    skipped = result.tables.get("skipped")
    if skipped is None or "damaged" not in skipped.columns:
        return []
    return list(skipped[skipped["damaged"].fillna(False).astype(bool)].itertuples())


def _verified(result: StudyResult, key: bytes, console: Console) -> bool:
    """Check what was written against its record, and say what it is."""
    from defacedask.tables.batches import batches
    from defacedask.verify import verify

    written: Counter[str] = Counter()
    for rows in batches(result.tables, "exports", ["defacer", "status"]):
        written.update(rows.loc[rows["status"] == "done", "defacer"])
    if not written:
        console.print("No defaced DICOM was written: no defacer may be published by what the study found.")
        return True
    found = verify(result.out, key=key)
    for problem in found.problems:
        text = f"{problem.file or result.out}: {problem.check}: {problem.what}"
        console.print(text, style="bold red", markup=False, soft_wrap=True)
    cases = sum(len(rows) for rows in batches(result.tables, "cases", ["case"]))
    who = "; ".join(f"{name}: {count} of {cases} cases" for name, count in sorted(written.items()))
    state = "verified" if found.ok else f"{len(found.problems)} problems"
    console.print(
        f"defaced DICOM: {result.out / 'defaced'} ({who}; {found.written} instances, {state}); "
        f"record: {result.out / 'audit.jsonl'}",
        markup=False,
        soft_wrap=True,
        highlight=False,
    )
    return found.ok
