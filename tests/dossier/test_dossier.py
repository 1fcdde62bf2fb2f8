"""The dossier: every figure is the table's, nobody is named, and whatever is changed afterwards is found."""

from __future__ import annotations

import html.parser
import json
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy.stats import beta
from support import small_run
from support.synthetic_run import make_run

import defacedask as dd
from defacedask.cli import program
from defacedask.costs.agreement import RESCAN
from defacedask.dossier import check_dossier, write_dossier
from defacedask.dossier.judge import Judgement, judge
from defacedask.dossier.signing import key_of_run, read_private
from defacedask.errors import ConfigError, InputError
from defacedask.tables.files import read_tables, write_tables

NOTHING = "–"


class Cells(html.parser.HTMLParser):
    """Elements with a figure, and cells with digits that say not where they come from."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.figures: list[dict[str, str]] = []
        self.loose: list[str] = []
        self._open: dict[str, str] | None = None
        self._tag, self._small, self._section, self._kind = "", False, "", ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        facts = dict(attrs)
        if tag == "section":
            self._section = facts["id"]
        if "data-of" in facts:
            self._open = {"of": facts["data-of"], "value": facts["data-value"], "text": "", "small": ""}
            self._tag = tag
            self.figures.append(self._open)
        elif tag == "td":
            self._kind = facts.get("class", "plain") or "plain"
        elif self._open is not None and facts.get("class") == "small":
            self._small = True

    def handle_endtag(self, tag):
        if self._small and tag == "span":
            self._small = False
        elif self._open is not None and tag == self._tag:
            self._open = None
        elif tag == "td":
            self._kind = ""

    def handle_data(self, data):
        if self._open is not None:
            self._open["small" if self._small else "text"] += data
        elif self._kind == "plain" and re.search(r"\d", data):
            self.loose.append(data)


def number(text: str) -> tuple[float, float]:
    """A printed number, and half a unit of its last digit."""
    plain = text.translate(str.maketrans("\u2212", "-", "\u202f\u00a0 "))
    part = 0.01 if plain.endswith("%") else 1.0
    plain = plain.rstrip("%")
    digits = len(plain.partition(".")[2])
    return part * float(plain), part * 0.5 * 10.0**-digits * 1.0001


def looked_up(tables, of):
    """The figure anew, from the CSV files."""
    rows = tables[of["table"]]
    for name, value in of["where"].items():
        if isinstance(value, bool) or not isinstance(value, int):
            rows = rows[rows[name].fillna("").astype(str) == str(value)]
        else:
            rows = rows[rows[name] == value]
    column = rows[of["column"]]
    if of["how"] in ("count", "distinct"):
        return len(column) if of["how"] == "count" else len(set(column.dropna()))
    values = column.dropna().to_numpy(dtype=float)
    if of["how"] == "only":
        assert len(rows) == 1, of
    if "cases" in of:
        return [int(values[0]), int(rows[of["cases"]].iloc[0])] if len(values) else None
    if not len(values):
        return None
    return {"only": values[0], "sum": values.sum(), "min": values.min(), "max": values.max()}.get(
        of["how"], float(np.median(values))
    )


def wrong(page, out):
    """Figures that are not the table's."""
    cells = Cells(page.read_text(encoding="utf-8"))
    named = {json.loads(cell["of"])["table"] for cell in cells.figures} - {"audit"}
    tables = {
        name: pd.read_csv(out / "tables" / f"{name}.csv", keep_default_na=False, na_values=[""])
        for name in named
    }
    if (out / "audit.jsonl").exists():
        lines = [json.loads(line) for line in (out / "audit.jsonl").read_text().splitlines()]
        tables["audit"] = pd.DataFrame(lines)
    found = []
    for cell in cells.figures:
        expected = looked_up(tables, json.loads(cell["of"]))
        told = json.loads(cell["value"]) if cell["value"] else None
        good = expected == told if told is None or isinstance(told, list) else told == pytest.approx(expected)
        if good and isinstance(told, list):
            hits, cases = told
            good = [number(part)[0] for part in cell["text"].split(" of ")] == told and covered(
                cell, hits, cases
            )
        elif good and told is not None:
            shown, half = number(cell["text"])
            good = abs(shown - told) <= half
        elif good:
            good = cell["text"] == NOTHING
        if not good:
            found.append((cell, expected))
    return cells, found


