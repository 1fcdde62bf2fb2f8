"""Calls of the program that the pages show are calls that it takes: commands, options and values."""

from __future__ import annotations

import click
import pytest
from support import page_kit

from defacedask.cli import program
from tools.docs_site import commands

SHOWN = [
    pytest.param(call, id=f"{path.stem}: {' '.join(call)}"[:100])
    for path in page_kit.PAGES
    for call in page_kit.command_lines(path.read_text(encoding="utf-8"))
]
SHOWN += [
    pytest.param(call, id=f"help: {' '.join(call)}"[:100]) for call in page_kit.command_lines(commands.page())
]


def parse(call, monkeypatch):
    """Take a call apart as the program would, and do nothing; files need not be there."""
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, ctx: value)
    context = program.make_context("defacedask", list(call))
    command, names = program, [*context._protected_args, *context.args]
    while isinstance(command, click.Group) and names:
        name, command, names = command.resolve_command(context, names)
        context = command.make_context(name, names, parent=context)
        names = [*context._protected_args, *context.args] if isinstance(command, click.Group) else []


def test_there_are_calls():
    assert len(SHOWN) > 40


@pytest.mark.parametrize("call", SHOWN)
def test_a_call_that_is_shown(call, monkeypatch):
    parse(call, monkeypatch)


@pytest.mark.parametrize(
    "wrong",
    ["deface a --defacer b", "deface a --defacer b --out c --faces", "defacer a", "scan", "list faces"],
)
def test_a_call_that_is_wrong_is_found(wrong, monkeypatch):
    with pytest.raises(click.UsageError):
        parse(wrong.split(), monkeypatch)
