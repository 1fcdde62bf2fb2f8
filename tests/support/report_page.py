"""A report read as a browser would: its tables, its identifiers, and what it would load."""

from __future__ import annotations

import re
from html.parser import HTMLParser


class Page(HTMLParser):
    """Text of the tables, attributes that would load something, and whether tags are balanced."""

    VOID = frozenset(("meta", "input", "img", "br", "link", "path", "use", "rect", "circle", "line"))

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.html = html
        self.open: list[str] = []
        self.ids: list[str] = []
        self.loads: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self._table: list[list[str]] | None = None
        self.feed(html)
        self.close()
        assert self.open == [], f"left open: {self.open}"

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_starttag(self, tag, attributes):
        facts = dict(attributes)
        if "id" in facts:
            self.ids.append(facts["id"])
        for name in ("src", "href", "xlink:href", "srcset", "action", "data"):
            if facts.get(name):
                self.loads.append(facts[name])
        if tag == "table":
            self._table = self.tables.setdefault(facts["id"], [])
        if tag == "tr" and self._table is not None:
            self._table.append([])
        if tag in ("td", "th") and self._table is not None:
            self._table[-1].append("")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.VOID:
            return
        assert self.open[-1:] == [tag], f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()
        if tag == "table":
            self._table = None

    def handle_data(self, data):
        if self._table and self._table[-1] and self.open[-1] in ("td", "th", "span", "button"):
            self._table[-1][-1] += (" " if self.open[-1] == "span" else "") + data.strip()

    def rows(self, table: str) -> dict[str, list[str]]:
        """First cell -> row."""
        return {row[0].split(" ")[0]: row for row in self.tables[table][1:]}

    @property
    def first_line(self) -> str:
        return re.search(r'<h1 id="first-line">(.*?)</h1>', self.html, re.DOTALL)[1].replace("\u00a0", " ")
