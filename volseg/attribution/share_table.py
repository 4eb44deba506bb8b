"""Table of the shares of channels, a row for each map and channel."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from volseg.files.writing import atomic_write, remove
from volseg.results.explanation_record import MAPS, map_key

COLUMNS = ("case_id", "region", "method", "channel", "share", "shapley_value")

# Digits after the point.
_DIGITS = 6


def write_shares(path: Path, records: Mapping[str, Any]) -> None:
    """Write the shares of channels in all maps; remove the table if no map has shares.

    Args:
        path: CSV file to write.
        records: Records of explanations by case id.

    Raises:
        OutputError: If the file cannot be written, or volseg did not write the file in its place.
    """
    rows = list(_rows(records))
    if not rows:
        remove(path)
        return
    with atomic_write(path) as new, new.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])


def _rows(records: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    for case_id, record in records.items():
        for key, one in record.get(MAPS, {}).items():
            kind = key.removeprefix(map_key(one["region"], ""))
            values = one.get("channel_values", {})
            for channel, share in one["by_channel"].items():
                value = round(values[channel], _DIGITS) if channel in values else None
                yield case_id, one["region"], kind, channel, round(share, _DIGITS), value
