"""What other commands read of a `scores.json`: that it is one, and what stands in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from volseg.errors import DataListError
from volseg.files.documents import fitting, read_json

_Score = Annotated[float, Field(ge=0, le=1)]
_Number = Annotated[float, Field(ge=0)]
_Count = Annotated[int, Field(ge=0)]


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class _Mean(_Open):
    mean: _Score | None


class _Dice(_Open):
    dice: _Mean


class _Group(_Dice):
    n: _Count


class _Values(_Open):
    dice: _Score | None
    iou: _Score | None
    recall: _Score | None
    precision: _Score | None
    prediction_voxels: _Count | None = None
    reference_voxels: _Count | None = None


class _Case(_Open):
    status: str
    regions: dict[str, _Values]


class _Document(_Open):
    summary: dict[str, _Dice]
    cases: dict[str, _Case]
    network: str | None = None
    losses: dict[str, float | None] | None = None
    slices: dict[str, dict[str, dict[str, _Number | None]]] | None = None
    missing_channels: dict[str, list[str]] | None = None
    group_scores: dict[str, dict[str, dict[str, _Group]]] | None = None
    missing: list[str] = []
    failed: list[str] = []


def read_summary(path: Path) -> dict[str, Any]:
    """Content of a `scores.json`, as `ScoreRecord.write` wrote it.

    Raises:
        DataListError: If it cannot be read, or is none; caused by an OSError if it is not there.
    """
    remedy = "write it anew with volseg evaluate"
    content = read_json(path, DataListError, remedy=remedy)
    try:
        return fitting(_Document, content)
    except ValueError as error:
        raise DataListError(
            f"{path} is not as volseg writes it ({error})", remedy=remedy, path=path
        ) from error
