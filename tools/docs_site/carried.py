"""Files beside the documentation that the site carries as pages: README, changes, evidence."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

__all__ = ["PAGES", "pages", "pictures"]

#: Place in the repository -> place in the site.
PAGES = {
    "README.md": "project/readme.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "deploy/README.md": "project/deploy.md",
    "benchmarks/HEADS.md": "project/heads.md",
    "benchmarks/STUDY.md": "project/study.md",
    "benchmarks/JUDGES.md": "project/judges.md",
    "benchmarks/RESULTS.md": "project/results.md",
}
_PICTURES = {"benchmarks/orientations.svg": "project/orientations.svg"}
_IN_SITE = {**PAGES, **_PICTURES, "docs/defacers.png": "defacers.png", "docs/tour.ipynb": "tour.md"}
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def pages(root: Path) -> dict[str, str]:
    """Place of each carried file in the site -> its text, with links that hold there."""
    return {
        place: _LINK.sub(lambda match, name=name: _moved(match, name), _text(root / name))
        for name, place in PAGES.items()
        if (root / name).is_file()
    }


def pictures(root: Path) -> dict[str, Path]:
    """Place of each picture in the site -> its file."""
    return {place: root / name for name, place in _PICTURES.items()}


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _moved(match: re.Match[str], name: str) -> str:
    """The same link from a page of the site; what the site does not carry is named and not linked."""
    picture, words, target, anchor = match.groups()
    if "://" in target:
        return match[0]
    there = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    own = there.removeprefix("docs/") if there.startswith("docs/") and there.endswith(".md") else ""
    if not own and there not in _IN_SITE:
        return words if words.strip("`") == there else f"{words} (`{there}`)"
    to = posixpath.relpath(own or _IN_SITE[there], posixpath.dirname(PAGES[name]))
    return f"{picture}[{words}]({to}{anchor or ''})"
