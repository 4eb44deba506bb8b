"""The table of pseudonyms: stable names, time points in order, and edits by other programs."""

from __future__ import annotations

import datetime
import stat
from dataclasses import replace

import pytest

from volseg.conversion.pseudonym_table import PseudonymTable
from volseg.conversion.pseudonyms import Examination, named
from volseg.conversion.series import Patient, Study
from volseg.conversion.single_conversion import only_conversion
from volseg.errors import DataListError, OutputError


def examination(patient, study, date=None, time=None, **more):
    when = datetime.date.fromisoformat(date) if date else None
    clock = datetime.time.fromisoformat(time) if time else None
    person = Patient(f"id {patient}", patient, f"Name^{patient}", datetime.date(1950, 1, 2))
    return Examination(person, Study(study, when, clock), "a/b", **more)


def names_of(found):
    return {study: case_id for (_, study), case_id in found.case_ids.items()}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cases.pseudonyms.csv"


def convert(path, *examinations, prefix=None):
    found = named(PseudonymTable.read(path, prefix), examinations)
    found.table.write()
    return found


def test_time_points_follow_the_dates_and_then_the_times_of_day(path):
    found = convert(
        path,
        examination("A", "third", "2020-06-09"),
        examination("A", "second", "2020-03-04", "14:00:00"),
        examination("A", "first", "2020-03-04", "10:15:00"),
    )

    assert names_of(found) == {
        "first": "PAT-00001-000",
        "second": "PAT-00001-001",
        "third": "PAT-00001-002",
    }


@pytest.mark.parametrize(
    ("other", "fault"),
    [
        ({"birth_date": datetime.date(1960, 1, 2)}, "birth dates differ"),
        ({"name": "Miller^Eve"}, "names differ"),
        ({"name": "Miller^Eve", "birth_date": None}, "names differ"),
    ],
)
def test_another_person_of_an_id_in_a_later_conversion_is_refused(path, other, fault):
    before = convert(path, examination("A", "1", "2020-01-01")).table.entries
    one = examination("A", "2", "2021-01-01")
    stranger = replace(one, patient=replace(one.patient, **other))

    found = convert(path, stranger)

    assert found.table.entries == before
    assert f"another person in the table of pseudonyms: {fault};" in found.refused[one.key]


def test_a_birth_date_in_the_form_of_a_spreadsheet_hides_no_examination(path):
    convert(path, examination("A", "1", "2020-01-01"))
    path.write_text(path.read_text().replace("1950-01-02", "02.01.1950"))

    found = convert(path, examination("A", "2", "2021-01-01"))

    assert names_of(found)["2"] == "PAT-00001-001"


def test_a_later_conversion_gives_the_same_names_and_appends(path):
    before = names_of(convert(path, examination("A", "1", "2020-01-01"), examination("B", "2")))

    after = names_of(
        convert(path, examination("A", "3", "2020-05-01"), examination("C", "4", "2010-01-01"))
    )

    assert {study: after[study] for study in before} == before
    assert after["3"] == before["1"][:-3] + "001"
    assert after["4"] == "PAT-00003-000"


def test_numbers_of_new_patients_do_not_follow_the_order_of_their_names(path):
    patients = [f"patient {number:02d}" for number in range(30)]

    found = named(PseudonymTable.read(path), [examination(name, name) for name in patients])

    numbers = [found.case_ids[f"id {name}", name] for name in patients]
    assert sorted(numbers) == [f"PAT-{number:05d}-000" for number in range(1, 31)]
    assert numbers != sorted(numbers)  # by chance once in 30! times


def test_an_examination_before_one_with_a_name_is_refused_since_names_stay(path):
    convert(path, examination("A", "late", "2020-05-01"))

    found = convert(
        path, examination("A", "early", "2020-01-01"), examination("A", "x", "2021-01-01")
    )

    assert names_of(found) == {"late": "PAT-00001-000", "x": "PAT-00001-001"}
    assert "names do not change; convert all" in found.refused["id A", "early"]


def test_examinations_without_a_date_follow_the_order_of_their_names_and_that_is_said(path):
    found = convert(path, *(examination("A", f"visit_{n}") for n in (10, 2, 1)))

    assert names_of(found) == {
        "visit_1": "PAT-00001-000",
        "visit_2": "PAT-00001-001",
        "visit_10": "PAT-00001-002",
    }
    assert found.unordered == ("PAT-00001-000",)


def test_examinations_of_one_date_and_time_are_in_no_known_order_and_that_is_said(path):
    at_once = [examination("A", study, "2020-03-04", "10:15:00") for study in ("1", "2")]

    assert convert(path, *at_once).unordered == ("PAT-00001-000",)


def test_dates_of_a_patient_are_moved_together_and_never_by_nothing(path):
    convert(path, examination("A", "1", "2020-01-01"))
    found = convert(path, examination("A", "2", "2020-01-31"), examination("B", "3", "2020-01-01"))

    first, second, other = sorted(found.table.entries, key=lambda entry: entry.study_key)
    assert (second.shifted_date - first.shifted_date).days == 30
    assert 1 <= first.shift_days <= 3650
    assert first.shifted_date == datetime.date(2020, 1, 1) - datetime.timedelta(first.shift_days)
    assert 1 <= other.shift_days <= 3650


