"""What stands in the pages of the documentation: examples of Python, and lines that call the program."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
#: Pages that people write. README is one of them.
PAGES = [ROOT / "README.md", ROOT / "deploy" / "README.md", *sorted(DOCS.rglob("*.md"))]
#: What a call may begin with: the program, or what starts it.
_STARTERS = {"defacedask", "uv", "uvx", "pipx"}
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)


def blocks(text: str, *languages: str) -> Iterator[str]:
    """Blocks of code of a page in these languages."""
    return (body for language, body in _BLOCK.findall(text) if language in languages)


def command_lines(text: str) -> Iterator[list[str]]:
    """Arguments of each call of the program in the blocks of shell code."""
    for body in blocks(text, "bash", "sh", "console"):
        for line in body.replace("\\\n", " ").splitlines():
            for call in _calls(shlex.split(line, comments=True)):
                if call[0] in _STARTERS and "defacedask" in call:
                    yield call[call.index("defacedask") + 1 :]


def _calls(words: list[str]) -> Iterator[list[str]]:
    """The calls of a line, which stand between ``&&`` and the like."""
    for between, call in itertools.groupby(words, key=lambda word: word in {"&&", "|", ";", ">"}):
        if not between:
            yield list(call)
