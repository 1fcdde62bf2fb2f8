"""The first screen: each defacer's line says what the tables say, with one threshold and one sign."""

from __future__ import annotations

import re

import pytest
from support.report_page import Page
from support.small_run import GOOD, tables, write

from defacedask.attacks import BUILT_IN
from defacedask.report import write_report
from defacedask.report.run import read_run
from defacedask.report.sections.dose import SIGN, volume_table
from defacedask.report.sections.glance import glance_table
from defacedask.report.sections.tried import tried_lines
from defacedask.report.sections.verdict import headline
from defacedask.tables.files import empty_table


def page_of(out, rows, defacer=GOOD, **release):
    write_report(write(out, rows, defacer, **release))
    return Page((out / "report" / "index.html").read_text())


def line(out, rows, defacer=GOOD):
    """A defacer's line as it is read, without drawing the page."""
    table = glance_table(read_run(write(out, rows, defacer)))
    (cells,) = [cells for cells in table.rows if cells[0].text == defacer]
    said = [" ".join([one.text, *one.small.splitlines()]) for one in cells]
    return dict(zip((head.label for head in table.heads), said, strict=True))


def tried(out, rows):
    return tried_lines(read_run(write(out, rows)))


def test_a_line_of_a_defacer_that_harms_nothing(tmp_path):
    found = line(tmp_path, tables())
    assert found["matched, any attack"].startswith("0 of 40 0 to 9")
    assert "chance 0" in found["matched, any attack"]
    assert found["nearest of all"].startswith("1 of 40 ")
    assert found["AUC"] == "0.50 0.40 to 0.60"
    assert found["tried"] == f"6 of {len(BUILT_IN)}"
    assert (found["face left"], found["targets cut"]) == ("no", "0 of 40")
    assert found["worst dose change"].startswith("Target: none")
    assert found["radiomics untouched"].startswith("3 of 3")
    assert found["cases refused"] == "0 of 40 not written: 0 of 40"


def test_virtual_patients_evidence_and_decisions_stand_before_everything_else(tmp_path):
    rows = tables()
    for row in rows["cases"]:
        row["virtual"] = True
    html = page_of(tmp_path, rows).html
    order = [
        '<p class="kicker">All 40',
        'id="first-line"',
        '<li class="tried">Tried',
        'id="glance"',
        'id="decisions"',
        'id="controls"',
    ]
    places = [html.index(one) for one in order]
    assert places == sorted(places)


def test_each_fact_of_a_harmful_defacer(tmp_path):
    rows = tables()
    rows["geometry"][0].update(region_ml=6.0, region_percent=20.0)
    rows["geometry"][3].update(region_ml=30.0, region_percent=100.0)
    rows["dose"][0]["defaced"] = 17.5
    rows["dose"][3]["defaced"] = 19.0
    rows["radiomics"][0].update(defaced=50.0, percent=-25.0, voxels_changed=9)
    rows["timing"][7]["status"] = "refused"
    rows["exports"][7].update(status="refused", reason="CT: 37 % moved: the face is still visible.")
    rows["cases"][2]["face_kept"] = f"{GOOD}: 12 % of the face stays."
    found = line(tmp_path, rows)
    assert found["targets cut"].startswith("2 of 40 Target: up to 100")
    assert (
        found["worst dose change"] == "Target Dmean 2.50\u00a0Gy less else Parotid_L Dmean 1.00\u00a0Gy less"
    )
    assert found["radiomics untouched"].startswith("2 of 3")
    assert found["cases refused"] == "1 of 40 not written: 1 of 40"
    assert (
        found["face left"]
        == "on purpose, for protected structures: 1 of 40 cases; found visible: 1 of 40 cases"
    )


def test_nobody_within_the_threshold_is_not_said_alone_where_the_right_person_is_nearest(tmp_path):
    rows = tables()
    assert "nearest" not in headline(read_run(write(tmp_path, rows))).first
    rows["verification"][-1]["rank_1"] = 40
    first = headline(read_run(write(tmp_path, rows))).first.replace("\u00a0", " ")
    assert first.endswith(f"{GOOD} 0 of 40 (right person nearest of all: 40 of 40).")


def test_carina_is_said_to_leave_the_face(tmp_path):
    assert line(tmp_path, tables("carina"), "carina")["face left"].startswith("on purpose: all")


def test_what_was_tried_and_what_was_not(tmp_path):
    rows = tables()
    done, lacking = tried(tmp_path, rows)
    assert done == (
        "Tried: plain, forced crop, template filled, unmasked, body contour, dose grid; by r; on CT; "
        "against the originals of 40 persons, the very scans that were defaced."
    )
    assert lacking.startswith(
        "Not tried: best view level, denoised air, enrolment, inversion, synthetic voxels, deblurred, pet skin; "
        "a second recogniser; another scan"
    )
    rows["recognition"][:] = [
        r for r in rows["recognition"] if r["attack"] == "plain" and r["modality"] == "CT"
    ]
    done, lacking = tried(tmp_path, rows)
    assert done.startswith("Tried: plain; by r")
    assert (
        "unmasked, denoised air, enrolment, inversion, synthetic voxels, deblurred, body contour" in lacking
    )
    rows["recognition"][:] = []
    assert tried(tmp_path, rows)[0].startswith("Nothing was tried")


