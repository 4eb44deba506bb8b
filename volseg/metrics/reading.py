"""What other commands read of a `scores.json`: that it is one, and what stands in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from volseg.documents import fitting, read_json
from volseg.errors import DataListError


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class _Mean(_Open):
    mean: float | None


class _Dice(_Open):
    dice: _Mean


class _Group(_Dice):
    n: int


class _Values(_Open):
    dice: float | None
    iou: float | None
    recall: float | None
    precision: float | None


class _Case(_Open):
    status: str
    regions: dict[str, _Values]


class _Document(_Open):
    summary: dict[str, _Dice]
    cases: dict[str, _Case]
    network: str | None = None
    losses: dict[str, float | None] | None = None
    slices: dict[str, dict[str, dict[str, float | None]]] | None = None
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
        raise DataListError(f"{path} is not as volseg writes it ({error}); {remedy}") from error
