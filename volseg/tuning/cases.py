"""The runs to tune, and the cases to tune them on: none that they were trained on."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from volseg.cases.case import Case
from volseg.cases.data_list import DataList, leaks, read_data_list
from volseg.cases.identity import patient_key
from volseg.config import ExperimentConfig, InferenceConfig
from volseg.errors import DataListError, ModelError
from volseg.files.writing import DATA_LIST_FILE, MODEL_FILE
from volseg.model_header import ModelHeader, read_model_header
from volseg.runs.trained_cases import list_of_run
from volseg.tuning.decoding import Decoding
from volseg.words import number_of, shown

logger = logging.getLogger(__name__)

#: A bootstrap interval needs as many patients.
FEWEST_PATIENTS = 3


@dataclass(frozen=True, eq=False)
class TunedRun:
    """A run with its cases.

    Attributes:
        header: Header of its model file.
        cases: Cases with a label map that the model was not trained on.
    """

    header: ModelHeader
    cases: tuple[Case, ...]

    @property
    def regions(self) -> tuple[str, ...]:
        """Names of the regions of the model."""
        return tuple(self.header.config.labels.regions)

    @property
    def stored(self) -> Decoding:
        """Options of the model file, those of an earlier tuning included."""
        return Decoding.of(self.header.config.inference, self.regions)

    @property
    def initial(self) -> Decoding:
        """Options of the model, without those of an earlier tuning.

        An earlier tuning may have chosen them on the same cases, which would hide the gain.
        """
        return Decoding.of(self._before("tuning"), self.regions)

    @property
    def temperature(self) -> float | Mapping[str, float]:
        """Option `temperature` of the model, without that of an earlier tuning."""
        return self._before("calibration").temperature

    def _before(self, entry: str) -> InferenceConfig:
        """Options of inference before the tuning that an entry of the header records."""
        config, record = self.header.config, self.header.content.get(entry)
        if record is None:
            return config.inference
        plain = config.to_dict()
        plain["inference"] |= record["before"]
        where = f"the config before the tuning of {self.header.file}"
        return ExperimentConfig.from_dict(plain, where).inference


def find_runs(
    runs: Sequence[Path],
    data_list: Path | None = None,
    fold: int | None = None,
    data_root: Path | None = None,
) -> list[TunedRun]:
    """The models of runs, each with its cases.

    Args:
        runs: Run folders, folders of the runs of a cross-validation, or model files in them.
        data_list: Data list of other cases than those of the run; for a single run.
        fold: Fold of the data list; None: that of the run, or all cases of `data_list`.
        data_root: Folder that the paths of the data list start from; None: as in the list.

    Raises:
        ModelError: If a model cannot be used, or the models differ in regions or options.
        DataListError: If a case was trained on, is tuned on twice, or there are fewer than three
            patients.
    """
    paths = [one for run in runs for one in _folds_in(run)]
    if len(paths) > 1 and (data_list is not None or fold is not None):
        raise DataListError(
            f"{len(paths)} runs are given with a data list or a fold, but each has its own cases",
            remedy="leave --data-list and --fold out, or give a single run",
        )
    headers = [read_model_header(path) for path in paths]
    _check_alike(headers)
    found = [TunedRun(one, _cases(one, data_list, fold, data_root)) for one in headers]
    _check_patients(found)
    _check_same_options(found)
    return found


def _folds_in(run: Path) -> list[Path]:
    """The run, or the runs of a cross-validation in its folder."""
    folds = [path.parent for path in sorted(run.glob(f"fold*/{MODEL_FILE}"))]
    return [run] if (run / MODEL_FILE).is_file() or not folds else folds


def _cases(
    header: ModelHeader, data_list: Path | None, fold: int | None, data_root: Path | None
) -> tuple[Case, ...]:
    trained_on: tuple[Case, ...] = ()
    own_fold = header.config.data.fold
    listed = list_of_run(header.file, data_root if data_list is None else None)
    if listed is not None:
        trained_on, validation = listed.split(own_fold)
        if data_list is None:
            if fold not in {None, own_fold}:
                validation = listed.cases(fold)
            return _checked(header, validation, trained_on)
    elif data_list is None:
        raise DataListError(
            f"{header.file.parent} has no {DATA_LIST_FILE}, so its validation cases are not known",
            remedy="name cases with label maps that it was not trained on: --data-list LIST",
            path=header.file.parent / DATA_LIST_FILE,
        )
    else:
        logger.warning(
            "%s is not in the folder of its run, so it is not known which cases it was trained on",
            header.file,
        )
    assert data_list is not None
    return _checked(header, _labelled(read_data_list(data_list, data_root), fold), trained_on)


def _labelled(data_list: DataList, fold: int | None) -> tuple[Case, ...]:
    return tuple(case for case in data_list.cases(fold) if case.label)


def _checked(
    header: ModelHeader, cases: tuple[Case, ...], trained_on: tuple[Case, ...]
) -> tuple[Case, ...]:
    if not cases:
        raise DataListError(
            f"{header.file.parent} has no case with a label map that it was not trained on, so "
            "neither options nor confidence can be fitted",
            remedy="train with data.fold set, or give other cases with --data-list LIST",
        )
    if not any(path.exists() for case in cases for path in case.images):
        raise DataListError(
            f"no scan of the {len(cases)} cases of {header.file.parent} is there, such as "
            f"{cases[0].images[0]}",
            remedy="if the run or the scans were moved, name the folder that the paths of the data "
            "list start from: --data-root FOLDER",
            path=cases[0].images[0],
        )
    for leak in leaks(trained_on, cases):
        raise DataListError(
            f"{header.file.parent} was trained on these cases: {leak.problem}",
            remedy="tune on cases of other patients: options chosen on trained cases do not hold "
            "for new ones",
        )
    return cases


def _check_alike(headers: Sequence[ModelHeader]) -> None:
    first = headers[0]
    for other in headers[1:]:
        if other.config.labels != first.config.labels:
            raise ModelError(
                f"{other.file} has the labels {other.config.labels}, but {first.file} has "
                f"{first.config.labels}",
                remedy="tune together only the folds of one experiment",
            )


def _check_same_options(runs: Sequence[TunedRun]) -> None:
    first = runs[0]
    before = {**first.initial.inference(), "temperature": first.temperature}
    for other in runs[1:]:
        found = {**other.initial.inference(), "temperature": other.temperature}
        for name, value in found.items():
            if value != before[name]:
                raise ModelError(
                    f"inference.{name} is {shown(value)} in {other.header.file}, but "
                    f"{shown(before[name])} in {first.header.file}",
                    remedy="tune together only runs with the same options",
                )


def _check_patients(runs: Iterable[TunedRun]) -> None:
    seen: dict[str, Path] = {}
    for run in runs:
        for key in {patient_key(case.patient_id) for case in run.cases}:
            if key in seen:
                raise DataListError(
                    f"patient {key} is validated by {seen[key]} and by {run.header.file.parent}",
                    remedy="give each fold of a cross-validation once",
                )
            seen[key] = run.header.file.parent
    if len(seen) < FEWEST_PATIENTS:
        patients = number_of(len(seen), "patient")
        raise DataListError(
            f"the runs have {patients} to tune on, but at least {FEWEST_PATIENTS} are needed",
            remedy="give the runs of all folds of a cross-validation, or more cases with "
            "--data-list LIST",
        )
