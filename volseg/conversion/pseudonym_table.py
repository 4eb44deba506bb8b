"""The file of pseudonyms: which patient and examination of a source each case is.

It identifies patients, so it lies apart from the cases, only its owner may read it, and it holds
all that the cases and their record leave out.
"""

from __future__ import annotations

import csv
import datetime
import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from volseg.errors import DataListError, OutputError
from volseg.files.documents import read_rows
from volseg.files.writing import atomic_write

#: End of the name of the table, after the name of the folder of cases.
ENDING = ".pseudonyms.csv"
#: Name of the patients, if the user gives none.
DEFAULT_PREFIX = "PAT"
# Prefix, number of the patient, time point.
_PSEUDONYM = re.compile(r"(?P<prefix>.+)-(?P<number>\d{5,})-(?P<point>\d{3,})")

_CHECKED = (
    *("case_id", "patient_key", "study_key", "study_date", "study_time", "shift_days"),
    "kept_name",
)
_COLUMNS = (
    *("case_id", "patient_key", "study_key", "patient_id", "patient_name", "birth_date"),
    *("study_date", "study_time", "shift_days", "kept_name", "source", "files", "check"),
)
_RESTORE = "restore the table from a copy, or convert into a new folder with a new table"


@dataclass(frozen=True)
class Entry:
    """A case and whose it is.

    Attributes:
        case_id: Name of the case.
        patient_key: Key of the patient in the source.
        study_key: Key of the examination in the source.
        facts: Other cells of the row: id, name, birth date, source, and columns of the user.
        date: Day of the examination; None if the source has none.
        time: Time of day, as text that sorts; "" if not known.
        is_kept: Whether the name is that of the source, by `--keep-names`.
        shift_days: Days by which `--shift-dates` moves the dates of the patient.
        files: Digest of the source files when the case was written; "" before.
    """

    case_id: str
    patient_key: str
    study_key: str
    facts: Mapping[str, str] = field(default_factory=dict, hash=False)
    date: datetime.date | None = None
    time: str = ""
    shift_days: int = 0
    files: str = ""
    is_kept: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Patient and examination."""
        return self.patient_key, self.study_key

    @property
    def pseudonym(self) -> re.Match[str] | None:
        """Parts of the name, unless it is that of the source."""
        return None if self.is_kept else _PSEUDONYM.fullmatch(self.case_id)

    @property
    def shifted_date(self) -> datetime.date | None:
        """The date, moved as all dates of the patient are."""
        return None if self.date is None else self.date - datetime.timedelta(days=self.shift_days)

    @property
    def when(self) -> tuple[bool, datetime.date, str]:
        """Sort key of the time; an examination without date comes last."""
        return self.date is None, self.date or datetime.date.max, self.time


@dataclass(frozen=True)
class PseudonymTable:
    """The entries of a table, in its order."""

    path: Path
    entries: tuple[Entry, ...] = ()
    prefix: str = DEFAULT_PREFIX

    @classmethod
    def read(cls, path: Path, prefix: str | None = None) -> PseudonymTable:
        """The table in a file, or an empty one if there is no file.

        Args:
            path: CSV file; cells may be separated by semicolons or tabs, as spreadsheets do.
            prefix: Name of new patients; None: as in the table.

        Raises:
            DataListError: If the file is no such table, a row was changed, or its patients have
                another prefix.
            OutputError: If the path is a link.
        """
        if path.is_symlink():
            raise OutputError(f"{path} is a link", remedy="give the table itself", path=path)
        entries = _read(path) if path.exists() else ()
        matches = (entry.pseudonym for entry in entries)
        known = next((match["prefix"] for match in matches if match), None)
        if known is not None and prefix not in {None, known}:
            raise DataListError(
                f"table {path} names patients {known}, but --prefix is {prefix}",
                remedy="leave --prefix out, or convert into a new folder with a new table",
                path=path,
            )
        return cls(path, entries, known or prefix or DEFAULT_PREFIX)

    def with_files(self, digests: Mapping[str, str], folders: Mapping[str, str]) -> PseudonymTable:
        """The table with digests of source files by case, and with folders of changed ones."""
        return replace(self, entries=tuple(_with_files(e, digests, folders) for e in self.entries))

    def write(self) -> None:
        """Write the table, readable by its owner only.

        Raises:
            OutputError: If it cannot be written.
        """
        extra = [name for entry in self.entries for name in entry.facts if name not in _COLUMNS]
        columns = (*_COLUMNS, *dict.fromkeys(extra))
        text = io.StringIO(newline="")
        rows = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        rows.writeheader()
        rows.writerows(_row(entry) for entry in self.entries)
        with atomic_write(self.path, known=True) as temporary:
            temporary.touch(mode=0o600)
            temporary.chmod(0o600)
            temporary.write_text(text.getvalue(), encoding="utf-8", newline="")


def _with_files(entry: Entry, digests: Mapping[str, str], folders: Mapping[str, str]) -> Entry:
    digest = digests.get(entry.case_id, entry.files)
    if digest == entry.files:  # The user may have emptied the cell of the folder.
        return entry
    facts = {**entry.facts, "source": folders[entry.case_id]}
    return replace(entry, files=digest, facts=facts)


def _row(entry: Entry) -> dict[str, str]:
    row = {
        **entry.facts,
        "case_id": entry.case_id,
        "patient_key": entry.patient_key,
        "study_key": entry.study_key,
        "study_date": str(entry.date or ""),
        "study_time": entry.time,
        "shift_days": str(entry.shift_days),
        "kept_name": "yes" * entry.is_kept,
        "files": entry.files,
    }
    return {**row, "check": _check(row)}


def _check(row: Mapping[str, str]) -> str:
    """Digest of the cells that must not change, such as ids that a spreadsheet makes numbers."""
    cells = "\x1f".join(row[name] for name in _CHECKED)
    return "c" + hashlib.sha256(cells.encode()).hexdigest()[:12]


def _read(path: Path) -> tuple[Entry, ...]:
    lines = read_rows(
        path, DataListError, f"table {path}", "give a table of volseg convert", ",;\t"
    )
    header = [name.strip() for name in lines[0]] if lines else []
    missing = [name for name in _COLUMNS if name not in header]
    if missing or len(set(header)) < len(header):
        raise DataListError(
            f"table {path} is no table of pseudonyms: it lacks {', '.join(missing) or 'nothing'}, "
            f"and has the columns {', '.join(header)[:200] or 'none'}",
            remedy="give another file with --pseudonyms, or restore the table",
            path=path,
        )
    rows = [_cells(path, number, header, line) for number, line in enumerate(lines[1:], start=2)]
    entries = tuple(_checked(path, number, row) for number, row in enumerate(rows, start=2))
    for name, keys in (("case", [e.case_id for e in entries]), ("study", [e.key for e in entries])):
        if len(set(keys)) < len(keys):
            raise DataListError(
                f"table {path} has two rows of one {name}", remedy=_RESTORE, path=path
            )
    return entries


def _cells(path: Path, number: int, header: Sequence[str], line: Sequence[str]) -> dict[str, str]:
    if len(line) > len(header):
        raise DataListError(
            f"row {number} of table {path} has {len(line)} cells, but the header {len(header)}",
            remedy=_RESTORE,
            path=path,
        )
    return dict(zip(header, [*line, *[""] * (len(header) - len(line))], strict=True))


def _checked(path: Path, number: int, row: Mapping[str, str]) -> Entry:
    where = f"row {number} of table {path}"
    date = _date(path, where, row["study_date"])
    if row["check"] != _check(row):
        raise DataListError(
            f"{where} ({row['case_id'] or 'no case'}) was changed by another program in one of "
            f"{', '.join(_CHECKED)}, so its patient or its time point would not be recognised",
            remedy=_RESTORE,
            path=path,
        )
    ours = {*_CHECKED, "files", "check"}
    facts = {name: cell for name, cell in row.items() if name not in ours}
    return Entry(
        *(row["case_id"], row["patient_key"], row["study_key"], facts, date, row["study_time"]),
        *(int(row["shift_days"]), row["files"], row["kept_name"] == "yes"),
    )


def _date(path: Path, where: str, text: str) -> datetime.date | None:
    try:
        return datetime.date.fromisoformat(text) if text else None
    except ValueError:
        raise DataListError(
            f"{where} has the study_date {text!r}, expected a date such as 2024-03-01",
            remedy="correct it",
            path=path,
        ) from None
