"""The ``defacedask`` program: one command a file, loaded when it is called."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from typing import Any

import click

from defacedask.cli.verbose import show_traceback
from defacedask.errors import DefacedaskError

__all__ = ["main", "with_examples"]

COMMANDS = (
    "scan",
    "deface",
    "study",
    "demo",
    "phantom",
    "report",
    "attack",
    "verify",
    "template",
    "status",
    "list",
)


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


class LazyGroup(click.Group):
    """Imports a command's module only when that command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands whose module is there."""
        return [name for name in COMMANDS if importlib.util.find_spec(f"defacedask.cli.{name}")]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import one command."""
        if name not in self.list_commands(ctx):
            return None
        command: click.Command = importlib.import_module(f"defacedask.cli.{name}").command
        return with_examples(command)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="defacedask")
def program() -> None:
    """Take the face out of head images at cohort scale, and prove what that hid and what it cost."""


def main(arguments: list[str] | None = None) -> Any:
    """Run the program; an expected error becomes one sentence on standard error and exit code 1."""
    found: dict[str, Any] = {}
    try:
        return program(args=arguments, prog_name="defacedask", standalone_mode=True, obj=found)
    except DefacedaskError as error:
        show_traceback(found, error)
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
