"""What volseg itself wrote into a folder: results and pictures, which are no scans."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from volseg.files import CURVES_FILE, MANIFEST_FILE, METRICS_FILE, SAMPLES_FILE

#: Pictures that commands draw, each with a file that the command writes beside it.
PICTURES = {
    CURVES_FILE: METRICS_FILE,
    SAMPLES_FILE: "scores.json",
    "comparison.png": "comparison.md",
}


def written_by_volseg(folder: Path, files: Collection[str]) -> set[str]:
    """Names of the files and folders in `folder` that `infer`, `fit` and the others wrote there.

    Args:
        folder: Any folder.
        files: Names of the files in it.
    """
    written = {picture for picture, beside in PICTURES.items() if {picture, beside} <= set(files)}
    return written | (_results(folder / MANIFEST_FILE) if MANIFEST_FILE in files else set())


def _results(manifest: Path) -> set[str]:
    """The manifest of `infer` and what it tells of."""
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
        records = content["cases"].values()
        results = {name for one in records for name in (one["output"], *one["probabilities"])}
    # Other programs have manifests too.
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return set()
    return {MANIFEST_FILE, *results}