def test_inversion_that_was_asked_for_and_not_tried_is_said_to_lack_teachers(tmp_path):
    run = read_run(write(tmp_path, tables()))
    run.config["settings"]["faces"] = {"attacks": ["plain", "inversion", "pet_skin"]}
    _, lacking = tried_lines(run)
    assert "inversion (asked for, but nobody is learnt from when they are predicted themselves" in lacking
    assert "fewer than 8 persons have both versions of an image)" in lacking
    assert "matrix" not in lacking
    run.config["settings"]["forced_matrix"] = 5
    run.tables["forced_matrix"] = empty_table("forced_matrix")
    assert "full matrix (asked for, but fewer than two persons show a face)" in tried_lines(run)[1]
    assert "pet skin (asked for, but there was nothing of the kind" in lacking


def test_one_threshold_everywhere(tmp_path):
    rows = tables()
    for row in rows["recognition"]:
        if (row["case"], row["defacer"], row["modality"]) == ("c03", GOOD, "CT"):
            row["distance_to_own"] = 0.36  # not a match to the study's 0.3
    page = page_of(tmp_path, rows)
    assert page.rows("glance")[GOOD][1].startswith("1 of 40")
    faces = {
        (r[0], r[1]): dict(zip(page.tables["faces"][0], r, strict=True)) for r in page.tables["faces"][1:]
    }
    assert faces[GOOD, "CT"]["matched, plain"].startswith("1 of 40")
    assert faces[GOOD, "CT"]["matched, any attack"].startswith("1 of 40")
    assert "threshold: 0.37" in page.html
    assert page.html.count("threshold (0.37)") == 3  # the first screen, faces, attacks
    assert "is at most that. It is the larger of the recogniser’s tolerance, 0.3 (r), and" in page.html
    negative = page.rows("controls")["negative:"]
    assert "within the threshold of 0.37" in negative[1]
    text = re.sub(r"<[^>]*>", " ", page.html)
    told = set(re.findall(r"threshold[^.;]{0,30}?\b(0\.\d+)", text))
    assert told == {"0.37"}
    assert "≤ 0.3" not in text


def test_one_sign_said_where_it_is_used(tmp_path):
    rows = tables()
    rows["radiomics"][0].update(defaced=50.0, percent=-25.0)
    rows["dose"][0]["defaced"] = 25.0
    rows["geometry"][0].update(region_ml=6.0, region_percent=20.0, after_ml=24.0)
    page = page_of(tmp_path, rows)
    assert page.html.count(SIGN) >= 4  # in words, mean, median and agreement of the features, and dose
    dose = dict(zip(page.tables["dose"][0], page.tables["dose"][1], strict=True))
    assert dose["Dmean"].startswith("−0.125 (−5.00)")  # more dose is negative, as a feature that grew
    sheet = page.tables[f"percent-mean-{GOOD}"]
    mean = dict(zip(sheet[0], page.rows(f"percent-mean-{GOOD}")["Target"], strict=True))
    assert mean["Median"].startswith("−0.62")
    volumes = dict(zip(page.tables["volumes"][0], page.tables["volumes"][1], strict=True))
    assert volumes["most volume lost, ml"].startswith("6")


def test_in_the_region_and_not_changed_is_explained(tmp_path):
    rows = tables()
    for row in rows["geometry"]:
        if row["structure"] == "Parotid_L":
            row.update(region_ml=3.7, region_percent=12.2)

    def shown():
        table = volume_table(read_run(write(tmp_path, rows)))
        (cells,) = [cells for cells in table.rows if cells[1].text == "Parotid_L"]
        return table, dict(zip((head.label for head in table.heads), cells, strict=True))

    table, found = shown()
    assert found["cases in the region"].text == "40 of 40"
    changed = found["voxels changed, %"]
    assert (changed.text, changed.small) == ("0", "in the region,\nno voxel changed")
    assert any("leave every voxel of it as it was" in note for note in table.notes)
    rows["radiomics"][1].update(voxels_changed=50)
    assert shown()[1]["voxels changed, %"].small == "up to 50.0"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([True] * 40, "All 40 patients are virtual, made by"),
        ([True] * 3 + [False] * 37, "3 of 40 cases are virtual patients"),
        ([False] * 40, ""),
        ([None] * 40, ""),
    ],
)
def test_virtual_patients_are_said_to_be_virtual(tmp_path, flags, words):
    rows = tables()
    for row, flag in zip(rows["cases"], flags, strict=True):
        row["virtual"] = flag
    assert headline(read_run(write(tmp_path, rows))).about.startswith(words)
    assert bool(words) == bool(headline(read_run(tmp_path)).about)


def test_a_void_run_says_so_in_each_count(tmp_path):
    rows = tables()
    for row in rows["controls"]:
        row.update(persons_detected=3, positive_n=3, positive_matches=0, holds=False)
        row["positive_matches_at_tolerance"] = 0
    assert line(tmp_path, rows)["matched, any attack"].endswith("void")


def test_what_nobody_measured_is_not_said_to_be_gone(tmp_path):
    rows = tables()
    rows["exports"].clear()
    assert line(tmp_path / "a", rows)["face left"] == "not measured no file was written"
    rows = tables()
    del rows["exports"][1:]
    assert line(tmp_path / "b", rows)["face left"] == "no measured on 1 of 40 cases"
    rows = tables()
    for row in rows["exports"]:
        row.update(status="refused", reason="this study recognised 9 of 40 cases", face_moved=None)
    assert line(tmp_path / "c", rows)["face left"].startswith("not measured")