def covered(cell, hits, cases):
    """Clopper and Pearson's interval by the beta distribution, printed no narrower than it is and hardly wider."""
    if not cases:
        return cell["small"] == ""
    if not hits:
        shown, exact = number(cell["small"].removeprefix("below "))[0], 1 - 0.05 ** (1 / cases)
        return exact <= shown + 1e-12 <= exact + 0.011
    low, high = (float(part.rstrip("%\u202f")) / 100 for part in cell["small"].split(" to "))
    exact = (
        beta.ppf(0.025, hits, cases - hits + 1),
        1.0 if hits == cases else beta.ppf(0.975, hits + 1, cases - hits),
    )
    return exact[0] - 0.011 <= low <= exact[0] + 1e-12 and exact[1] <= high + 1e-12 <= exact[1] + 0.011


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    out = tmp_path_factory.mktemp("studied") / "result"
    make_run(out, structures=("Brain",), defacers=("quickshear", "biometric_mask"))
    about = {"defacer": "quickshear", "modality": "CT", "structure": "brain"}
    masks = [
        {"case": case, **about, "measure": measure, "original": 1.0, "defaced": value}
        for case, values in {"a": (0.973, 2.83), "b": (0.9912, 1.0)}.items()
        for measure, value in zip(("dice", "hd95_mm"), values, strict=True)
    ]
    again = [
        {
            **dict.fromkeys(RESCAN, 0.5),
            **about,
            "measure": "x",
            "persons": 3,
            "share": share,
            "icc": 1 - share,
        }
        | {"cases": 2}
        for share in (0.0123, 0.4, 2.05)
    ]
    about = {"defacer": "quickshear", "modality": "CT"}
    skin = [
        {"case": case, **about, "region": region, "points": 900 * known, "moved": 0.1, "kept": kept}
        | {"untouched": 0.5 if region == "ears" else None}
        for region in ("brow_to_chin", "ears")
        for case, known, kept in (("a", True, 0.913), ("b", True, 0.044), ("c", False, None))
    ]
    write_tables(out, {"utility": masks, "rescan": again, "residual_skin": skin})
    return out, write_dossier(out)


@pytest.fixture(scope="module")
def defaced(virtual_patients, tmp_path_factory):
    out = tmp_path_factory.mktemp("defaced") / "out"
    case = min(dd.scan(virtual_patients).cases, key=lambda c: c.patient_id)
    done = dd.deface(case, out, "quickshear", deidentify=True)
    assert done.ok
    return out, write_dossier(done)


def test_every_figure_of_a_study_is_the_tables(studied):
    out, page = studied
    cells, found = wrong(page, out)
    assert found == []
    assert len(cells.figures) > 45
    assert cells.loose == []
    assert sum(cell["text"] != NOTHING for cell in cells.figures) > 35


def test_a_figure_that_is_another_is_found(studied, tmp_path):
    out, page = studied
    rows = read_tables(out)["verification"]
    shutil.copytree(out, tmp_path / "out")
    write_tables(tmp_path / "out", {"verification": rows.assign(auc=rows["auc"] - 0.02)})
    _, found = wrong(page, tmp_path / "out")
    assert found
    assert {json.loads(cell["of"])["column"] for cell, _ in found} == {"auc"}
    typed = tmp_path / "typed.html"
    text = page.read_text(encoding="utf-8")
    typed.write_text(text.replace('">8 of 11<', '">7 of 11<').replace("<td>CT</td>", "<td>97 %</td>"))
    cells, found = wrong(typed, out)
    assert found
    assert cells.loose


@pytest.mark.slow
def test_every_figure_of_defaced_files_is_the_records_and_nobody_is_named(defaced, virtual_patients):
    out, page = defaced
    cells, found = wrong(page, out)
    assert found == []
    assert len(cells.figures) >= 8
    text = page.read_text(encoding="utf-8")
    assert "No attack was tried on these files" in text
    assert text.count('class="found">holds<') == 5
    for case in dd.scan(virtual_patients).cases:
        assert case.patient_id not in text
        assert case.id not in text
    assert page.parent == out.parent  # among the files it would be on no record
    assert dd.verify(out).ok


@pytest.mark.slow
def test_defaced_files_that_were_changed_are_found(defaced, tmp_path):
    out, page = defaced
    assert check_dossier(page, out)[0] == []
    copy = tmp_path / "out"
    shutil.copytree(out, copy)
    file = next(copy.rglob("*.dcm"))
    file.write_bytes(file.read_bytes()[:-1] + b"\1")
    assert check_dossier(page, copy)[0] == ["files that were written are not what they were."]
    again = write_dossier(copy).read_text(encoding="utf-8")
    assert 'class="found">1 problems<' in again
    file.unlink()
    assert "1 files that were written are gone" in check_dossier(page, copy)[0][0]


def test_no_patient_and_no_name_of_a_structure_is_in_the_page(tmp_path):
    rows = small_run.tables("tidy")
    for table in rows.values():
        for row in table:
            for name in ("case", "patient"):
                if name in row:
                    row[name] = row[name].replace("c", "Smithson-")
            if row.get("structure") == "Parotid_L":
                row["structure"] = "Mandible_Smithson"
                row["voxels_changed"] = 7
    out = small_run.write(tmp_path / "out", rows)
    assert "Smithson" in (out / "tables" / "cases.csv").read_text()
    text = write_dossier(out).read_text(encoding="utf-8")
    assert "changed: another structure" in text
    assert "Smithson" not in text
    assert str(tmp_path) not in text


