"""``defacedask verify``."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections import Counter
from pathlib import Path

import click

from defacedask.cli.outputs import OUT
from defacedask.errors import printable
from defacedask.showing import counted

#: Files of one and the same problem that are named, each on a line.
_LINES = 20


@click.command("verify")
@click.argument("out", type=OUT)
@click.option(
    "--key",
    type=click.Path(exists=True, path_type=Path),
    help="Key file of the run: checks the seal, and looks for names and ids. [OUT.work/run.key, OUT/store/run.key]",
)
@click.option(
    "--source",
    multiple=True,
    type=click.Path(exists=True),
    help="Originals: their UIDs and people are looked for.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def command(out: Path | str, key: Path | None, source: tuple[str, ...], as_json: bool) -> None:
    r"""Check a defaced folder against its record: hashes, tags, references, leaks of the source's UIDs and people.

    People's names and ids can be looked for with the key of the run or with the originals. Without both, what was not
    looked for is said. Exit code 1 if anything is wrong; every problem is one line.

    \b
    Example:
      defacedask verify defaced
      defacedask verify defaced --key defaced.work/run.key --source patients/
      defacedask verify defaced --json | python -m json.tool
    """
    from defacedask.io.remote import localise
    from defacedask.io.remote.objects import Objects
    from defacedask.io.remote.publish import manifest_of
    from defacedask.runs.run_key import read_key
    from defacedask.verify import verify
    from defacedask.verify.cases import verify_address

    if isinstance(out, str):
        secret = read_key(key) if key else b""
        if manifest_of(Objects(out)):
            result = verify_address(out, key=secret, source=source)
        else:
            with tempfile.TemporaryDirectory() as folder:
                result = verify(localise([out], folder)[0], key=secret, source=source)
    else:
        key = key or next(filter(Path.is_file, _usual_keys(out)), None)
        result = verify(out, key=read_key(key) if key else b"", source=source)
    if as_json:
        click.echo(json.dumps({"ok": result.ok, **dataclasses.asdict(result)}, indent=1, default=str))
        raise click.exceptions.Exit(0 if result.ok else 1)
    said: Counter[tuple[str, str]] = Counter()
    for problem in result.problems:
        said[kind := (problem.check, problem.what)] += 1
        if said[kind] <= _LINES:
            click.echo(printable(f"{problem.file or out}: {problem.check}: {problem.what}"))
    for (check, what), number in said.items():
        if number > _LINES:
            more = counted(number - _LINES, "more file")
            click.echo(printable(f"{more}: {check}: {what} (--json names each)"))
    kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(result.counts.items())) or "nothing"
    click.echo(
        f"{result.written} instances on record as written ({kinds}), {result.refused} as refused or left out."
    )
    for sentence in result.unseen:
        click.echo(sentence)
    if result.problems:
        click.echo(f"{counted(len(result.problems), 'problem')}.")
        raise click.exceptions.Exit(1)
    click.echo("The folder is what was written, and no UID of the source was found where it should not be.")


def _usual_keys(out: Path) -> list[Path]:
    """Where `deface` and `study` leave the key of a run."""
    whole = out.absolute()
    return [whole.with_name(whole.name + ".work") / "run.key", whole / "store" / "run.key"]
