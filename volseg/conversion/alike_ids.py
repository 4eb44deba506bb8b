"""Patients whose ids are nearly equal: perhaps one person under two spellings.

`00012` and `12` may be one patient in two archives, or two patients. Nothing in a header decides
it, so they stay two patients, and the user is asked.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from itertools import combinations

from volseg.conversion.dicom.people import name_words
from volseg.conversion.pseudonym_table import Entry

# Between the id and who issued it.
_ISSUER = " of "
_LEADING_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")
_SEPARATORS = re.compile(r"(?<=[^\W\d])[-_./](?=\d)")


def alike_patients(
    entries: Sequence[Entry], patients: Collection[str]
) -> tuple[tuple[str, str], ...]:
    """Cases of two patients with nearly equal ids whom neither name nor birth date separates.

    Ids are nearly equal if they differ in leading zeros, in a separator before a number, or in that
    only one of them says who issued it.

    Args:
        entries: The table.
        patients: Keys of patients; pairs without any of them are not of interest.
    """
    first: dict[str, Entry] = {}
    for entry in entries:
        first.setdefault(entry.patient_key, entry)
    groups: dict[str, list[Entry]] = defaultdict(list)
    for key, entry in first.items():
        groups[_bare(key)].append(entry)
    return tuple(
        (one.case_id, other.case_id)
        for members in groups.values()
        for one, other in combinations(members, 2)
        if not {one.patient_key, other.patient_key}.isdisjoint(patients)
        and not _are_told_apart(one, other)
    )


def _bare(key: str) -> str:
    return _LEADING_ZEROS.sub("", _SEPARATORS.sub("", key.partition(_ISSUER)[0]))


def _are_told_apart(one: Entry, other: Entry) -> bool:
    issuers = {key.partition(_ISSUER)[2] for key in (one.patient_key, other.patient_key)}
    if len(issuers - {""}) > 1:
        return True
    born = {entry.facts.get("birth_date", "") for entry in (one, other)} - {""}
    names = [name_words(entry.facts.get("patient_name")) for entry in (one, other)]
    return len(born) > 1 or (all(names) and names[0].isdisjoint(names[1]))
