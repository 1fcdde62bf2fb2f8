"""The site is built without a warning, from the pages and the code, and asks nobody for anything."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from support import page_kit

from defacedask.tables.schemas import SCHEMAS
from tools.docs_site import build, carried, commands

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("docs") / "site"
    build.build(out)
    return out


class Fetched(HTMLParser):
    """Addresses that a browser fetches by itself; links that one may follow are none of them."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "link" and given.get("rel") in {"canonical", "next", "prev", "index", "search", "author"}:
            return
        names = {"a": (), "link": ("href",)}.get(tag, ("src", "srcset", "data", "poster"))
        self.found += [given[name] for name in names if given.get(name)]


def fetched(text):
    parser = Fetched()
    parser.feed(text)
    return [address for address in parser.found if re.match(r"(?:[a-z]+:)?//", address)]


def test_nothing_is_fetched_from_elsewhere(site):
    assert fetched('<script src="https://elsewhere/x.js"></script>')  # it would be seen
    assert fetched('<link rel="stylesheet" href="//elsewhere/x.css">')
    for page in site.rglob("*.html"):
        assert not fetched(page.read_text(encoding="utf-8")), page
    for style in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(?:https?:)?//|@import", style.read_text(encoding="utf-8")), style


def test_every_reader_command_table_and_carried_page_is_there(site):
    for page in page_kit.DOCS.rglob("*.md"):
        assert (site / page.relative_to(page_kit.DOCS).with_suffix(".html")).is_file()
    for place in carried.PAGES.values():
        assert (site / place).with_suffix(".html").is_file()
    shown = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    for name, command, _ in commands.every_command():
        assert name in shown
        for option in command.params:
            assert all(spelling in shown for spelling in option.opts if spelling.startswith("--"))
    tables = (site / "reference" / "tables.html").read_text(encoding="utf-8")
    for name, columns in SCHEMAS.items():
        assert f'id="{name.replace("_", "-")}"' in tables
        assert all(column.name in tables for column in columns)


@pytest.mark.parametrize(
    ("name", "signs"),
    [
        ("python", ["scan", "plan", "deface", "study", "attack", "verify", "report", "Scan", "Case"]),
        ("volumes", ["Geometry", "make_volume", "VolumeAccessor.real"]),
        ("defacers", ["Defacer.propose", "Plan.wanted", "check_defacer", "Head"]),
        ("errors", ["DefacedaskError", "RefusedError", "MissingExtraError"]),
    ],
)
def test_what_is_public_is_described(site, name, signs):
    text = (site / "reference" / f"{name}.html").read_text(encoding="utf-8")
    described = re.findall(r'<dt class="sig sig-object py" id="([^"]+)">', text)
    for sign in signs:
        assert any(one.endswith(f".{sign}") for one in described), sign
    assert text.count("Parameters") > 1 or name == "errors"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Sources of a small site with the same settings, for each fault in the whole would take as long as that."""
    docs = tmp_path_factory.mktemp("small") / "docs"
    docs.mkdir()
    shutil.copy(page_kit.DOCS / "conf.py", docs)
    shutil.copytree(page_kit.DOCS / "_static", docs / "_static")
    (docs / "install.md").write_text("# Install\n", encoding="utf-8")
    good = "# Site\n\n[there](install.md#install)\n\n```{toctree}\ninstall\n```\n"
    (docs / "index.md").write_text(good, encoding="utf-8")
    build.sphinx(docs, docs.parent / "good")  # without a fault it is built
    return docs


@pytest.mark.parametrize(
    "fault", ["[x](nowhere.md)", "[x](install.md#no-such-place)", "```{nothing}\n```", "![x](nowhere.png)"]
)
def test_a_broken_link_stops_it(fault, small, tmp_path):
    docs = shutil.copytree(small, tmp_path / "docs")
    with (docs / "index.md").open("a", encoding="utf-8") as index:
        index.write(f"\n{fault}\n")
    with pytest.raises(subprocess.CalledProcessError):
        build.sphinx(docs, tmp_path / "bad")
