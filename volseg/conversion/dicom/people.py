"""Whose files these are: patients by id, and the contradictions under one id.

An id of two people must never become one patient, and a change of spelling must not become two. So
files under one id contradict each other if birth dates differ, if one says male and another female,
or if the names share no word; where birth dates are missing, names must hold the same words, or
fewer of them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace

from volseg.conversion.dicom.frames import DicomFile
from volseg.conversion.series import Patient

_PLACEHOLDER = re.compile(
    r"[\W_0x?]*|(?:(?:anon|de[\W_]?id(?:ent)?|removed|redacted|hidden|unknown|unbekannt|inconnu|none|null"
    r"|n/?a\b|no ?(?:id|name)|test|name|brain|pat|patient|subject|volunteer|proband|phantom"
    r"|mrn|id)(?:y\w*|ym\w*|i[sz]\w*|ified|id)?[\W_0]*){1,3}",
    re.IGNORECASE,
)


def patient_of(file: DicomFile) -> Patient:
    """Patient of a file, with the key that all files of the person share.

    The key is the id; without an id, the name with the birth date; without these, the study.
    """
    person = file.person
    number = _said(person.id)
    if number:
        issuer = f" of {file.issuer.casefold()}" if file.issuer else ""
        # One archive writes "AB 12", another "ab12"; other people are found by their names.
        return replace(person, key=f"id {''.join(number.split()).casefold()}{issuer}")
    if _said(person.name) and person.birth_date:
        words = " ".join(sorted(name_words(person.name)))
        return replace(person, key=f"name {words}, born {person.birth_date}")
    return replace(person, key=f"study {file.study.key or file.path.parent}")


def has_id(patient: Patient) -> bool:
    """Whether a patient is known by an id."""
    return patient.key.startswith("id ")


def note_on_key(patient: Patient) -> str | None:
    """Assumption on whose series this is, if the header has no id."""
    if has_id(patient):
        return None
    if patient.key.startswith("name "):
        return "no Patient ID: taken for the patient of that name and birth date"
    return "no Patient ID: the study is taken for a patient of its own"


def _said(text: str | None) -> str | None:
    """A text that says something; None for a placeholder of anonymisation."""
    stripped = (text or "").strip()
    return None if _PLACEHOLDER.fullmatch(stripped) else stripped


def name_words(name: str | None) -> frozenset[str]:
    """Words of a name without order, case, accents and punctuation.

    >>> name_words("DOE^JOHN") == name_words("Doe^John ") == name_words("John Doe")
    True
    """
    # The first group of a name is in Latin letters; the others repeat it in other scripts.
    plain = unicodedata.normalize("NFKD", (_said(name) or "").partition("=")[0]).casefold()
    letters = "".join(c for c in plain if not unicodedata.combining(c))
    return frozenset(re.findall(r"\w+", letters.replace("_", " ")))


def contradiction(people: Iterable[Patient]) -> str | None:
    """What shows that files under one key are of several people; None if nothing does."""
    known = list(dict.fromkeys(people))
    if len({person.birth_date for person in known if person.birth_date}) > 1:
        return "birth dates differ"
    sexes = {(person.sex or "").strip().upper()[:1] for person in known}
    if {"M", "F"} <= sexes:
        return "one file says male, another female"
    return "names differ" if _names_differ(known) else None


def _names_differ(people: Sequence[Patient]) -> bool:
    born = all(person.birth_date for person in people)
    words = [found for person in people if (found := name_words(person.name))]
    for k, these in enumerate(words):
        for others in words[k + 1 :]:
            common = these & others
            if not common or (not born and common not in (these, others)):
                return True
    return False
