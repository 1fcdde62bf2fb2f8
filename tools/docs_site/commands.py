"""The reference of the command line, from the program's own help."""

from __future__ import annotations

import html
from collections.abc import Iterator

import click

from defacedask.cli import program, with_examples

__all__ = ["every_command", "page"]

#: Characters of a line of code that are seen at once.
WIDTH = 76


def every_command() -> Iterator[tuple[str, click.Command, click.Context]]:
    """Full name, command and context of each command, subcommands after their group."""
    root = click.Context(program, info_name="defacedask", **program.context_settings)
    for name in program.list_commands(root):
        command = program.get_command(root, name)
        if command is not None:
            yield from _below(command, name, root)


def _below(
    command: click.Command, name: str, parent: click.Context
) -> Iterator[tuple[str, click.Command, click.Context]]:
    context = click.Context(with_examples(command), info_name=name, parent=parent)
    yield context.command_path, command, context
    if isinstance(command, click.Group):
        for own in command.list_commands(context):
            inner = command.get_command(context, own)
            if inner is not None:
                yield from _below(inner, own, context)


def page() -> str:
    """Markdown of all commands."""
    parts = [
        "# Commands",
        "This page is made from `defacedask COMMAND --help`. Each command ends with exit code 0 only when it did all "
        "that it promised: [exit codes](../guide/deface.md#exit-codes).",
    ]
    for path, command, context in every_command():
        parts += [f"## {path}", _usage(command, context), *_help(command), _options(command, context)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _help(command: click.Command) -> Iterator[str]:
    for part in (command.help or "").split("\n\n"):
        lines = part.replace("\b\n", "").splitlines()
        if not lines:
            continue
        if lines[0].startswith("Example:"):
            shown = [lines[0].removeprefix("Example:").strip(), *(line.strip() for line in lines[1:])]
            yield "For example:\n\n```bash\n" + "\n".join(map(_folded, filter(None, shown))) + "\n```"
        else:
            yield html.escape(" ".join(lines), quote=False)


def _folded(line: str) -> str:
    """A call on as many lines as it needs, cut before options."""
    first, *options = line.split(" --")
    lines = [first]
    for option in options:
        if len(lines[-1]) + len(option) > WIDTH:
            lines.append(f"    --{option}")
        else:
            lines[-1] += f" --{option}"
    return " \\\n".join(lines)


def _usage(command: click.Command, context: click.Context) -> str:
    words = [context.command_path, *command.collect_usage_pieces(context)]
    return "```text\n" + " ".join(words) + "\n```"


def _options(command: click.Command, context: click.Context) -> str:
    options = [one for one in command.get_params(context) if isinstance(one, click.Option)]
    records = [one.get_help_record(context) for one in options]
    rows = [f"| {_code(names)} | {_text(meaning)} |" for names, meaning in filter(None, records)]
    return "\n".join(["| option | meaning |", "| --- | --- |", *rows]) if rows else ""


def _text(text: str) -> str:
    return html.escape(text, quote=False).replace("|", "&#124;").replace("*", "&#42;")


def _code(text: str) -> str:
    return f"<code>{_text(text)}</code>"
