"""Cases that a model was trained on, by the data list in the folder of its run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from volseg.cases.case import Case
from volseg.cases.data_list import DataList, read_data_list
from volseg.cases.identity import patient_key
from volseg.errors import VolsegError
from volseg.files.paths import PathLike
from volseg.files.writing import DATA_LIST_FILE


def list_of_run(model: Path, data_root: PathLike | None = None) -> DataList | None:
    """Data list of the run of a model file; None if no data list lies beside the file.

    Raises:
        DataListError: If the data list cannot be read.
    """
    path = model.parent / DATA_LIST_FILE
    return read_data_list(path, data_root) if path.is_file() else None


def runs_trained_on(
    cases: Iterable[Case], models: Iterable[tuple[Path, int | None]]
) -> dict[str, list[str]]:
    """Run folders by case id, of the cases whose patient is in the training part of a run.

    Patients are compared by name, as the same scan may lie in several places. Nothing is known of
    a model whose folder has no data list.

    Args:
        cases: Cases to segment.
        models: Model files, each with the fold that it was validated on.
    """
    patients = {str(model.parent): _trained_patients(model, fold) for model, fold in models}
    found = {
        case.case_id: [
            run for run, names in patients.items() if patient_key(case.patient_id) in names
        ]
        for case in cases
    }
    return {case_id: runs for case_id, runs in found.items() if runs}


def _trained_patients(model: Path, fold: int | None) -> set[str]:
    try:
        listed = list_of_run(model)
    except VolsegError:
        return set()
    return {patient_key(case.patient_id) for case in listed.split(fold)[0]} if listed else set()
