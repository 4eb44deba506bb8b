"""Picture of the worst case of the last validation, in the run folder and in TensorBoard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from volseg import signals
from volseg.compat.lightning import data_of
from volseg.config import ExperimentConfig
from volseg.figures.figure_files import figure_array, optional_picture, save_figure
from volseg.figures.samples import Sample, choose_samples, dice_by_case, sample_grid
from volseg.files.writing import WORST_FILE, remove
from volseg.training.case_views import segmented_view
from volseg.training.module import SegmentationModule


class WorstCase(Callback):
    """Draws the case with the lowest mean Dice over regions, once the training has ended.

    Only rank 0 draws; it segments the case again, with the weights of the last validation, so that
    no validation has to keep predictions. An error is logged, and the run does not fail.

    Args:
        run: Folder of the run.
        config: The experiment.
    """

    def __init__(self, run: Path, config: ExperimentConfig) -> None:
        self.picture = run / WORST_FILE
        self.config = config
        # Epoch of the last validation, counted from 1.
        self.epoch = 0

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.epoch = trainer.current_epoch + 1

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SegmentationModule)
        # After a signal, time is short, and the run will be resumed.
        if trainer.is_global_zero and pl_module.table.rows and not signals.received():
            with optional_picture(self.picture):
                self._draw(trainer, pl_module)

    def _draw(self, trainer: pl.Trainer, module: SegmentationModule) -> None:
        remove(self.picture)
        dice = dice_by_case(module.table)
        *_, name = choose_samples(dice).values()
        cases = {case.case.case_id: case for case in data_of(trainer).validation}
        module.eval()
        view = segmented_view(cases[name], module.best_network, self.config, module.device)
        mean = float(np.mean(list(dice[name].values())))
        title = f"Worst case of the last validation, epoch {self.epoch}: mean Dice {mean:.3f}"
        figure = sample_grid([Sample("worst", view, dice[name])], title)
        save_figure(figure, self.picture)
        module.show(f"worst_case/{name}", figure_array(figure))
