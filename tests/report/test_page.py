"""The page says what the tables say, loads nothing, and survives whatever a run leaves."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from support.synthetic_run import DEFACERS, case_rows, make_run, radiomics

from defacedask.cli.report import command
from defacedask.errors import InputError, OutputError
from defacedask.report import write_report
from defacedask.tables.files import TEN_FEATURES, read_tables, write_tables


def number(written: str) -> float:
    return float(written.split(" ")[0].replace("−", "-").replace("\u202f", "").rstrip("†%"))


def test_nothing_is_loaded_from_elsewhere(page):
    assert all(load.startswith(("#", "data:image/jpeg;base64,")) for load in page.loads)
    pictures = r'data:image/jpeg;base64,[^"]*'  # in which any four letters occur
    assert "http" not in re.sub(
        rf'(xmlns(:xlink)?="http://www.w3.org/[^"]*"|<meta http-equiv=|{pictures})', "", page.html
    )
    assert "default-src 'none'" in page.html


def test_ids_are_unique_and_links_lead_somewhere(page):
    assert len(page.ids) == len(set(page.ids))
    assert {load[1:] for load in page.loads if load.startswith("#")} <= set(page.ids)


def test_first_line_names_every_defacer_with_its_counts(page):
    assert page.first_line.startswith("Cases recognised after defacing: ")
    for defacer in DEFACERS:
        assert re.search(rf"{defacer} \d+ of 11", page.first_line)


def test_percent_table_is_the_mean_of_the_rows(page, run):
    rows = read_tables(run)["radiomics"]
    shown = page.rows("percent-mean-quickshear")
    medians = page.rows("percent-median-quickshear")
    for structure in ("Brain", "Parotid_R"):
        for k, feature in enumerate(TEN_FEATURES, start=3):
            wanted = (
                (rows.defacer == "quickshear") & (rows.structure == structure) & (rows.feature == feature)
            )
            part = rows.loc[wanted].percent
            for table, expected in ((shown, part.mean()), (medians, part.median())):
                assert number(table[structure][k]) == pytest.approx(expected, rel=0.02, abs=0.006)
    assert shown["Eye_L"][1] == "11"
    assert "n 10" in shown["Eye_L"][3 + TEN_FEATURES.index("Kurtosis")]


def test_published_values_stand_beside_ours(page, run, tmp_path, read_page):
    brain = page.rows("percent-mean-quickshear")["Brain"]
    assert "[1.25]" in brain[3]
    assert "[−4\u202f322]" in brain[4] or "[−4\u202f321]" in brain[4]
    assert page.rows("faces")["quickshear"][-1] == "3 of 77"
    assert "[" not in "".join(page.rows("percent-mean-carina")["Brain"])


def test_convert_only_passes_and_is_said(page):
    control = page.rows("controls")["convert"]
    assert control[-1] == "pass"
    assert control[2].startswith("0 of ")
    assert "values are exactly those of the original" in page.html


def test_ratios_to_distrust_are_listed_and_marked(page):
    assert any(row[:2] == ["Brain", "Skewness"] for row in page.tables["hazards"])
    assert "†" in page.rows("percent-mean-quickshear")["Brain"][3 + TEN_FEATURES.index("Skewness")]


def test_sign_is_explained(page):
    assert "Definitions of pyradiomics 3.0.1: bin width 25, voxelArrayShift 0." in page.html
    assert "100 · (original − defaced) / original" in page.html
    assert "Negative means increased by defacing" in page.html


def test_cases_with_reasons_and_hostile_names(page):
    cases = {row[0]: row for row in page.tables["cases"]}
    assert cases["STS_001-1"][3] == "refused"
    assert "no head" in cases["STS_001-1"][4]
    assert "odd & <b>bold</b>" in cases
    assert "<script>alert" not in page.html
    assert page.tables["skipped"][1][2] == "5"


def test_configuration_is_there_and_secrets_are_not(page):
    assert "77aa77aa" in page.html
    assert "pyradiomics" in page.html
    assert "hidden-from-the-page" not in page.html


def test_pictures_are_off_small_and_inside(page):
    before = page.html.split('<template id="pictures-kept">')[0]
    assert "data:image" not in before
    assert page.html.count("data:image/jpeg") == 2 * 2 * 5
    assert "These renders identify people" in before
    assert 'id="show-pictures" autocomplete="off">' in before
    assert "1 listed pictures could not be read" in before  # the one outside the folder


def test_page_without_pictures(run, tmp_path, read_page):
    (tmp_path / "tables").mkdir()
    shutil.copytree(run / "pictures", tmp_path / "pictures")
    write_report(tmp_path, pictures=False)
    assert "data:image" not in read_page(tmp_path).html
    assert "written without its 21 pictures" in read_page(tmp_path).html
    write_report(tmp_path)
    assert read_page(tmp_path).html.count("data:image") == 20


def test_same_tables_same_bytes(run, reference):
    before = (run / "report" / "index.html").read_bytes()
    assert write_report(run, reference=reference).read_bytes() == before


def test_void_when_originals_are_not_recognised(tmp_path, read_page):
    make_run(tmp_path, n=4, originals="bad", structures=("Brain",))
    write_report(tmp_path)
    page = read_page(tmp_path)
    assert page.first_line.startswith("The privacy result is void")
    assert page.rows("decisions")["quickshear"][1].startswith("not shown the positive control failed")
    assert page.rows("glance")["quickshear"][1].endswith("void")
    assert page.rows("controls")["positive:"][-1] == "fail"


def test_a_dose_grid_that_shows_nobody_stands_aside(tmp_path, read_page):
    """Of 4 originals one shows a face in the dose: that is no failure of the images, and bounds nothing."""
    make_run(tmp_path, n=4, structures=("Brain",), modalities=("CT", "RTDOSE"))
    tables = read_tables(tmp_path)
    dose = tables["controls"].modality == "RTDOSE"
    tables["controls"].loc[dose, ["persons_detected", "positive_n", "positive_matches"]] = [1, 1, 0]
    tables["controls"].loc[dose, "threshold_note"] = "only 4 impostor comparisons"
    tables["controls"].loc[dose, "not_in_gallery"] = "P2, P3, P4, P5, P6, P7, P8"
    looks = tables["recognition"]
    blind = (
        (looks.modality == "RTDOSE") & (looks.defacer != "original") & ~looks.case.str.startswith("pt_000")
    )
    looks["comparable"] = ~blind
    write_tables(tmp_path, {"controls": tables["controls"], "recognition": looks})
    write_report(tmp_path)
    page = read_page(tmp_path)
    assert page.first_line.startswith("Cases recognised after defacing")
    (row,) = [r for r in page.tables["controls"] if r[0].startswith("positive: originals, RTDOSE")]
    assert row[-1] == "fails, aside"
    assert "nothing to compare with: P2, P3, P4, P5, P6 and 2 more" in row[2]
    assert "RTDOSE: these attacks hardly recognise anybody in it even before defacing" in page.html
    assert "RTDOSE: only 4 impostor comparisons" in page.html
    faces = {(r[0], r[1]): r for r in page.tables["faces"]}
    assert faces["quickshear", "RTDOSE"][2] == "4"
    assert " of 1 " in faces["quickshear", "RTDOSE"][4] + " "
    assert faces["quickshear", "RTDOSE"][6] == "95\u202f%"
    assert faces["quickshear", "CT"][6] == "53\u202f%"


def test_what_was_not_judged_is_said(tmp_path, read_page):
    make_run(tmp_path, n=4, structures=("Brain",))
    looks = read_tables(tmp_path)["recognition"]
    looks["comparable"] = (looks.defacer == "original") | (looks.case != "pt_001-CT")
    write_tables(tmp_path, {"recognition": looks, "radiomics": []})
    write_report(tmp_path)
    html = read_page(tmp_path).html
    assert "Not judged: 1 of 4 cases, for there is no face of their person to compare with" in html
    assert "What defacing cost in radiomics was not judged: no structure was measured in this run." in html
    assert "quickshear 0\u00a0of\u00a03" in html


def test_a_control_that_shows_nothing_does_not_pass(tmp_path, read_page):
    make_run(tmp_path, n=2, originals="bad", structures=("Brain",))
    looks = read_tables(tmp_path)["recognition"]
    looks.loc[looks.defacer.isin(["original", "none"]), "distance_to_own"] = np.nan
    write_tables(tmp_path, {"recognition": looks})
    write_report(tmp_path)
    assert read_page(tmp_path).rows("controls")["recognition"][2:] == [
        "there is no case whose original is recognised",
        "did not run",
    ]


def test_void_when_no_original_was_looked_at(tmp_path, read_page):
    make_run(tmp_path, n=3, calibrated=False, structures=("Brain",))
    rows = read_tables(tmp_path)["recognition"]
    write_tables(tmp_path, {"recognition": rows.loc[rows.defacer != "original"]})
    write_report(tmp_path)
    assert read_page(tmp_path).first_line.startswith("The privacy result is void: no original was looked at")


def test_a_convert_only_that_changes_something_fails(tmp_path, read_page):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(radiomics(rng, ["a", "b"], ["Brain"]))
    rows.loc[rows.index[rows.defacer == "none"][3], "defaced"] += 1e-9
    write_tables(tmp_path, {"radiomics": rows, "cases": case_rows(rng, ["a", "b"])})
    write_report(tmp_path)
    page = read_page(tmp_path)
    assert page.rows("controls")["convert"][-1] == "fail"
    assert "The cost result is void" in page.html


def test_only_refused_cases(tmp_path, read_page):
    rows = [{"case": f"p{i}", "status": "refused", "reason": "no head in view."} for i in range(3)]
    write_tables(tmp_path, {"cases": rows})
    write_report(tmp_path)
    page = read_page(tmp_path)
    assert page.first_line.startswith("Nothing was defaced: all 3 cases were refused or failed")
    assert len(page.tables["cases"]) == 4
    assert {row[-1] for row in page.tables["controls"][1:]} == {"did not run"}


def test_a_run_without_anything(tmp_path, read_page):
    (tmp_path / "tables").mkdir()
    write_report(tmp_path)
    assert read_page(tmp_path).first_line.startswith("There is no privacy result")


@pytest.mark.parametrize("missing", ["recognition", "radiomics", "dose", "controls", "cases", "skipped"])
def test_any_table_may_be_missing(missing, tmp_path, read_page):
    make_run(tmp_path, n=2, structures=("Brain",))
    for path in (tmp_path / "tables").glob(f"{missing}.*"):
        path.unlink()
    write_report(tmp_path)
    assert read_page(tmp_path).tables["controls"]


def test_what_is_damaged_is_named(tmp_path):
    with pytest.raises(InputError, match="no folder"):
        write_report(tmp_path / "none")
    with pytest.raises(InputError, match="holds no tables"):
        write_report(tmp_path)
    (tmp_path / "tables").mkdir()
    (tmp_path / "config.yaml").write_text("a: [1")
    with pytest.raises(InputError, match=r"config.yaml is damaged"):
        write_report(tmp_path)
    (tmp_path / "config.yaml").unlink()
    with pytest.raises(InputError, match="no published table"):
        write_report(tmp_path, reference=tmp_path / "tables")
    (tmp_path / "report").write_text("in the way")
    with pytest.raises(OutputError, match="nothing can be written"):
        write_report(tmp_path)


def test_command_makes_derived_tables_again(tmp_path, reference):
    make_run(tmp_path, n=2, structures=("Brain",))
    done = CliRunner().invoke(command, [str(tmp_path), "--reference", str(reference), "--no-pictures"])
    assert done.exit_code == 0, done.output
    assert done.output.strip().endswith("index.html")
    tables = read_tables(tmp_path)
    assert set(tables["radiomics_percent"].structure) == {"Brain"}
    assert set(tables["faces_detected"].defacer) == {"original", "none", *DEFACERS}


def test_tolerance_comes_from_the_configuration(tmp_path, read_page):
    make_run(tmp_path, n=2, calibrated=False, structures=("Brain",))
    settings = yaml.safe_load((tmp_path / "config.yaml").read_text())
    settings["settings"]["tolerance"] = 0.9
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    write_tables(tmp_path, {"radiomics": []})
    (tmp_path / "pictures" / "index.json").write_text(json.dumps([]))
    write_report(tmp_path)
    page = read_page(tmp_path)
    assert page.rows("glance")["carina"][1].startswith("2 of 2")
    assert "within the threshold (0.9) of the own original" in page.html


def test_matches_that_may_be_chance_are_said_to_be(tmp_path, read_page):
    make_run(tmp_path, n=11, structures=("Brain",))
    table = read_tables(tmp_path)["verification"]
    everything = (table["modality"] == "any") & (table["defacer"] == "biometric_mask")
    table.loc[everything, "chance"] = 0.9
    write_tables(tmp_path, {"verification": table})
    write_report(tmp_path)
    page = read_page(tmp_path)
    assert "which may be chance" in page.rows("decisions")["biometric_mask"][1]
    assert "chance 90" in page.rows("glance")["biometric_mask"][1]
    assert "So many tries also match strangers" in page.html


def test_a_target_in_the_region_is_listed_with_its_share(page, run):
    rows = read_tables(run)["geometry"].query("defacer == 'quickshear' and structure == 'Target'")
    (line,) = [r for r in page.tables["volumes"] if r[0] == "quickshear" and r[1] == "Target"]
    assert line[2] == "target"
    assert line[4] == f"{(rows.region_ml > 0).sum()} of {len(rows)}"
    assert number(line[6]) == pytest.approx(rows.region_percent.median(), rel=0.01)
    assert number(line[7]) == pytest.approx(rows.region_percent.max(), rel=0.01)
    carina = [r for r in page.tables["volumes"] if r[0] == "carina"]
    assert [r[1] for r in carina] == ["Target", "3 other structures: nothing in the region"]


def test_dose_is_one_line_a_structure_and_untouched_ones_are_one_line(page, run):
    rows = [r for r in page.tables["dose"][1:] if r[0] == "quickshear"]
    assert [r[1] for r in rows] == ["Brainstem", "Target", "Parotid_L"]
    head = page.tables["dose"][0]
    dose = read_tables(run)["dose"].query(
        "defacer == 'quickshear' and structure == 'Target' and metric == 'D95'"
    )
    shown = number(rows[1][head.index("D95")])
    assert shown == pytest.approx((dose.original - dose.defaced).mean(), rel=0.01)
    assert [r[1] for r in page.tables["dose"] if r[0] == "carina"] == [
        "every structure: all metrics exactly as before"
    ]


def test_seconds_of_each_part(page, run):
    rows = page.rows("timing")
    table = read_tables(run)["timing"]
    faces = table[table.stage == "faces"]
    assert number(rows["faces"][2]) == pytest.approx(faces.seconds.median(), rel=0.06)
    assert number(rows["faces"][3]) == pytest.approx(np.percentile(faces.seconds, 95), rel=0.06)
    assert number(rows["faces"][4]) == pytest.approx(faces.groupby("case").seconds.sum().median(), rel=0.06)
    assert number(rows["all"][4]) == pytest.approx(table.groupby("case").seconds.sum().median(), rel=0.06)
    assert list(rows) == ["ingest", "plan", "apply", "faces", "radiomics", "dose", "all"]


def test_agreement_beside_mean_and_median(page, run):
    rows = read_tables(run)["radiomics"].query(
        "defacer == 'quickshear' and structure == 'Brain' and feature == 'Energy'"
    )
    shown = page.rows("percent-agreement-quickshear")["Brain"][3 + TEN_FEATURES.index("Energy")]
    of_means = 100 * (rows.original.mean() - rows.defaced.mean()) / rows.original.mean()
    assert f"p95 {np.percentile(rows.percent.abs(), 95):.0f}"[:5] in shown
    assert number(shown.split("r.o.m. ")[1]) == pytest.approx(of_means, rel=0.02, abs=0.02)


def test_images_of_one_run_are_told_apart(tmp_path, read_page):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(radiomics(rng, ["a", "b"], ["Brain"])).assign(modality="CT")
    both = pd.concat([rows, rows.assign(modality="PT", defaced=rows.original * 2, percent=-100.0)])
    write_tables(tmp_path, {"radiomics": both, "cases": case_rows(rng, ["a", "b"])})
    write_report(tmp_path)
    page = read_page(tmp_path)
    assert "image" in page.tables["percent-mean-quickshear"][0]
    (pet,) = [r for r in page.tables["percent-mean-quickshear"] if r[1] == "PT"]
    assert number(pet[4]) == -100
    assert "Brain (PT)" in page.html


def test_a_value_that_changed_without_a_changed_voxel_fails_a_control(tmp_path, read_page):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(radiomics(rng, ["a", "b"], ["Brain"]))
    still = rows.index[(rows.defacer == "carina") & (rows.voxels_changed == 0) & rows.original.notna()]
    assert len(still)
    rows.loc[still[0], "defaced"] += 1e-9
    write_tables(tmp_path, {"radiomics": rows, "cases": case_rows(rng, ["a", "b"])})
    write_report(tmp_path)
    assert read_page(tmp_path).rows("controls")["untouched"][-1] == "fail"


def test_void_by_photographs_says_so_and_names_who_has_none(tmp_path, read_page):
    make_run(tmp_path, n=4, originals="bad", structures=("Brain",))
    controls = read_tables(tmp_path)["controls"].assign(gallery="photographs", not_in_gallery="PT-7, PT-9")
    write_tables(tmp_path, {"controls": controls})
    write_report(tmp_path)
    page = read_page(tmp_path)
    assert page.first_line == (
        "The privacy result is void: the originals themselves are not recognised in their photographs."
    )
    assert "nothing to compare with: PT-7, PT-9" in page.html
