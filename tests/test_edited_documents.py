"""A scores.json or manifest.json in which a value was edited is read right or refused."""

from __future__ import annotations

import copy
import json
import os
import warnings
from contextlib import suppress
from pathlib import Path
from random import Random

import numpy as np
import pytest
from nifti_files import save

from volseg.comparison.scored_run import read_run
from volseg.errors import DataListError, VolsegError
from volseg.evaluation.summary import results_summary, scores_summary
from volseg.reporting.build import build_report
from volseg.reporting.pages import write_report
from volseg.reporting.results import read_results
from volseg.tasks.evaluate import evaluate

GONE = object()
VALUES = ("word", -1, 1e300, None, [], {}, [1], {"a": 1}, True, [True], 10**15, GONE)
# Edits of each document that are tried; with 2000, the tests take a minute.
EDITS = int(os.environ.get("VOLSEG_EDITS", "150"))
MEASURES = {
    "voxels": 8,
    "volume_ml": 0.008,
    "n_lesions": 1,
    "section": {"pixels": 4, "area_mm2": 4.0, "slice_number": 2},
    "diameter": {"longest_mm": 2.0, "perpendicular_mm": 1.0, "slice_number": 2},
}
RESULT = {
    "inputs": {"t1c": "t1c.nii.gz"},
    "output": "a.nii.gz",
    "models": ["0" * 64],
    "settings": {"tta": True},
    "resolved": [{"tta": True}],
    "missing_channels": ["t1n"],
    "notes": ["orientation assumed"],
    "measures": {"WT": MEASURES},
}
MANIFEST = {
    "volseg": "0.1.0",
    "models": [{"path": "model.safetensors", "sha256": "0" * 64}],
    "labels": {"name": "brats2023"},
    "doubts": ["trained on two cases"],
    "failures": {"c": "t1c is empty"},
    "skipped": [{"path": "x.nii.gz", "reason": "no channel"}],
    "cases": {"a": RESULT, "b": RESULT},
}


def places(value, place=()):
    """Places of all values in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, of in inner:
        yield (*place, key)
        if isinstance(of, dict | list):
            yield from places(of, (*place, key))


def edits(document):
    """Documents with one value edited, in an order that is the same each time."""
    wanted = [(place, value) for place in places(document) for value in VALUES]
    Random(13).shuffle(wanted)
    for place, value in wanted[:EDITS]:
        edited = copy.deepcopy(document)
        holder = edited
        for key in place[:-1]:
            holder = holder[key]
        if value is GONE:
            del holder[place[-1]]
        else:
            holder[place[-1]] = value
        yield place, value, edited


def check_edits(path: Path, document, readers):
    """Read each edited document; it fails in one sentence, if at all."""
    crashes = []
    for place, value, edited in edits(document):
        path.write_text(json.dumps(edited))
        for read in readers:
            try:
                with suppress(VolsegError), warnings.catch_warnings():
                    warnings.simplefilter("error")
                    read()
            except Exception as error:
                crashes.append(f"{'.'.join(map(str, place))} {value!r}: {error!r}")
    assert not crashes, "\n".join(crashes)


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    """Scores of two cases and a missing one, with slices and official scores."""
    root = tmp_path_factory.mktemp("edited")
    for folder, moved in (("reference", 0), ("predictions", 1)):
        (root / folder).mkdir()
        for case_id in "abc"[: 3 - moved]:
            label_map = np.zeros((8, 8, 4), np.uint8)
            label_map[2 + moved : 5 + moved, 2:5, 1:3] = 3
            label_map[7, 7, 3 * moved] = 1
            save(root / folder / f"{case_id}.nii.gz", label_map, np.eye(4))
    evaluate(
        root / "predictions",
        root / "reference",
        root / "scores",
        labels="brats2023",
        reference_labels="brats2023",
        slices=True,
        protocols=["brats2023-gli"],
    )
    return json.loads((root / "scores" / "scores.json").read_text())


def test_an_edited_value_of_scores_is_read_right_or_refused_in_a_sentence(document, tmp_path):
    path = tmp_path / "scores.json"

    def report():
        write_report(tmp_path / "report.html", build_report(read_results(tmp_path), 1))

    check_edits(
        path,
        document,
        (report, lambda: scores_summary(path), lambda: read_run(tmp_path, "a")),
    )


def test_an_edited_value_of_a_manifest_is_read_right_or_refused_in_a_sentence(tmp_path):
    path = tmp_path / "manifest.json"

    def report():
        write_report(tmp_path / "report.html", build_report(read_results(tmp_path), 1))

    check_edits(path, MANIFEST, (report, lambda: results_summary(path)))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("summary", "TC", "iou"), "word"),
        (("summary", "TC", "dice", "interval"), [1]),
        (("protocols", "brats2023-gli", "summary", "WT"), {}),
        (("cases", "a", "regions", "WT", "hd95_mm"), 1e300),
        (("cases", "a", "regions", "WT", "volume_ml"), "word"),
        (("failures",), []),
        (("reference_labels",), True),
        (("definitions",), [1]),
        (("notes",), {"a": 1}),
        (("versions",), {"python": "3.12"}),
    ],
)
def test_the_entry_that_was_edited_is_named(document, tmp_path, place, value):
    edited = copy.deepcopy(document)
    holder = edited
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    (tmp_path / "scores.json").write_text(json.dumps(edited))

    with pytest.raises(DataListError, match="is not as volseg writes it") as error:
        read_results(tmp_path)
    assert ".".join(place) in str(error.value)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("doubts",), 5),
        (("cases", "a", "resolved"), 5),
        (("cases", "a", "notes"), 5),
        (("cases", "a", "measures", "WT", "volume_ml"), 1e300),
    ],
)
def test_the_entry_of_a_manifest_that_was_edited_is_named(tmp_path, place, value):
    edited = copy.deepcopy(MANIFEST)
    holder = edited
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    (tmp_path / "manifest.json").write_text(json.dumps(edited))

    with pytest.raises(DataListError, match="is no manifest of volseg") as error:
        read_results(tmp_path)
    assert ".".join(place) in str(error.value)
