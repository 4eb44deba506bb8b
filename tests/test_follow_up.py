"""`volseg report --follow-up`: sizes of each patient over time, on the page and in a file."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from volseg import cli
from volseg.errors import DataListError, OutputError
from volseg.images.grid import Grid
from volseg.measures import measure
from volseg.measures.record import as_record
from volseg.reporting.follow_up import NAMES, follow_patients
from volseg.reporting.follow_up_section import _percent, follow_up_section
from volseg.reporting.results import read_results
from volseg.tasks.report import report

GRID = Grid((40, 40, 50), np.eye(4))
# Width, height and slices of a cross of lines of 1 mm, by case: 2.04, 0.62 and 1.17 ml.
CROSSES = {
    "BraTS-GLI-00001-000": (31, 21, 40),
    "BraTS-GLI-00001-001": (21, 11, 20),
    "BraTS-GLI-00001-002": (25, 15, 30),
}


def record_of(width, height, slices):
    cross = np.zeros(GRID.shape, bool)
    cross[20 - width // 2 : 21 + width // 2, 20, 2 : 2 + slices] = True
    cross[20, 20 - height // 2 : 21 + height // 2, 2 : 2 + slices] = True
    whole = np.zeros(GRID.shape, bool)
    whole[2:38, 2:38, 2:42] = True
    found = measure({"WT": whole, "ET": cross}, GRID)
    volumes = {region: of.volume_ml for region, of in found.items()}
    return {"output": "x.nii.gz", "volumes_ml": volumes, "measures": as_record(found)}


@pytest.fixture(scope="module")
def records():
    return {case: record_of(*sides) for case, sides in CROSSES.items()}


@pytest.fixture
def results(tmp_path, records):
    """Makes a folder with the manifest that `infer` leaves, without the files of its results."""

    def make(cases=None):
        folder = tmp_path / "results"
        folder.mkdir()
        content = {"volseg": "0.1.0", "models": [], "labels": "brats2023", "failures": {}}
        names = cases or dict(zip(CROSSES, CROSSES, strict=True))
        content["cases"] = {name: records[like] for name, like in names.items()}
        (folder / "manifest.json").write_text(json.dumps(content))
        return folder

    return make


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_volumes_and_products_over_time_are_those_counted_by_hand(results):
    folder = results()

    found = report(folder, cases=0, follow_up=NAMES)

    assert found.follow_up == folder / "report_follow_up.csv"
    rows = [row for row in rows_of(found.follow_up) if row["region"] == "ET"]
    assert [row["time_point"] for row in rows] == ["000", "001", "002"]
    assert [float(row["volume_ml"]) for row in rows] == [2.04, 0.62, 1.17]
    assert [float(row["product_mm2"]) for row in rows] == [651, 231, 375]
    assert [row["volume_reached"] for row in rows] == [
        "baseline",
        "partial response",
        "progression",
    ]
    second, third = rows[1:]
    assert float(second["volume_from_baseline_percent"]) == pytest.approx(-69.6078, abs=1e-4)
    assert float(third["product_from_nadir_percent"]) == pytest.approx(62.3377, abs=1e-4)
    assert all("RANO 2.0" in row["rule"] for row in rows)
    whole = [row for row in rows_of(found.follow_up) if row["region"] == "WT"]
    assert [row["volume_reached"] for row in whole] == ["baseline", "neither", "neither"]


def test_the_page_names_the_rule_and_says_that_it_is_no_diagnosis(results):
    (page,) = report(results(), cases=0, follow_up=NAMES).pages

    text = page.read_text(encoding="utf-8")

    assert '<section id="follow-up">' in text
    assert "that is no diagnosis and no response in the sense of RANO 2.0" in text
    assert "doi:10.1200/JCO.23.01059" in text
    assert "BraTS-GLI-00001: volume" in text
    assert '<td class="number">-70 %</td>' in text
    assert "31.0 x 21.0" in text
    # Curves of both regions in both charts.
    assert text.count("<polyline") >= 4


def test_the_section_has_a_table_and_a_chart_of_each_kind_of_size(results):
    found = follow_patients(read_results(results()), NAMES)

    section = follow_up_section(found)

    warning, notes, *blocks = section.blocks
    assert warning.is_warning
    assert any("volume: partial response from 65 % below" in note for note in notes.sentences)
    assert [type(block).__name__ for block in blocks] == ["Table", "Table", "Chart", "Chart"]
    volumes, products = blocks[:2]
    assert list(volumes.columns) == [
        *("time point", "region", "volume (ml)", "reached"),
        *("from baseline", "from nadir", "case"),
    ]
    assert [str(cell) for cell in volumes.rows[3]] == [
        *("001", "ET", "0.620", "partial response", "-70 %", "-70 %", "BraTS-GLI-00001-001")
    ]
    assert (products.rows[5][2], products.rows[5][6]) == ("375.0", "25.0 x 15.0")


def test_a_region_that_is_gone_lies_at_zero(results, records):
    gone = {**records["BraTS-GLI-00001-001"]}
    gone["measures"] = {**gone["measures"], "ET": {"voxels": 0, "volume_ml": 0.0, "n_lesions": 0}}
    folder = results()
    content = json.loads((folder / "manifest.json").read_text())
    content["cases"]["BraTS-GLI-00001-001"] = gone
    (folder / "manifest.json").write_text(json.dumps(content))

    found = follow_patients(read_results(folder), NAMES)

    (_, enhancing) = found.regions["BraTS-GLI-00001"]
    assert [one.reached for one in enhancing.volumes] == ["baseline", "gone", "progression"]
    volumes = follow_up_section(found).blocks[4]
    assert [tick.text for tick in volumes.y_ticks] == ["0", "1", "2", "5", "10", "20", "50", "100"]
    _, of_enhancing = (line.points.split() for line in volumes.lines)
    assert of_enhancing[1].split(",")[1] == str(volumes.bottom).removesuffix(".0")


def test_a_table_gives_patients_and_dates(results, tmp_path):
    first, second, third = CROSSES
    folder = results({"scan-a": first, "scan-b": second, "scan-c": third})
    table = tmp_path / "visits.csv"
    table.write_text("case,patient,date\nscan-c,P1,2024-03-01\nscan-a,P1,2024-01-01\n")

    found = report(folder, tmp_path / "page.html", 0, table)

    assert found.follow_up == tmp_path / "page_follow_up.csv"
    rows = [row for row in rows_of(found.follow_up) if row["region"] == "ET"]
    assert [(r["patient_id"], r["case_id"], r["place"], r["unit"]) for r in rows] == [
        ("P1", "scan-a", "0", "days"),
        ("P1", "scan-c", "60", "days"),
    ]
    assert float(rows[1]["volume_from_baseline_percent"]) == pytest.approx(-42.6471, abs=1e-4)
    assert "Not in the table: scan-b." in found.pages[0].read_text(encoding="utf-8")


def test_an_order_that_names_do_not_show_is_refused_with_the_remedy(results):
    first, second, third = CROSSES
    folder = results({"P7_pre": first, "P7_post": second, "P8": third})

    with pytest.raises(
        DataListError,
        match=r"clear order: the names P7_pre, P7_post do not show which .*; give a table of case",
    ):
        report(folder, cases=0, follow_up=NAMES)
    assert not (folder / "report.html").exists()


def test_a_patient_without_a_clear_order_is_named_beside_the_others(results):
    first, second, third = CROSSES
    cases = {"P7_pre": first, "P7_post": second, "P8_ses-1": first, "P8_ses-2": third, "P9": third}

    found = follow_patients(read_results(results(cases)), NAMES)

    assert [line.patient_id for line in found.timelines.found] == ["P8"]
    sentences = follow_up_section(found).blocks[1].sentences
    assert any(note.startswith("Not followed: P7, as the names P7_pre") for note in sentences)
    assert "Patients with a single time point: 1." in sentences


def test_patients_with_one_case_have_no_follow_up(results):
    (first, *_) = CROSSES

    with pytest.raises(
        DataListError, match="no patient has two or more cases, so there is no follow-up"
    ):
        report(results({"a": first}), cases=0, follow_up=NAMES)


def test_scores_of_other_tools_give_volumes_alone(tmp_path):
    folder = tmp_path / "scores"
    folder.mkdir()
    regions = {
        f"BraTS-GLI-00001-00{n}": {"WT": {"dice": 0.5, "volume_ml": ml}}
        for n, ml in enumerate((10.0, 15.0))
    }
    cases = {case: {"status": "scored", "regions": of} for case, of in regions.items()}
    summary = {"WT": {"dice": {"mean": 0.5}}}
    (folder / "scores.json").write_text(json.dumps({"summary": summary, "cases": cases}))

    found = follow_patients(read_results(folder), NAMES)

    (whole,) = found.regions["BraTS-GLI-00001"]
    assert [one.from_baseline_percent for one in whole.volumes] == [None, 50]
    assert [one.reached for one in whole.volumes] == ["baseline", "not known"]
    assert [one.value for one in whole.products] == [None, None]
    kinds = [type(block).__name__ for block in follow_up_section(found).blocks[2:]]
    assert kinds == ["Table", "Chart"]


def test_a_patient_without_sizes_in_millimetres_is_named(results):
    folder = results()
    content = json.loads((folder / "manifest.json").read_text())
    unsized = {"foreground": {"voxels": 9, "volume_ml": None, "n_lesions": 1}}
    for record in content["cases"].values():
        record |= {"volumes_ml": {}, "measures": unsized}
    (folder / "manifest.json").write_text(json.dumps(content))

    found = follow_patients(read_results(folder), NAMES)

    _, notes = follow_up_section(found).blocks
    unsized = "Without sizes over time, as no size in ml or mm is known: BraTS-GLI-00001."
    assert unsized in notes.sentences
    assert report(folder, cases=0, follow_up=NAMES).remarks == (unsized,)


def test_a_table_of_another_program_is_not_replaced(results):
    folder = results()
    (folder / "report_follow_up.csv").write_text("mine\n")

    with pytest.raises(
        OutputError, match=r"report_follow_up\.csv is there already and volseg did not"
    ):
        report(folder, cases=0, follow_up=NAMES)
    (folder / "report_follow_up.csv").unlink()
    report(folder, cases=0, follow_up=NAMES)
    assert report(folder, cases=0, follow_up=NAMES).follow_up.is_file()


def test_the_command_names_the_table(results):
    folder = results()

    result = CliRunner().invoke(
        cli.app, ["report", str(folder), "--cases", "0", "--follow-up", "names"]
    )

    assert result.exit_code == 0, result.output
    assert f"Follow-up: {folder / 'report_follow_up.csv'}" in result.stdout.replace("\n", "")


def test_rows_of_the_table_that_match_no_case_are_named(results, tmp_path):
    first, second, third = CROSSES
    folder = results({"scan-a": first, "scan-b": second, "scan-c": third})
    table = tmp_path / "visits.csv"
    table.write_text(
        "case,patient,date\nscan-c,P1,2024-03-01\nscan-a,P1,2024-01-01\nscan-x,P1,2024-05-01\n"
    )

    result = CliRunner().invoke(
        cli.app, ["report", str(folder), "--cases", "0", "--follow-up", str(table)]
    )

    assert result.exit_code == 0, result.output
    page = (folder / "report.html").read_text(encoding="utf-8")
    for sentence in ("In the table, but not in the results: scan-x.", "Not in the table: scan-b."):
        assert sentence in page
        assert sentence in result.stdout


@pytest.mark.parametrize(
    ("rest", "shown"),
    [
        (0.0, "-100 %"),
        (0.049 / 28.285, "-99.8 %"),
        (0.0004, "-99.96 %"),
        (0.02, "-98 %"),
        (1.2, "+20 %"),
    ],
)
def test_only_a_region_that_is_gone_has_changed_by_all_of_it(rest, shown):
    assert _percent(100 * (rest - 1)) == shown


def test_two_pages_in_a_folder_have_tables_of_their_own(results):
    folder = results()

    tables = [
        report(folder, folder / name, 0, NAMES).follow_up
        for name in ("report.html", "v2.html", "v2.html")
    ]

    assert [table.name for table in tables] == [
        "report_follow_up.csv",
        *["v2_follow_up.csv"] * 2,
    ]
