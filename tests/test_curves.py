from __future__ import annotations

import logging

import pytest
from matplotlib.colors import to_hex
from matplotlib.image import imread

from volseg.figures.colours import REGION_COLOURS
from volseg.figures.curves import curves
from volseg.runs.metrics_table import best_row, read_metrics
from volseg.training.curves import draw_curves

ROWS = [
    {"epoch": "1", "train/loss": "1.0", "train/dice/WT": "0.2", "train/dice/ET": "0.1"},
    {
        "epoch": "2",
        "train/loss": "0.5",
        "val/loss": "0.7",
        "train/dice/WT": "0.4",
        "train/dice/ET": "0.3",
        "val/dice/WT": "0.6",
        "val/dice/ET": "0.5",
        "val/dice/mean": "0.55",
        "val/iou/WT": "0.4",
    },
    {"epoch": "3", "train/loss": "0.4", "val/loss": "", "val/dice/WT": "", "train/dice/WT": "0.5"},
]


def lines(panel):
    return {
        line.get_label(): (line.get_xdata().tolist(), line.get_ydata().tolist())
        for line in panel.lines
        if "epoch" not in line.get_label()
    }


def test_curves_run_over_epochs_from_1_and_leave_out_what_was_not_measured():
    loss, dice, iou = curves(ROWS, "run").axes

    assert lines(loss) == {
        "training": ([1, 2, 3], [1.0, 0.5, 0.4]),
        "validation": ([2], [0.7]),
    }
    assert lines(dice) == {
        "training WT": ([1, 2, 3], [0.2, 0.4, 0.5]),
        "training ET": ([1, 2], [0.1, 0.3]),
        "validation WT": ([2], [0.6]),
        "validation ET": ([2], [0.5]),
    }
    assert lines(iou) == {"validation WT": ([2], [0.4])}
    assert [panel.get_title() for panel in (loss, dice, iou)] == ["loss", "Dice", "IoU"]
    assert [panel.get_xlim() for panel in (loss, dice, iou)] == [(0.5, 3.5)] * 3


def test_regions_have_their_colours_and_training_is_dashed():
    dice = curves(ROWS, "run").axes[1]

    drawn = {
        line.get_label(): (to_hex(line.get_color()), line.get_linestyle()) for line in dice.lines
    }
    assert drawn["training WT"] == (REGION_COLOURS["WT"].lower(), "--")
    assert drawn["validation WT"] == (REGION_COLOURS["WT"].lower(), "-")
    assert drawn["validation ET"] == (REGION_COLOURS["ET"].lower(), "-")


def test_the_epoch_of_the_kept_model_is_marked_in_every_panel():
    figure = curves(ROWS, "run", kept_epoch=2)

    for panel in figure.axes:
        (mark,) = [line for line in panel.lines if "epoch" in line.get_label()]
        assert mark.get_xdata() == [2, 2]
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words.count("kept model (epoch 2)") == 1
    assert words.count("training WT") == 1


def test_the_kept_epoch_is_the_first_with_the_highest_mean_dice():
    scores = enumerate(("", "0.7", "0.7"), start=1)
    rows = [{"epoch": str(n), "val/dice/mean": dice} for n, dice in scores]

    assert best_row(rows) == {"epoch": "2", "val/dice/mean": "0.7"}
    assert best_row(rows[:1]) is None


def write(folder, text):
    (folder / "metrics.csv").write_text(text)


def test_curves_of_a_run_without_validation_mark_the_last_epoch(tmp_path, monkeypatch):
    write(tmp_path, "epoch,train/loss\n1,1.0\n2,0.5\n")
    marked = []

    def noted(rows, title, kept_epoch):
        marked.append((title, kept_epoch))
        return curves(rows, title, kept_epoch)

    monkeypatch.setattr("volseg.training.curves.curves", noted)
    draw_curves(tmp_path)

    assert marked == [(tmp_path.name, 2)]
    assert imread(tmp_path / "curves.png").shape[:2] == (420, 1300)


def test_without_a_finished_epoch_there_is_nothing_to_draw(tmp_path):
    draw_curves(tmp_path)

    assert read_metrics(tmp_path / "metrics.csv") == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["epoch,train/loss\nnone,1.0\n", "epoch,train/loss\n0,much\n"])
def test_curves_that_cannot_be_drawn_are_logged_and_stop_nothing(tmp_path, caplog, text):
    write(tmp_path, text)

    with caplog.at_level(logging.WARNING):
        draw_curves(tmp_path)

    assert f"{tmp_path / 'curves.png'} was not drawn" in caplog.text
