"""Whose DICOM files these are by the id, and what Dixon writes into Image Type."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from volseg.conversion.dicom.frames import DicomFile
from volseg.conversion.dicom.people import patient_of
from volseg.conversion.dicom.scans import derivation
from volseg.conversion.series import Facts, Patient, Study


def key_of(number, study="1.2"):
    person = Patient("", number)
    return patient_of(DicomFile(Path("a/b.dcm"), "", "", "", person, None, Study(study), ())).key


@pytest.mark.parametrize(
    "text", ["VOLUNTEER", "Anonymized^Patient", "DE_IDENTIFIED", "unbekannt", "Pat", "REDACTED"]
)
def test_an_id_that_names_nobody_makes_no_patient_of_two_studies(text):
    assert {key_of(text, study) for study in ("1.2", "1.3")} == {"study 1.2", "study 1.3"}


def test_patients_without_an_id_are_told_apart_by_name_and_birth_date_or_by_study():
    def key(name, year, study):
        born = datetime.date(year, 1, 1) if year else None
        person = Patient("", "", name, born)
        return patient_of(DicomFile(Path("b"), "", "", "", person, None, Study(study), ())).key

    assert key("Doe^John", 1950, "1") == key("John Doe", 1950, "2")
    assert key("Doe^John", 1950, "1") != key("Doe^John", 1951, "2")
    assert key("Doe^John", None, "1") != key("Doe^John", None, "2")
    assert key("", None, "1") != key("", None, "2")


def test_letter_case_and_spaces_of_an_id_do_not_part_a_patient():
    assert {key_of(text) for text in ("AB 12", "ab12", "Ab 12 ")} == {"id ab12"}


@pytest.mark.parametrize("text", ["Patient 12", "ANON001", "TCGA-02-0001", "00012"])
def test_an_id_with_a_number_is_an_id(text):
    assert key_of(text).startswith("id ")


@pytest.mark.parametrize(
    ("value", "reason"), [("FAT", "a fat image"), ("OPP_PHASE", "opposed phase"), ("WATER", "")]
)
def test_image_type_names_the_images_of_dixon_that_are_no_channel(value, reason):
    facts = Facts(image_type=("ORIGINAL", "PRIMARY", "M", "DIXON", value))

    assert derivation(facts).partition(" of Dixon")[0] == reason
