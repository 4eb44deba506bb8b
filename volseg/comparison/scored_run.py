"""A run to compare: the scores in its folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from volseg.cases.data_list import read_data_list
from volseg.errors import DataListError, VolsegError
from volseg.files.writing import DATA_LIST_FILE, MODEL_FILE
from volseg.metrics.doubts import doubts
from volseg.metrics.official.protocol import Protocol
from volseg.metrics.official.protocols import OWN_SCORES
from volseg.metrics.reading import read_summary, scores_of
from volseg.metrics.record import SUMMARY_FILE
from volseg.metrics.scores import COUNTED_SCORES, Score, get_score
from volseg.metrics.table import ScoreRow, ScoreTable
from volseg.results.trained_cases import TRAINED_CASES, doubts_of_training
from volseg.runs.checkpoint_files import find_checkpoints
from volseg.runs.description import is_finished

_HD95 = get_score("hd95_mm")

# `{region: {score: value}}` of one case.
CaseScores = Mapping[str, Mapping[str, float | None]]
# `{region: {"tumour_slices" or "all_slices": {"n": number, score: mean}}}`.
SliceMeans = Mapping[str, Mapping[str, Mapping[str, float | None]]]


@dataclass(frozen=True)
class ScoredRun:
    """Scores of a run, or of the predictions of another tool.

    Attributes:
        name: Name of the run in the tables.
        folder: Folder of the run.
        network: Name of the network; empty if not known.
        cases: Scores by case id, of the scored cases; None where an official protocol has no value.
        unscored: Status of each other case: "missing" or "failed".
        regions: Names of the regions, in order.
        losses: Validation loss by case id; empty if not known.
        slices: Means over slices by region, as in `SliceTable.summary`; empty without slices.
        missing_channels: Missing channels by case id; zeros or another channel stand in.
        patients: Patient of each case in the data list of the run; empty without data list.
        ended: False if the training was stopped or is still running, as far as known.
        doubts: Notes on scores that mislead, such as of a region that is in no prediction.
        reference_voxels: Voxels of the reference by case id and region, as far as known.
        scores: Names of the `rated_scores` that all scored cases have.
        folds: Names of the runs that are pooled; empty for a single run.
    """

    name: str
    folder: Path
    network: str
    cases: Mapping[str, CaseScores]
    unscored: Mapping[str, str]
    regions: tuple[str, ...]
    losses: Mapping[str, float] = field(default_factory=dict)
    slices: SliceMeans = field(default_factory=dict)
    missing_channels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    patients: Mapping[str, str] = field(default_factory=dict)
    ended: bool = True
    doubts: tuple[str, ...] = ()
    reference_voxels: Mapping[tuple[str, str], int] = field(default_factory=dict)
    scores: tuple[str, ...] = tuple(score.name for score in COUNTED_SCORES)
    folds: tuple[str, ...] = ()

    @property
    def model(self) -> Path | None:
        """Model file of the run, if there is one."""
        file = self.folder / MODEL_FILE
        return file if file.is_file() else None


def rated_scores(protocol: Protocol | None) -> tuple[Score, ...]:
    """Scores that rate a prediction and may be compared; without a protocol, our own.

    Our own HD95 is only in scores of `evaluate`, not of the validation in training.
    """
    if protocol is None:
        return (*COUNTED_SCORES, _HD95)
    return tuple(score for score in protocol.scores if score.better)


def read_run(folder: Path, name: str, protocol: Protocol | None = None) -> ScoredRun:
    """Scores of the run in `folder`.

    Args:
        folder: Run folder, or folder of scores that `volseg evaluate` wrote.
        name: Name of the run in the tables.
        protocol: Protocol of the scores; None: our own.

    Raises:
        DataListError: If the folder has no `scores.json`, volseg did not write it, or it has no
            scores of the protocol.
    """
    return parse(read_scores(folder), folder, name, protocol)


def read_scores(folder: Path) -> dict[str, Any]:
    """Content of the `scores.json` of a run; errors as in `read_run`."""
    try:
        return read_summary(folder / SUMMARY_FILE)
    except DataListError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise DataListError(
            f"{folder} has no {SUMMARY_FILE}",
            remedy=(
                "train it with this volseg (volseg fit), or score its results (volseg evaluate "
                "RESULTS REFERENCE -o FOLDER) and give that folder"
            ),
            path=folder,
        ) from None


def parse(
    summary: Mapping[str, Any], folder: Path, name: str, protocol: Protocol | None = None
) -> ScoredRun:
    """Run with the content of its `scores.json`; arguments as in `read_run`."""
    own = _own_scores(summary) if protocol is None else _official_scores(summary, folder, protocol)
    return ScoredRun(
        name=name,
        folder=folder,
        network=str(summary.get("network") or ""),
        # A loss that was not finite is null.
        losses={c: float(x) for c, x in (summary.get("losses") or {}).items() if x is not None},
        slices=dict(summary.get("slices") or {}) if protocol is None else {},
        missing_channels=dict(summary.get("missing_channels") or {}),
        patients=_patients(summary, folder),
        ended=has_ended(folder),
        doubts=(*_doubts(summary), *_doubts_of_training(summary)),
        reference_voxels={
            (case_id, region): voxels
            for case_id, case in summary["cases"].items()
            for region, values in case["regions"].items()
            if isinstance(voxels := values.get("reference_voxels"), int)
        },
        **own,
    )


def _own_scores(summary: Mapping[str, Any]) -> dict[str, Any]:
    scores = _compared(summary)
    cases = summary["cases"]
    return {
        "cases": {
            case_id: {
                region: {score: float(values[score]) for score in scores}
                for region, values in case["regions"].items()
                if all(values[score] is not None for score in scores)
            }
            for case_id, case in cases.items()
            if case["status"] == "scored"
        },
        "unscored": {
            case_id: case["status"] for case_id, case in cases.items() if case["status"] != "scored"
        },
        "regions": tuple(
            dict.fromkeys(name for case in cases.values() for name in case["regions"])
        ),
        "scores": scores,
    }


def _official_scores(
    summary: Mapping[str, Any], folder: Path, protocol: Protocol
) -> dict[str, Any]:
    found = summary.get("protocols") or {}
    if protocol.name not in found:
        raise DataListError(
            f"{folder} has no scores of protocol {protocol.name}, only of "
            f"{', '.join((OWN_SCORES, *found))}",
            remedy=f"score the results with volseg evaluate --protocol {protocol.name}",
            path=folder,
        )
    of_protocol = found[protocol.name]
    names = [score.name for score in protocol.scores]
    return {
        "cases": {
            case_id: {
                region: {name: values.get(name) for name in names}
                for region, values in regions.items()
            }
            for case_id, regions in of_protocol["cases"].items()
        },
        "unscored": {
            **dict.fromkeys(of_protocol["missing"], "missing"),
            **dict.fromkeys(of_protocol["failed"], "failed"),
        },
        "regions": tuple(of_protocol["summary"]),
        "scores": tuple(score.name for score in rated_scores(protocol)),
    }


def _compared(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the `COUNTED_SCORES` of all cases, and HD95 if each scored case has it."""
    cases = summary["cases"].values()
    regions = [values for case in cases for values in case["regions"].values()]
    scored = [
        values
        for case in cases
        if case["status"] == "scored"
        for values in case["regions"].values()
    ]
    counted = [name for name in scores_of(summary) if all(name in values for values in regions)]
    distances = [values.get(_HD95.name) for values in scored]
    is_known = bool(scored) and all(isinstance(value, float | int) for value in distances)
    return (*counted, *((_HD95.name,) if is_known else ()))


