"""The page of a large run: six defacers, eight attacks, two recognisers, two images."""

from __future__ import annotations

import pytest
from support.report_page import Page
from support.synthetic_run import MANY_ATTACKS, MANY_DEFACERS, MANY_RECOGNISERS, make_run

from defacedask.report import write_report
from defacedask.tables.files import read_tables

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    make_run(
        folder,
        n=12,
        structures=("Brain",),
        modalities=("CT", "MR"),
        defacers=MANY_DEFACERS,
        attacks=MANY_ATTACKS,
        recognisers=MANY_RECOGNISERS,
    )
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def large(out):
    return Page((out / "report" / "index.html").read_text())


def test_every_attack_has_a_column_and_every_recogniser_its_rows(large):
    head, *rows = large.tables["attacks"]
    assert len(head) == 3 + len(MANY_ATTACKS)
    assert len(rows) == (len(MANY_DEFACERS) + 1) * 2 * 2
    assert {(row[1], row[2]) for row in rows} == {(m, r) for m in ("CT", "MR") for r in MANY_RECOGNISERS}
    assert all(len(row) == len(head) for row in rows)


def test_attacks_are_counted_as_the_table_has_them(large, out):
    table = read_tables(out)["verification"]
    rows = {(r[0].split(" ")[0], r[1], r[2]): r for r in large.tables["attacks"][1:]}
    head = [h.replace(" ", "_") for h in large.tables["attacks"][0]]
    for one in table[table["attack"].isin(MANY_ATTACKS) & (table["defacer"] != "original")].to_dict(
        "records"
    ):
        shown = rows[one["defacer"], one["modality"], one["recogniser"]][head.index(one["attack"])]
        assert shown.startswith(f"{one['matched']} of 12")


def test_verification_is_told_by_image_and_recogniser(large, out):
    rows = large.tables["verification"][1:]
    plain = [r for r in rows if r[3] == "plain"]
    assert len(plain) == (len(MANY_DEFACERS) + 2) * 4
    assert {r[3] for r in rows} == {"plain", "any"}
    assert {r[-1] for r in rows} == {"not measurable"}  # 0.1 % of 132 comparisons
    assert all(r[-2] != "not measurable" for r in rows)
    assert {r[0].split(" ")[0] for r in rows} == {"original", "none", *MANY_DEFACERS}


def test_curves_are_grouped_and_the_first_group_is_open(large):
    groups = large.html.split("<summary>Curves: ")[1:]
    assert len(groups) == 4
    assert groups[0].startswith("CT, face_recognition<")
    assert large.html.count('<details open class="annex">') == 1
    for group in groups:
        assert all(f"{kind}" in group for kind in ("Threshold sweep", "Verification ROC", "Cumulative match"))


def test_chance_stands_beside_the_matches(large, out):
    glance = large.rows("glance")
    chance = read_tables(out)["verification"].query("modality == 'any'").set_index("defacer")["chance"]
    for defacer in MANY_DEFACERS:
        shown = float(glance[defacer][1].split("chance ")[1].rstrip("%\u202f"))
        assert shown == pytest.approx(100 * chance[defacer], abs=0.51)
