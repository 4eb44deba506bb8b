"""What volseg itself wrote into a folder: results and pictures, which are no scans."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from volseg.datalist.manifests import is_manifest, read_manifests, unite
from volseg.ownership import PICTURES


def written_by_volseg(folder: Path, files: Collection[str]) -> set[str]:
    """Names of the files and folders in `folder` that `infer`, `fit` and the others wrote there.

    Args:
        folder: Any folder.
        files: Names of the files in it.
    """
    written = {picture for picture, beside in PICTURES.items() if {picture, beside} <= set(files)}
    manifests = set(filter(is_manifest, files))
    return written | (_results(folder, manifests) if manifests else set())


def _results(folder: Path, manifests: set[str]) -> set[str]:
    """The manifests of `infer` and what they tell of."""
    try:
        united = unite(read_manifests(folder))
        records = united["cases"].values()
        results = {name for one in records for name in (one["output"], *one["probabilities"])}
        results |= {*united.get("begun", {}).values()}
    # Other programs have manifests too.
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return set()
    return manifests | results
