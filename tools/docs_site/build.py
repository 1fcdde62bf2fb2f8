"""Build the site with Sphinx; a broken link, or a docstring that is no good text, stops it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.docs_site import api, carried, choices, commands, tables, tour

__all__ = ["ROOT", "build", "made_pages", "sphinx"]

ROOT = Path(__file__).resolve().parents[2]


def made_pages(root: Path) -> dict[str, str]:
    """Place of each page in the site that is made, not written -> its Markdown."""
    return {
        "tour.md": tour.page(root / "docs" / "tour.ipynb"),
        "reference/commands.md": commands.page(),
        "reference/tables.md": tables.page(),
        "reference/choices.md": choices.page(),
        "reference/configuration.md": choices.configuration(),
        **api.pages(),
        **carried.pages(root),
    }


def build(out: Path, root: Path = ROOT) -> None:
    """Build the site.

    Parameters
    ----------
    out : Path
        Folder for the site; ``index.html`` is its first page.
    root : Path
        Repository.

    Raises
    ------
    subprocess.CalledProcessError
        If Sphinx warns of anything. What it warns of stands on standard error.
    """
    with tempfile.TemporaryDirectory() as place:
        source = Path(place) / "docs"
        shutil.copytree(root / "docs", source)
        for name, text in made_pages(root).items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_text(text, encoding="utf-8")
        for name, picture in carried.pictures(root).items():
            shutil.copyfile(picture, source / name)
        sphinx(source, out)


def sphinx(source: Path, out: Path) -> None:
    """Run Sphinx on a folder of pages; errors as in `build`."""
    with tempfile.TemporaryDirectory() as trees:
        words = ["-q", "-W", "--keep-going", "-b", "html", "-d", trees, str(source), str(out)]
        # in a process of its own: Sphinx and its extensions change much that is global
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        subprocess.run(
            [sys.executable, "-m", "sphinx", *words], check=True, env={**os.environ, "PYTHONPATH": path}
        )
