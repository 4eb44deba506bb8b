"""Reading of `scores.json`, with a check of its content."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

from volseg.errors import DataListError
from volseg.files.documents import read_json, validated
from volseg.metrics.scores import COUNTED_SCORES, Score, get_score

_Score = Annotated[float, Field(ge=0, le=1)]
_Number = Annotated[float, Field(ge=0)]
_Count = Annotated[int, Field(ge=0)]
_Interval = Annotated[list[_Number], Field(min_length=2, max_length=2)] | None


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


def _within(score: Score) -> Any:
    low, high = sorted((score.best or 0, score.worst or 0))
    return Annotated[float, Field(ge=low, le=high)]


class _Mean(_Open):
    mean: _Score | None


class _Dice(_Open):
    dice: _Mean


class _Group(_Dice):
    n: _Count


if TYPE_CHECKING:
    _Values = _Open
else:
    _Values = create_model(
        "_Values",
        __base__=_Open,
        **{score.name: (_within(score) | None, None) for score in COUNTED_SCORES}
        | {"dice": (_within(get_score("dice")) | None, ...)},
        prediction_voxels=(_Count | None, None),
        reference_voxels=(_Count | None, None),
    )


class _Case(_Open):
    status: str
    regions: dict[str, _Values]


class _ProtocolRegion(_Open):
    __pydantic_extra__: dict[str, float | None]
    lesions: list[dict[str, Any]]
    false_positive_lesions: list[dict[str, Any]]


class _Protocol(_Open):
    title: str
    summary: dict[str, dict[str, Any]]
    cases: dict[str, dict[str, _ProtocolRegion]]
    missing: list[str]
    failed: dict[str, str]


class _Document(_Open):
    summary: dict[str, _Dice]
    cases: dict[str, _Case]
    network: str | None = None
    losses: dict[str, float | None] | None = None
    slices: dict[str, dict[str, dict[str, _Number | None]]] | None = None
    slice_intervals: dict[str, dict[str, dict[str, _Interval]]] | None = None
    missing_channels: dict[str, list[str]] | None = None
    group_scores: dict[str, dict[str, dict[str, _Group]]] | None = None
    missing: list[str] = []
    failed: list[str] = []
    trained_cases: dict[str, list[str]] = {}
    patients: dict[str, str] | None = None
    protocols: dict[str, _Protocol] | None = None

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
