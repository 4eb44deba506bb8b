"""Reading of `scores.json`, with a check of its content."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

from volseg.errors import DataListError
from volseg.files.documents import read_json, validated
from volseg.metrics.official.protocols import PROTOCOLS
from volseg.metrics.scores import COUNTED_SCORES, SCORES, Score

# Voxels, ml, mm3 or mm: no scan has so many, and charts of such numbers do not overflow.
_LARGEST = 10**12
_Share = Annotated[float, Field(ge=0, le=1)]
_Number = Annotated[float, Field(ge=0, le=_LARGEST)]
_Correlation = Annotated[float, Field(ge=-1.000001, le=1.000001)]
_Count = Annotated[int, Field(ge=0, le=_LARGEST)]
_Interval = Annotated[list[_Number], Field(min_length=2, max_length=2)]
_Texts = dict[str, str]


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class _Statistics(_Open):
    mean: _Number | None
    median: _Number | None = None
    std: _Number | None = None
    mean_missing_as_worst: _Number | None = None
    interval: _Interval | None = None


class _Shares(_Statistics):
    mean: _Share | None
    median: _Share | None = None
    mean_missing_as_worst: _Share | None = None
    interval: Annotated[list[_Share], Field(min_length=2, max_length=2)] | None = None


def _is_share(score: Score) -> bool:
    return (score.best, score.worst) == (1, 0)


def _values_of(scores: Iterable[Score]) -> dict[str, Any]:
    """Fields of the values of scores, each of which may be absent or None."""
    return {
        score.name: ((_Share if _is_share(score) else _Number) | None, None) for score in scores
    }


def _statistics_of(scores: Iterable[Score]) -> dict[str, Any]:
    """Fields of the statistics of scores, each of which may be absent."""
    return {
        score.name: (_Shares if _is_share(score) else _Statistics, Field(default=None))
        for score in scores
    }


_OFFICIAL = [score for protocol in PROTOCOLS.values() for score in protocol.scores]

if TYPE_CHECKING:
    _Values = _Open
    _Summary = _Open
    _OfficialValues = _Open
    _OfficialSummary = _Open
else:
    _VOXELS = [score for score in SCORES if score.name.endswith("voxels")]
    _Values = create_model(
        "_Values",
        __base__=_Open,
        **_values_of(SCORES)
        | {score.name: (_Count | None, None) for score in _VOXELS}
        | {"dice": (_Share | None, ...)},
    )
    _Summary = create_model(
        "_Summary", __base__=_Open, **_statistics_of(SCORES) | {"dice": (_Shares, ...)}
    )
    _OfficialValues = create_model("_OfficialValues", __base__=_Open, **_values_of(_OFFICIAL))
    _OfficialSummary = create_model(
        "_OfficialSummary", __base__=_Open, n_cases=(_Count, ...), **_statistics_of(_OFFICIAL)
    )


class _Case(_Open):
    status: str
    regions: dict[str, _Values]


class _Component(_Open):
    volume_mm3: _Number
    centre: list[_Count]


class _Lesion(_Component):
    n_predicted: _Count
    dice: _Share
    hd95_mm: _Number | None
    nsd: dict[str, _Share | None] = {}
    counts: bool


class _OfficialRegion(_OfficialValues):
    lesions: list[_Lesion]
    false_positive_lesions: list[_Component]


class _Protocol(_Open):
    title: str
    summary: dict[str, _OfficialSummary]
    cases: dict[str, dict[str, _OfficialRegion]]
    missing: list[str]
    failed: _Texts
    definitions: _Texts = {}
    notes: list[str] = []


class _Group(_Open):
    n: _Count
    n_unscored: _Count = 0
    dice: _Shares


class _Slices(_Open):
    __pydantic_extra__: dict[str, _Share | None]
    n: _Number | None


class _Agreement(_Open):
    cases: _Count
    mae: _Share
    mae_interval: Annotated[list[_Share], Field(min_length=2, max_length=2)] | None = None
    spearman: _Correlation | None = None
    auc: _Share | None = None
    spearman_interval: Annotated[list[_Correlation], Field(min_length=2, max_length=2)] | None = (
        None
    )


class _PredictedDice(_Open):
    regions: dict[str, _Agreement]
    edited: list[str] = []
    trained: list[str] = []
    of_fit: list[str] = []
    definitions: _Texts = {}


class _OfProbability(_Open):
    low: _Share
    high: _Share
    voxels: _Count
    probability: _Share | None
    share: _Share | None


class _Reliability(_Open):
    ece: _Share
    curve: list[_OfProbability]


class _RegionCalibration(_Open):
    cases: _Count
    voxels: _Count
    temperatures: list[_Number]
    before: _Reliability | None = None
    after: _Reliability


class _Calibration(_Open):
    regions: dict[str, _RegionCalibration]
    left_out: _Texts = {}
    definitions: _Texts = {}


class _Versions(_Open):
    volseg: str


class _Document(_Open):
    summary: dict[str, _Summary]
    cases: dict[str, _Case]
    predictions: str | list[str] = []
    prediction_labels: str = ""
    reference: str = ""
    data_root: str = ""
    folder: str = ""
    working_folder: str = ""
    reference_labels: list[str] = []
    predictions_without_reference: list[str] = []
    failures: _Texts = {}
    notes: list[str] = []
    doubts: list[str] = []
    definitions: _Texts = {}
    empty_mask_policy: str = ""
    versions: _Versions = _Versions(volseg="")
    network: str | None = None
    losses: dict[str, float | None] | None = None
    slices: dict[str, dict[str, _Slices]] | None = None
    slice_intervals: dict[str, dict[str, dict[str, _Interval | None]]] | None = None
    missing_channels: dict[str, list[str]] = {}
    groups: dict[str, dict[str, Any]] = {}
    group_scores: dict[str, dict[str, Annotated[dict[str, _Group], Field(min_length=1)]]] = {}
    missing: list[str] = []
    failed: list[str] = []
    trained_cases: dict[str, list[str]] = {}
    patients: _Texts | None = None
    protocols: dict[str, _Protocol] = {}
    predicted_dice: _PredictedDice | None = None
    calibration: _Calibration | None = None

    @model_validator(mode="after")
    def _all_cases_have_the_same_scores(self) -> _Document:
        score_names = {
            (case_id, region): values.model_fields_set & {score.name for score in COUNTED_SCORES}
            for case_id, case in self.cases.items()
            for region, values in case.regions.items()
        }
        in_any_case = set().union(*score_names.values())
        for (case_id, region), names in score_names.items():
            if absent := sorted(in_any_case - names):
                raise ValueError(f"case {case_id} has no {absent[0]} of {region}")
        return self


def scores_of(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the `COUNTED_SCORES` that a `scores.json` holds."""
    regions = [values for case in summary["cases"].values() for values in case["regions"].values()]
    return tuple(
        score.name for score in COUNTED_SCORES if any(score.name in values for values in regions)
    )


def read_summary(path: Path) -> dict[str, Any]:
    """Content of a `scores.json` that `ScoreRecord.write` wrote.

    Raises:
        DataListError: If the file cannot be read or is no `scores.json`; its cause is an OSError
            if the file does not exist.
    """
    remedy = "write it again with volseg evaluate"
    content = read_json(path, DataListError, remedy=remedy)
    try:
        return validated(_Document, content)
    except ValueError as error:
        raise DataListError(
            f"{path} is not as volseg writes it ({error})", remedy=remedy, path=path
        ) from error
