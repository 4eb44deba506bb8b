"""Each layout of the list is found by the files of its example."""

from __future__ import annotations

import json

import pytest

from volseg.cases.layouts import DATA_LIST, LAYOUTS, MSD, NNUNET, layout_of
from volseg.finding.folders import find_cases
from volseg.labels import LABEL_SCHEMES

DESCRIBED = {
    MSD: {"modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}},
    NNUNET: {"channel_names": {"0": "flair", "1": "t1c"}, "file_ending": ".nii.gz"},
}


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_the_example_of_a_layout_is_one_case_in_it(tmp_path, layout):
    for name in layout.paths:
        path = tmp_path / "scans" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(DESCRIBED[layout]) if name.endswith(".json") else "")
    required = ("t2f", "t1c") if layout is NNUNET else None

    found = find_cases([tmp_path / "scans"], required, required)

    assert (found.layouts, found.skipped) == ({layout.name: 1}, ())
    (case,) = found.cases
    assert case.patient_id == layout.example_patient
    assert bool(case.label) == (layout.name != "2D images")


@pytest.mark.parametrize("layout", [*LAYOUTS, DATA_LIST], ids=str)
def test_a_layout_names_label_schemes_that_exist(layout):
    assert set(layout.schemes) <= LABEL_SCHEMES.keys()
    assert len(layout.schemes) <= 2


def test_a_task_of_brats_that_is_not_listed_has_a_layout_of_its_name():
    layout = layout_of("brats-goat-00001")

    assert (layout.name, layout.schemes) == ("BraTS-GOAT", ())
