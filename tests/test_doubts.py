"""Scores that say less than they seem to are told of in words."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from score_rows import scored_row
from tiny_models import tiny_config

from volseg.confidence.case_profile import CaseProfile
from volseg.metrics import Overlap, ScoreRow, ScoreTable
from volseg.metrics.doubts import doubts
from volseg.model_file import load_model
from volseg.networks import build_network
from volseg.training.callbacks import KeepBestModel

FOUND, MISSED, ALARM, EMPTY = Overlap(8, 1, 1), Overlap(0, 0, 9), Overlap(0, 9, 0), Overlap(0, 0, 0)
BESIDE = Overlap(0, 5, 9)


def table(*overlaps, failed=0):
    rows = [scored_row(f"c{n}", "ET", overlap, None) for n, overlap in enumerate(overlaps)]
    return ScoreTable.of(rows + [ScoreRow(f"f{n}", "ET", status="failed") for n in range(failed)])


@pytest.mark.parametrize(
    ("overlaps", "said"),
    [
        ([FOUND, MISSED, ALARM], None),
        ([FOUND, FOUND, EMPTY], None),
        ([], None),
        ([MISSED, MISSED], "ET is in no prediction, but in the reference of 2 of 2 cases"),
        (
            [MISSED, BESIDE],
            "only in other places; no voxel agrees with the reference of any of the 2 cases with",
        ),
        (
            [MISSED, ALARM],
            "only in cases without ET; no voxel agrees with the reference of the case with ET",
        ),
        (
            [MISSED, EMPTY, EMPTY],
            "1 of 3 cases; 2 of 3 cases have no ET in reference and prediction and count as 1",
        ),
        ([EMPTY, EMPTY], "ET is in no reference of 2 cases; its scores only count the cases "),
        ([EMPTY, ALARM], "the cases without predicted ET: 1"),
        ([FOUND, EMPTY], "count as 1; the mean Dice of the cases with ET is 0.889"),
    ],
)
def test_a_region_with_a_misleading_mean(overlaps, said):
    found = doubts(table(*overlaps, failed=2))

    assert (found == ()) if said is None else (said in found[0] and len(found) == 1)


def test_a_model_keeps_what_its_mean_hides(tmp_path):
    """Of three cases one has no ET: a model that finds nothing of it has a mean of 0.333."""
    path = tmp_path / "model.safetensors"
    config = tiny_config()
    network = build_network(config.network, 4, 3, (16, 16, 16))
    trainer = SimpleNamespace(
        callback_metrics={"val/dice/ET": torch.tensor(1 / 3)},
        current_epoch=0,
        datamodule=SimpleNamespace(training=[SimpleNamespace(profile=CaseProfile())]),
    )
    module = SimpleNamespace(table=table(MISSED, MISSED, EMPTY), best_network=network)

    KeepBestModel(tmp_path, config)._write_model(trainer, module)

    (doubt,) = load_model(path).doubts
    assert doubt.startswith("showed in the validation of its training: ET is in no prediction, ")
    module.table = table(FOUND, FOUND, EMPTY)
    KeepBestModel(tmp_path, config)._write_model(trainer, module)
    assert load_model(path).doubts == ()
    assert "doubts" not in load_model(path).scores