def has_ended(folder: Path) -> bool:
    """Whether a run has ended, as far as its folder shows; scores of `evaluate` have."""
    return is_finished(folder) or not find_checkpoints(folder)


def _doubts(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """Sentences of `doubts` on the scores of a run; none for scores without counts of voxels."""
    sizes = ("prediction_voxels", "reference_voxels")
    rows = [
        ScoreRow(case_id, region, {name: values[name] for name in ("dice", *sizes)})
        for case_id, case in summary["cases"].items()
        for region, values in case["regions"].items()
        if values["dice"] is not None and all(isinstance(values.get(size), int) for size in sizes)
    ]
    return doubts(ScoreTable.of(rows))


def _doubts_of_training(summary: Mapping[str, Any]) -> Iterator[str]:
    scored = [name for name, case in summary["cases"].items() if case["status"] == "scored"]
    return doubts_of_training(summary.get(TRAINED_CASES) or {}, scored)


def _patients(summary: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Patient of each case by the scores and the data list of the run, as far as known."""
    # Where the patient was not known, the scores have the case itself.
    named = {c: name for c, name in (summary.get("patients") or {}).items() if name != c}
    return {**named, **_listed_patients(folder)}


def _listed_patients(folder: Path) -> dict[str, str]:
    """Patient of each case in the data list of the run; empty without data list."""
    file = folder / DATA_LIST_FILE
    if not file.is_file():
        return {}
    try:
        # No image is opened, so any root is fine.
        data_list = read_data_list(file, folder)
    except VolsegError:
        return {}
    return {case.case_id: case.patient_id for case in data_list.cases()}