def test_another_validator_is_asked_about_one_file_of_each_kind(tmp_path, monkeypatch):
    lines = [
        {"file": f"{case}/{kind}{k}.dcm", "case": case, "defacer": "d", "modality": kind, "status": status}
        for case in "ab"
        for kind in ("CT", "RTDOSE")
        for k, status in enumerate(("refused", "written", "written"))
    ]
    program = tmp_path / "dciodvfy"
    program.write_text(
        '#!/bin/sh\necho "Warning - x" >&2\ncase "$1" in *a/CT1*) printf "Error - 1\\nError - 2\\n" >&2; esac'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert judge(tmp_path, lines) == Judgement(4, 1, 2)
    assert judge(tmp_path, [line | {"status": "refused"} for line in lines]) is None
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert judge(tmp_path, lines) is None


# --- hash and signature


@pytest.fixture
def small(tmp_path):
    return small_run.write(tmp_path / "result", small_run.tables())


def changed(page):
    text = page.read_text(encoding="utf-8")
    assert "0 of 40" in text
    page.write_text(text.replace("0 of 40", "0 of 90"), encoding="utf-8")


def test_a_page_that_was_changed_is_found(small):
    page = write_dossier(small)
    problems, said = check_dossier(page, small)
    assert problems == []
    assert any("not signed" in line for line in said)
    changed(page)
    assert check_dossier(page, small)[0] == ["The page is not what its hash says."]


def test_a_table_that_was_changed_is_found(small):
    page = write_dossier(small)
    path = small / "tables" / "recognition.csv"
    path.write_text(path.read_text().replace("0.9", "0.8"))
    assert check_dossier(page, small)[0] == ["tables/recognition.csv is not what the dossier was made of."]
    path.unlink()
    assert check_dossier(page, small)[0] == ["tables/recognition.csv is gone."]


def test_a_signature_is_of_one_page_and_one_key(small, tmp_path):
    keys = [key_of_run(bytes([k]) * 32) for k in range(2)]
    page = write_dossier(small, sign=keys[0])
    mine = tmp_path / "mine.pem"
    shutil.copy(page.with_name("dossier.html.pub.pem"), mine)
    problems, said = check_dossier(page, small, mine)
    assert problems == []
    assert any("signed with the key that was given" in line for line in said)
    # whoever changes the page can make its hash anew, but not the signature
    changed(page)
    from defacedask.dossier.signing import beside, seal_page

    signature = beside(page, "sig").read_bytes()
    seal_page(page)
    assert check_dossier(page, None, mine)[0] == ["the page is not signed."]
    beside(page, "sig").write_bytes(signature)
    assert "the signature is not that of this page and key" in check_dossier(page, None, mine)[0][0]
    # nor sign it with another key in the name of the first
    seal_page(page, keys[1])
    assert check_dossier(page)[0] == []
    assert "the signature is not that of this page and key" in check_dossier(page, None, mine)[0][0]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="OpenSSL is not installed")
def test_openssl_makes_the_key_and_checks_the_signature(small, tmp_path):
    key = tmp_path / "key.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True)
    done = CliRunner().invoke(program, ["dossier", str(small), "--sign", str(key)], obj={})
    assert done.exit_code == 0, done.output
    page = small / "report" / "dossier.html"

    def verified():
        command = [
            "openssl",
            "pkeyutl",
            "-verify",
            "-pubin",
            "-inkey",
            f"{page}.pub.pem",
            "-rawin",
            "-in",
            page,
        ]
        return subprocess.run(
            [*command, "-sigfile", f"{page}.sig"], capture_output=True, check=False
        ).returncode

    assert verified() == 0
    command = ["dossier", str(small), "--check", "--public", f"{page}.pub.pem"]
    assert CliRunner().invoke(program, command, obj={}).exit_code == 0
    changed(page)
    assert verified() != 0
    assert CliRunner().invoke(program, command, obj={}).exit_code == 1


def test_what_is_no_key_and_no_folder_is_said(small, tmp_path):
    (tmp_path / "x.pem").write_text("no key")
    with pytest.raises(ConfigError, match="holds no private key"):
        read_private(tmp_path / "x.pem")
    done = CliRunner().invoke(program, ["dossier", str(small), "--sign", "run"], obj={})
    assert isinstance(done.exception, ConfigError)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="neither the tables of a study nor a record"):
        write_dossier(tmp_path / "empty")
    with pytest.raises(InputError, match="there is no dossier"):
        check_dossier(tmp_path / "dossier.html")
