"""The ``defacedask`` program: one command a file, loaded when it is called."""

from __future__ import annotations

import importlib
import inspect
import sys
from typing import Any

import click

from defacedask.cli.verbose import show_traceback, verbose_option
from defacedask.errors import DefacedaskError

__all__ = ["main", "with_examples"]

#: Commands, and what the list of them says of each: that list imports none of them.
COMMANDS = {
    "scan": "Show patients and series, and what is skipped and why.",
    "deface": "Take the face out: defaced DICOM or NIfTI, and a record.",
    "study": "Compare defacers on your own patients.",
    "demo": "The whole study on virtual patients: needs no data.",
    "phantom": "Write virtual patients as DICOM.",
    "report": "Make the report of a study again from its tables.",
    "attack": "Try to recognise defaced heads, whoever defaced them.",
    "verify": "Check a defaced folder against its record.",
    "dossier": "One signed page for a repository: what was done, tried, found.",
    "template": "Average heads: build one, or show what one is.",
    "status": "Say how far a run is, or how it ended.",
    "list": "Name the defacers, recognisers or attacks that there are.",
    "recogniser": "Fetch face networks that others publish.",
    "fetch": "Get a cohort from TCIA or the Imaging Data Commons.",
}
#: What a second call of the same goes on with.
GO_ON = frozenset({"deface", "study", "demo", "attack", "fetch"})


def with_examples(command: click.Command) -> click.Command:
    """The same command; its help shows examples as they are typed, a line each, also those of its subcommands."""
    if command.help:
        # click wraps a paragraph unless a backspace leads it
        parts = inspect.cleandoc(command.help).replace("\\b\n", "\b\n").split("\n\n")
        for k, part in enumerate(parts):
            if part.startswith("Example: "):
                parts[k] = "\b\n" + " ".join(part.split())
        command.help = "\n\n".join(parts)
    if isinstance(command, click.Group) and not isinstance(command, LazyGroup):
        for own in command.commands.values():
            with_examples(own)
    return command


def with_verbose(command: click.Command) -> click.Command:
    """The same command with ``-v`` and ``--log``, and so its subcommands."""
    if isinstance(command, click.Group):
        for own in command.commands.values():
            with_verbose(own)
    elif not any(option.name == "verbose" for option in command.params):
        verbose_option(command)
    return command


class LazyGroup(click.Group):
    """Imports a command's module only when that command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, in the order in which they are shown."""
        return [*COMMANDS]  # the name `list` is a command's module once that is imported

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import one command."""
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"defacedask.cli.{name}").command
        return with_examples(with_verbose(command))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; where somebody interrupts it, say what that means."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            goes_on = " What was finished stays, and the same command goes on from there."
            click.echo(f"Interrupted.{goes_on if ctx.invoked_subcommand in GO_ON else ''}", err=True)
            ctx.exit(1)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([*COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="defacedask")
def program() -> None:
    """Take the face out of head images at cohort scale, and prove what that hid and what it cost."""
    from defacedask.config import check

    check()


def main(arguments: list[str] | None = None) -> Any:
    """Run the program; an expected error becomes one sentence on standard error and exit code 1."""
    found: dict[str, Any] = {}
    try:
        return program(args=arguments, prog_name="defacedask", standalone_mode=True, obj=found)
    except DefacedaskError as error:
        show_traceback(found, error)
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
