"""The order of the examinations of a patient, by names or by a table."""

from __future__ import annotations

import pytest

from volseg.cases.identity import patient_of
from volseg.cases.time_points import timelines_by_name, timelines_by_table
from volseg.errors import DataListError


def by_name(*cases):
    return timelines_by_name({case: patient_of(case) for case in cases})


def places(timeline):
    return [(point.case_id, point.place, point.label) for point in timeline.points]


def test_numbers_behind_the_patient_are_examinations_in_order():
    found = by_name("BraTS-GLI-00001-001", "BraTS-GLI-00001-000", "BraTS-GLI-00001-010")

    (line,) = found.found
    assert (line.patient_id, line.unit) == ("BraTS-GLI-00001", "examination")
    assert places(line) == [
        ("BraTS-GLI-00001-000", 1, "000"),
        ("BraTS-GLI-00001-001", 2, "001"),
        ("BraTS-GLI-00001-010", 3, "010"),
    ]


def test_dates_become_days_from_the_first():
    (line,) = by_name("TCGA_CS_5397_20010401", "TCGA_CS_5397_20010315").found

    assert line.unit == "days"
    # From 15 March to 1 April.
    assert places(line) == [
        ("TCGA_CS_5397_20010315", 0, "2001-03-15"),
        ("TCGA_CS_5397_20010401", 17, "2001-04-01"),
    ]


def test_sessions_of_bids_are_numbers_or_dates():
    (numbered,) = by_name("sub-01_ses-10", "sub-01_ses-2").found
    (dated,) = by_name("sub-02_ses-20240301", "sub-02_ses-20240229").found

    assert places(numbered) == [("sub-01_ses-2", 1, "ses-2"), ("sub-01_ses-10", 2, "ses-10")]
    assert [(point.label, point.place) for point in dated.points] == [
        ("2024-02-29", 0),
        ("2024-03-01", 1),
    ]


@pytest.mark.parametrize(
    ("cases", "unit", "expected"),
    [
        (("P7_week-000", "P7_week-012", "P7_week-004"), "weeks", [0, 4, 12]),
        (("P7_month3", "P7_month1"), "months", [1, 3]),
        # The second number counts the examinations of a week, so places are no weeks.
        (("P7_week-000-2", "P7_week-012", "P7_week-000-1"), "examination", [1, 2, 3]),
        (("PatientID_0003_Timepoint_2", "PatientID_0003_Timepoint_1"), "examination", [1, 2]),
    ],
)
def test_words_of_time_are_the_unit(cases, unit, expected):
    (line,) = by_name(*cases).found

    assert line.unit == unit
    assert [point.place for point in line.points] == expected


@pytest.mark.parametrize(
    "cases",
    [
        ("P7_pre", "P7_post"),
        ("P7_baseline", "P7_fu-1"),
        ("P7_week-1", "P7_month-1"),
        ("P7_20240301", "P7_2"),
        ("P7_t1", "P7_t01"),
        ("sub-01", "sub-01_ses-2"),
        ("TCGA_CS_5397_20010315", "TCGA-CS_5397_20010315"),
    ],
)
def test_an_order_that_names_do_not_show_is_not_guessed(cases):
    found = timelines_by_name(dict.fromkeys(cases, "P7"))

    assert found.found == ()
    assert found.unclear == {
        "P7": f"the names {cases[0]}, {cases[1]} do not show which examination is the earlier"
    }


def test_patients_with_one_case_are_counted():
    found = by_name("BraTS-GLI-00001-000", "BraTS-GLI-00002-000", "BraTS-GLI-00002-001")

    assert (len(found.found), found.n_single, found.unclear) == (1, 1, {})


def table(tmp_path, text):
    path = tmp_path / "visits.csv"
    path.write_text(text)
    return path


def test_a_table_gives_patients_and_dates(tmp_path):
    path = table(tmp_path, "case;patient;date\nb;x;2024-03-01\na;x;20240131\nd;y;2024-01-01\n")

    found = timelines_by_table(path, {"a": "a", "b": "b", "c": "c", "d": "d"})

    (line,) = found.found
    assert (line.patient_id, line.unit) == ("x", "days")
    assert places(line) == [("a", 0, "2024-01-31"), ("b", 30, "2024-03-01")]
    assert (found.left_out, found.n_single) == (("c",), 1)


def test_a_table_without_patients_takes_those_of_the_results(tmp_path):
    path = table(tmp_path, "case_id,time\na,12\nb,-3.5\nelsewhere,1\n")

    (line,) = timelines_by_table(path, {"a": "p", "b": "p"}).found

    assert line.unit == "time"
    assert places(line) == [("b", -3.5, "-3.5"), ("a", 12, "12")]


def test_two_cases_at_one_time_have_no_order(tmp_path):
    path = table(tmp_path, "case,patient,date\na,p,2024-01-01\nb,p,20240101\n")

    found = timelines_by_table(path, {"a": "a", "b": "b"})

    assert found.found == ()
    assert found.unclear == {"p": f"{path} has two of the cases a, b at one time"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("case,when\na,1\n", "has the columns case, when, expected case, and date or time"),
        ("patient,date\na,2024-01-01\n", "expected case, and date or time"),
        ("case,date,time\na,2024-01-01,1\n", "expected case, and date or time"),
        ("case,date\na,2024-02-30\n", "case a has the date '2024-02-30', expected a date such"),
        ("case,time\na,soon\n", "case a has the time 'soon', expected a number"),
        ("case,time\na,inf\n", "case a has the time 'inf', expected a number"),
        (
            "case,time\na,-1e308\nb,1e308\n",
            r"case a has the time '-1e308', expected a number from -1e\+15 to 1e\+15; correct it",
        ),
        ("case,time\na,1\na,2\n", "has two rows of case a; keep one"),
        ("case,time\nz,1\n", "no case of .* is in the results: the table has z; name the cases"),
        ("", "has the columns none"),
        ("case,date\n", "names no case; give a CSV file with the columns case"),
    ],
)
def test_a_table_that_says_no_time_is_refused(tmp_path, text, words):
    with pytest.raises(DataListError, match=words):
        timelines_by_table(table(tmp_path, text), {"a": "a"})
