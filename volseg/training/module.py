"""The Lightning module: one training step, one validated case, optimizer and schedule."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import distributed, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from volseg import signals
from volseg.compat.lightning import data_of
from volseg.config import ExperimentConfig
from volseg.figures.figure_files import figure_array
from volseg.figures.montage import gallery
from volseg.inference.windows import on_scan_grid, segment
from volseg.losses import build_loss
from volseg.metrics import COUNTED_SCORES, ScoreTable, SliceTable
from volseg.networks import build_network, load_encoder_weights
from volseg.runs.metrics_table import LOSS
from volseg.training.batches import unpacked_masks
from volseg.training.cache.cases import CachedCase
from volseg.training.case_views import cached_view
from volseg.training.epoch_sums import EpochSums
from volseg.training.optimizer import build_optimizer, changes
from volseg.training.scoring import CaseScores, Scorer, score_case, scored_box, scoring_threads

logger = logging.getLogger(__name__)

#: Scores of validation cases.
SCORES = tuple(score.name for score in COUNTED_SCORES)
#: Scores of the patches of an epoch.
TRAINING_SCORES = ("dice", "iou")
#: Scores of slices for a 2D network: logged name, and kind in the summary of a `SliceTable`.
SLICE_SCORES = {"tumour_slice_dice": "tumour_slices", "all_slice_dice": "all_slices"}


class SegmentationModule(pl.LightningModule):
    """Trains a network on patches; validates it on whole cases, on the grid of their files.

    Args:
        config: The experiment.
        pictures: Ids of validation cases that are drawn for TensorBoard.
    """

    def __init__(self, config: ExperimentConfig, pictures: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.config = config
        self.pictures = pictures
        self.regions = tuple(config.labels.regions)
        self.network = build_network(
            config.network, len(config.data.channels), len(self.regions), config.data.patch_size
        )
        self.loss = build_loss(config.loss)
        # Lightning's `WeightAveraging` gives the same numbers, but swaps the weights during a
        # validation: a checkpoint saved then after a signal would hold the averages in place of
        # the weights to resume with.
        self.averaged = (
            AveragedModel(
                self.network,
                multi_avg_fn=get_ema_multi_avg_fn(config.training.ema),
                use_buffers=True,  # those of batch norm
            )
            if config.training.ema
            else None
        )
        if self.averaged is not None:
            # Otherwise several GPUs would wait for gradients that are never computed.
            self.averaged.requires_grad_(False)
        #: Whether a step was taken; a finished run that is resumed takes none.
        self.trained = False
        thresholds = [config.inference.threshold_of(region) for region in self.regions]
        self.sums = EpochSums(self.regions, thresholds)
        self.scorer = Scorer(1)
        # Results of all ranks after a validation.
        self.losses: dict[str, float] = {}
        self.table, self.slices = ScoreTable(), SliceTable()

    @property
    def best_network(self) -> nn.Module:
        """The network to validate and to save: the averaged one if weights are averaged."""
        return self.network if self.averaged is None else self.averaged.module

    def training_step(self, batch: dict[str, torch.Tensor], batch_index: int) -> torch.Tensor:
        # Random numbers of a step, such as for dropout, depend on seed, step and rank alone, so a
        # resumed run draws the same numbers as a run that never stopped.
        self.trained = True
        place = [self.config.training.seed, self.global_step, self.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))
        logits = self.network(batch["image"])
        loss: torch.Tensor = self.loss(logits, batch["mask"])
        self.log("train/loss_step", loss)
        finest = logits if torch.is_tensor(logits) else logits[0]
        self.sums.add(finest, batch["mask"], loss.detach())
        return loss

    def move_average(self) -> None:
        """Update the averaged weights, if any, with the weights of the network."""
        if self.averaged is not None:
            self.averaged.update_parameters(self.network)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["epoch_sums"] = self.sums.of_all_ranks(self.trainer.strategy).state_dict()
        checkpoint["processes"] = self.trainer.world_size
        checkpoint["max_epochs"] = self.config.training.max_epochs

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.global_rank > 0:
            return
        self.sums.load_state_dict(checkpoint["epoch_sums"])
        for change in changes(checkpoint, self.config, self.trainer.world_size):
            logger.warning("%s", change)

    def on_validation_epoch_start(self) -> None:
        # `num_devices` counts the devices of this node.
        self.scorer.close()
        self.scorer = Scorer(scoring_threads(self.trainer.num_devices))
        self.losses = {}
        # Weights are equal on all ranks, but running statistics of batch norm are not.
        if self.trainer.world_size > 1:
            for buffer in self.best_network.buffers():
                distributed.broadcast(buffer, src=0)

    def validation_step(self, batch: CachedCase | None, batch_index: int) -> None:
        # A rank without a case gets None; after a signal, scores would be discarded.
        if batch is None or signals.received() is not None:
            return
        probabilities = self._segmented(batch)
        self.losses[batch.case.case_id] = self._case_loss(probabilities, batch)
        self.scorer.give(self._scoring(probabilities, batch))
        if batch.case.case_id in self.pictures:
            self._draw(batch, probabilities.cpu().numpy())

    def _segmented(self, case: CachedCase) -> torch.Tensor:
        image = np.asarray(case.image)
        return segment(self.best_network, image, self.config, device=self.device)

    def _scoring(self, probabilities: torch.Tensor, case: CachedCase) -> Callable[[], CaseScores]:
        """Function that computes the scores of a case on the CPU."""
        box = scored_box(case, self.config)
        on_scan = on_scan_grid(probabilities, case.image_grid, case.scan_grid, box).numpy()
        return partial(score_case, case, on_scan, box, self.config)

    def _case_loss(self, probabilities: torch.Tensor, batch: CachedCase) -> float:
        """Loss on the whole case, at the spacing of the network."""
        logits = torch.logit(probabilities, eps=1e-6)[None]
        bits = torch.from_numpy(batch.bits).to(logits.device)
        return float(self.loss(logits, unpacked_masks(bits, len(self.regions))[None]))

    def on_validation_epoch_end(self) -> None:
        own = self.scorer.take(), self.losses
        gathered = [own]
        if self.trainer.world_size > 1:
            gathered *= self.trainer.world_size
            distributed.all_gather_object(gathered, own)
        losses = {case: loss for _, part in gathered for case, loss in part.items()}
        # Sorted in the order of the cases, for any number of ranks.
        data = data_of(self.trainer)
        place = {case.case.case_id: number for number, case in enumerate(data.validation)}
        self.losses = {case: losses[case] for case in sorted(losses, key=place.__getitem__)}
        scores = [of_case for found, _ in gathered for of_case in found]
        rows = [row for of_case in scores for row in of_case.rows]
        self.table = ScoreTable.of(sorted(rows, key=lambda row: place[row.case_id]))
        slices = [row for of_case in scores for row in of_case.slices]
        self.slices = SliceTable.of(sorted(slices, key=lambda row: place[row.case_id]))
        # Logged without reduction, since every rank has gathered the same results.
        self.log(LOSS, float(np.mean(list(self.losses.values()))))
        for score in SCORES:
            self.log_by_region(f"val/{score}", self.table.means(score))
        summary = self.slices.summary()
        for score, kind in SLICE_SCORES.items():
            means = {region: summary[region][kind]["dice"] for region in summary}
            # A region without a voxel in any reference has no mean over tumour slices.
            self.log_by_region(
                f"val/{score}", {r: value for r, value in means.items() if value is not None}
            )

    def log_by_region(self, name: str, values: Mapping[str, float]) -> None:
        """Log `<name>/<region>` for each region, and their mean as `<name>/mean`."""
        for region, value in values.items():
            self.log(f"{name}/{region}", value)
        if values:
            self.log(f"{name}/mean", float(np.mean(list(values.values()))))

    def _draw(self, batch: CachedCase, probabilities: npt.NDArray[np.float32]) -> None:
        figure = gallery([cached_view(batch, probabilities, self.config)], "Validation", slices=2)
        self.show(f"cases/{batch.case.case_id}", figure_array(figure))

    def show(self, name: str, picture: npt.NDArray[np.uint8]) -> None:
        """Show a picture (H, W, 3) in TensorBoard, if there is a log."""
        for board in self.loggers:
            if isinstance(board, TensorBoardLogger):
                board.experiment.add_image(
                    name, picture, global_step=self.global_step, dataformats="HWC"
                )

    @torch.no_grad()
    def seconds_of_case(self, case: CachedCase) -> float:
        """Seconds that a validation takes for a case; on a GPU, scores are computed in parallel.

        No result is recorded. The first call in a process takes longer than later ones.
        """
        training = self.training
        self.eval()
        start = time.perf_counter()
        probabilities = self._segmented(case)
        self._case_loss(probabilities, case)
        score = self._scoring(probabilities, case)
        segmented = time.perf_counter()
        score()
        end = time.perf_counter()
        self.train(training)
        beside = self.device.type != "cpu"
        return max(segmented - start, end - segmented) if beside else end - start

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        return build_optimizer(self.network, self.config)


def new_module(config: ExperimentConfig, *, resume: bool = False) -> SegmentationModule:
    """The module of an experiment, with the encoder weights that the config names.

    Args:
        config: The experiment.
        resume: Whether the weights of a checkpoint follow, so that no encoder weights are read.

    Raises:
        ConfigError: If the network needs a package that is not installed.
        ModelError: If the weights for the encoder cannot be used.
    """
    module = SegmentationModule(config)
    weights: Path | None = getattr(config.network, "encoder_weights", None)
    if weights is not None and not resume:
        load_encoder_weights(module.network, weights)
    return module