def test_only_the_owner_may_read_the_table(path):
    convert(path, examination("A", "1"))
    path.chmod(0o644)

    convert(path, examination("B", "2"))

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_spreadsheet_may_save_the_table_and_add_a_column(path):
    before = names_of(convert(path, examination("Ä;B", "1", "2020-01-01")))
    (header, row) = path.read_text(encoding="utf-8").splitlines()
    quoted = ";".join(f'"{cell}"' for cell in (*row.split(","), "a, note"))
    saved = f"{header.replace(',', ';')};comment\n{quoted}\n"
    path.write_text(saved, encoding="utf-8-sig")

    after = convert(
        path, examination("Ä;B", "1", "2020-01-01"), examination("Ä;B", "2", "2021-01-01")
    )

    assert names_of(after) == {**before, "2": "PAT-00001-001"}
    assert after.table.entries[0].facts["comment"] == "a, note"
    assert '"a, note"' in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("id 000123", "id 123", "row 2 .* was changed by another program"),
        ("2020-01-01", "01.01.2020", "study_date '01.01.2020', expected a date such as"),
        ("2020-01-01", "2021-01-01", "was changed by another program"),
        ("10:15:00", "10:15", "was changed by another program"),
        ("study_key", "key", "is no table of pseudonyms: it lacks study_key"),
        ("PAT-00001-000", "PAT-00002-000", "was changed by another program"),
    ],
)
def test_a_change_that_would_mix_patients_up_is_refused_in_words(path, old, new, message):
    convert(path, examination("000123", "1", "2020-01-01", "10:15:00"))
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")

    with pytest.raises(DataListError, match=message):
        PseudonymTable.read(path)


def test_two_rows_of_a_case_and_other_files_are_refused(path):
    convert(path, examination("A", "1"))
    header, row = path.read_text(encoding="utf-8").splitlines()
    path.write_text(f"{header}\n{row}\n{row}\n", encoding="utf-8")
    with pytest.raises(DataListError, match="two rows of one case"):
        PseudonymTable.read(path)

    path.write_bytes(b"PK\3\4\0\0")
    with pytest.raises(DataListError, match="is not a CSV table"):
        PseudonymTable.read(path)

    path.unlink()
    path.symlink_to(path.parent / "other.csv")
    with pytest.raises(OutputError, match="is a link"):
        PseudonymTable.read(path)


def test_a_prefix_that_differs_from_the_table_is_refused(path):
    assert names_of(convert(path, examination("A", "1"), prefix="CLINIC")) == {
        "1": "CLINIC-00001-000"
    }
    assert PseudonymTable.read(path).prefix == "CLINIC"

    with pytest.raises(DataListError, match="names patients CLINIC, but --prefix is OTHER"):
        PseudonymTable.read(path, "OTHER")


def test_kept_names_number_no_patients(path):
    found = convert(
        path,
        examination("A", "1", name="BraTS-GLI-00042-000"),
        examination("B", "2"),
    )

    assert names_of(found) == {"1": "BraTS-GLI-00042-000", "2": "PAT-00001-000"}
    assert names_of(convert(path, examination("C", "3")))["3"] == "PAT-00002-000"


def test_a_second_conversion_with_the_table_is_refused_while_one_runs(path):
    with (
        only_conversion(path),
        pytest.raises(OutputError, match="another volseg convert uses"),
        only_conversion(path),
    ):
        pass
    with only_conversion(path):
        pass

    assert list(path.parent.iterdir()) == []


def test_a_second_conversion_into_a_folder_is_refused_whatever_its_table(tmp_path):
    with (
        only_conversion(tmp_path),
        pytest.raises(OutputError, match=rf"another volseg convert uses {tmp_path}"),
        only_conversion(tmp_path),
    ):
        pass

    assert list(tmp_path.iterdir()) == []


def test_names_that_no_text_file_can_hold_do_not_stop_the_table(path):
    before = names_of(convert(path, examination("A\udc80\nB", "1")))

    assert names_of(convert(path, examination("A\udc80\nB", "1"))) == before


def test_examinations_without_dates_follow_their_folders_and_not_their_uids(path):
    ours = (
        replace(examination("A", uid), source=f"s/visit_{n}")
        for n, uid in ((10, "1.2"), (2, "1.3"), (1, "1.9"))
    )

    assert names_of(convert(path, *ours)) == {
        "1.9": "PAT-00001-000",
        "1.3": "PAT-00001-001",
        "1.2": "PAT-00001-002",
    }


def of_person(key, name="", born=None):
    return Examination(Patient(key, key, name, born), Study(f"study of {key}"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (of_person("id 00012"), of_person("id 12")),
        (of_person("id ab-12", "Doe^John"), of_person("id ab12", "DOE^J")),
        (of_person("id 12"), of_person("id 12 of archive")),
    ],
)
def test_ids_that_differ_in_spelling_only_stay_two_patients_with_a_note(path, one, other):
    convert(path, one)

    found = convert(path, other)

    assert set(names_of(found).values()) == {"PAT-00001-000", "PAT-00002-000"}
    assert found.alike == (("PAT-00001-000", "PAT-00002-000"),)
    assert convert(path, of_person("id 77")).alike == (), "said once, for the source that has it"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (of_person("id 102"), of_person("id 12")),
        (of_person("id 012", "Doe^John"), of_person("id 12", "Roe^Mary")),
        (
            of_person("id 012", born=datetime.date(1950, 1, 2)),
            of_person("id 12", born=datetime.date(1951, 1, 2)),
        ),
        (of_person("id 12 of one"), of_person("id 12 of another")),
    ],
)
def test_patients_whom_names_or_numbers_tell_apart_need_no_note(path, one, other):
    assert convert(path, one, other).alike == ()
