"""The Lightning module: one training step, one validated case, optimizer and schedule."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from volseg.config import ExperimentConfig, TrainingConfig
from volseg.inference import on_scan_grid, segment
from volseg.losses import build_loss
from volseg.metrics import ScoreRow, ScoreTable, region_overlaps
from volseg.networks import build_network
from volseg.overlay import figure_array, montage
from volseg.postprocess import decode
from volseg.training.cache import CachedCase, read_masks
from volseg.training.datamodule import masks_of

#: Name of the score that chooses the best epoch.
BEST_SCORE = "val/dice/mean"
SCORES = ("dice", "iou", "precision", "recall")


class SegmentationModule(pl.LightningModule):
    """Trains a network on patches; validates it on whole cases, on the grid of their files.

    Args:
        config: The experiment.
        pictures: Case ids of validation cases that are drawn for TensorBoard.
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
            # Else several GPUs would wait for gradients that never come.
            self.averaged.requires_grad_(False)
        self.rows: list[ScoreRow] = []
        self.table = ScoreTable()
        self.losses: dict[str, float] = {}

    @property
    def best_network(self) -> nn.Module:
        """The network to validate and to keep: the averaged one where there is one."""
        return self.network if self.averaged is None else self.averaged.module

    def training_step(self, batch: dict[str, torch.Tensor], batch_index: int) -> torch.Tensor:
        loss: torch.Tensor = self.loss(self.network(batch["image"]), batch["mask"])
        self.log("train/loss", loss, on_step=True, on_epoch=True, batch_size=len(batch["image"]))
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.averaged is not None:
            self.averaged.update_parameters(self.network)

    def on_validation_epoch_start(self) -> None:
        self.rows, self.losses = [], {}

    def validation_step(self, batch: CachedCase, batch_index: int) -> None:
        image = np.asarray(batch.image)
        network = self.best_network
        probabilities = segment(network, image, self.config, device=self.device)
        self.losses[batch.case.case_id] = self._case_loss(probabilities, batch)
        original = on_scan_grid(probabilities, batch.affine, batch.grid).numpy()
        masks = self._decoded(original, batch.grid.voxel_ml)
        reference = read_masks(batch.case, self.config)
        prediction = np.stack([masks[region] for region in self.regions])
        overlaps = region_overlaps(prediction, reference, self.regions)
        self.rows += [
            ScoreRow.of(batch.case.case_id, region, overlap, batch.grid.voxel_ml)
            for region, overlap in overlaps.items()
        ]
        if batch.case.case_id in self.pictures:
            self._draw(batch, probabilities.cpu().numpy())

    def _decoded(self, probabilities: np.ndarray, voxel_ml: float) -> dict[str, np.ndarray]:
        """Masks as `infer` would write them."""
        options = self.config.inference
        return decode(
            probabilities,
            self.config.labels,
            threshold=options.threshold,
            min_component_mm3=options.min_component_mm3,
            voxel_mm3=voxel_ml * 1000,
        )

    def _case_loss(self, probabilities: torch.Tensor, batch: CachedCase) -> float:
        """Loss on the whole case, at the spacing of the network."""
        logits = torch.logit(probabilities, eps=1e-6)[None]
        mask = torch.from_numpy(masks_of(batch.bits, len(self.regions)).astype(np.float32))[None]
        return float(self.loss(logits, mask.to(logits.device)))

    def on_validation_epoch_end(self) -> None:
        gathered = [(self.rows, self.losses)]
        if self.trainer.world_size > 1:
            gathered *= self.trainer.world_size
            torch.distributed.all_gather_object(gathered, (self.rows, self.losses))
        self.table = ScoreTable.of(row for rows, _ in gathered for row in rows)
        losses = {case: loss for _, part in gathered for case, loss in part.items()}
        self.log("val/loss", float(np.mean(list(losses.values()))))
        for score in SCORES:
            means = self.table.means(score)
            means["mean"] = float(np.mean(list(means.values())))
            for region, value in means.items():
                # Equal on all ranks already, being computed from the gathered rows.
                self.log(f"val/{score}/{region}", value)

    def _draw(self, batch: CachedCase, probabilities: np.ndarray) -> None:
        board = next((x for x in self.loggers if isinstance(x, TensorBoardLogger)), None)
        if board is None:
            return
        images = dict(zip(self.config.data.channels, np.asarray(batch.image), strict=True))
        reference = dict(zip(self.regions, masks_of(batch.bits, len(self.regions)), strict=True))
        voxel_ml = abs(np.linalg.det(batch.affine[:3, :3])) / 1000
        predicted = self._decoded(probabilities, voxel_ml)
        figure = montage(images, reference, predicted, title=batch.case.case_id, slices=2)
        board.experiment.add_image(
            f"cases/{batch.case.case_id}",
            figure_array(figure),
            global_step=self.global_step,
            dataformats="HWC",
        )

    def configure_optimizers(self) -> dict[str, Any]:
        options = self.config.training
        optimizer: torch.optim.Optimizer
        if options.optimizer == "adamw":
            optimizer = torch.optim.AdamW(
                self.network.parameters(),
                lr=options.learning_rate,
                weight_decay=options.weight_decay,
            )
        else:
            optimizer = torch.optim.SGD(
                self.network.parameters(),
                lr=options.learning_rate,
                momentum=options.momentum,
                nesterov=options.momentum > 0,
                weight_decay=options.weight_decay,
            )
        steps = self.config.data.batches_per_epoch
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: rate_factor(step, steps, options)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }


def rate_factor(step: int, steps_per_epoch: int, options: TrainingConfig) -> float:
    """Learning rate at a step as a share of the configured one.

    A linear warm-up, then a decay over what is left: half a cosine, or `(1 - t) ** 0.9` as
    nnU-Net has it, or none.
    """
    total = options.max_epochs * steps_per_epoch
    warmup = min(round(options.warmup_epochs * steps_per_epoch), total - 1)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = min(1.0, (step - warmup) / (total - warmup))
    if options.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    if options.schedule == "poly":
        return (1 - done) ** 0.9
    return 1.0
