"""Names of the logged numbers in TensorBoard, grouped by their kind."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger

from volseg.metrics import COUNTED_SCORES, get_score
from volseg.training.module import SLICE_SCORES, TRAINING_SCORES

#: Steps between two points of the loss curve.
STEPS_BETWEEN_LOSSES = 10

_CARDS = {
    "train/loss_step": "loss/step",
    "train/loss_epoch": "loss/train",
    "val/loss": "loss/validation",
    "train/patches_per_second": "speed/patches_per_second",
    "train/data_wait_share": "speed/data_wait_share",
}


def layout(regions: Sequence[str], *, by_slice: bool = False) -> dict[str, dict[str, list[Any]]]:
    """Charts of the tab "custom scalars", each with the curves of all regions, and one of losses.

    >>> layout(["WT"])["by region"]["Dice"]
    ['Multiline', ['dice/WT$', 'dice/mean$']]
    """
    names = [*map(re.escape, regions), "mean"]
    groups = {score.title: score.name for score in COUNTED_SCORES}
    for name in TRAINING_SCORES:
        groups[f"{get_score(name).title} of patches"] = f"{name}_of_patches"
    if by_slice:
        groups |= {name.replace("_", " "): name for name in SLICE_SCORES}
    by_region = {
        title: ["Multiline", [f"{group}/{name}$" for name in names]]
        for title, group in groups.items()
    }
    loss = ["Multiline", [f"{_CARDS[name]}$" for name in ("train/loss_epoch", "val/loss")]]
    return {"by region": by_region, "loss": {"loss": loss}}


class CardLogger(TensorBoardLogger):
    """TensorBoard logger that logs each number under the name of its card."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        # Lightning adds the epoch, counted from 0, to each set of numbers.
        cards = {card(name): value for name, value in metrics.items() if name != "epoch"}
        super().log_metrics(cards, step)


def card(name: str) -> str:
    """Group and name of the card of a logged number.

    >>> card("val/dice/WT"), card("train/dice/WT"), card("train/loss_epoch")
    ('dice/WT', 'dice_of_patches/WT', 'loss/train')
    >>> card("lr-AdamW")
    'training/learning_rate'
    """
    side, _, score = name.partition("/")
    if name in _CARDS:
        return _CARDS[name]
    if side == "val":
        return score
    if side == "train":
        kind, _, region = score.partition("/")
        return f"{kind}_of_patches/{region}"
    return "training/learning_rate" if name.startswith("lr-") else f"training/{name}"
