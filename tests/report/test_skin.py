"""The report's lines on skin say what the table says, and an ear that could not be measured counts nowhere."""

from __future__ import annotations

from support import small_run

from defacedask.report.run import read_run
from defacedask.report.sections.skin import ear_words, skin_table
from defacedask.report.write import render_report


def skin(case, defacer, region, kept, untouched=None, note=""):
    about = {"case": case, "defacer": defacer, "modality": "CT", "region": region, "note": note}
    known = kept is not None
    return {
        **about,
        "points": 900 if known else 0,
        "moved": 1 - kept if known else None,
        "kept": kept,
        "untouched": untouched,
    }


ROWS = [
    skin("a", "tidy", "ears", 0.9, 0.7),
    skin("b", "tidy", "ears", 0.2, 0.1),
    skin("c", "tidy", "ears", 0.7, 0.5, "left: cut by the field of view"),
    skin("d", "tidy", "ears", None, None, "not in the image"),
    skin("a", "tidy", "ear_left", 0.95, 0.7),
    skin("a", "none", "ears", 1.0, 1.0),
    skin("a", "tidy", "brow_to_chin", 0.01),
]


def run(tmp_path, rows):
    return read_run(small_run.write(tmp_path, {**small_run.tables(), "residual_skin": rows}))


def test_face_and_ears_have_a_line_each(tmp_path):
    face, ears = skin_table(run(tmp_path, ROWS)).rows
    assert [cell.text for cell in face] == [
        "brow to chin",
        "CT",
        "tidy",
        "1",
        "1.0\u202f%",
        "1.0\u202f%",
        "0 of 1",
        "–",
    ]
    assert [cell.text for cell in ears] == [
        "ears",
        "CT",
        "tidy",
        "3",
        "70\u202f%",
        "90\u202f%",
        "2 of 3",
        "50\u202f%",
    ]
    assert ears[3].small == "1 not: not in the image"


def test_a_sentence_says_it_and_is_on_the_page(tmp_path):
    found = run(tmp_path, ROWS)
    (words,) = ear_words(found)
    assert words.endswith("median of images: tidy 70\u202f%, at least half in 2 of 3.")
    assert words in render_report(found)


def test_no_ear_in_any_image_is_not_none_left(tmp_path):
    found = run(tmp_path, [skin("a", "tidy", "ears", None, None, "no ear stands out of the head")])
    assert ear_words(found)[0].endswith("no image shows an ear that could be measured.")
    (line,) = skin_table(found).rows
    assert [cell.text for cell in line[3:]] == ["0", "–", "–", "–", "–"]


def test_nothing_is_said_where_nothing_was_measured(tmp_path):
    assert skin_table(run(tmp_path, [])) is None
