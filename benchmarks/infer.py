"""Segmenting a folder: `volseg infer` beside `nnUNetv2_predict` and MONAI's bundle way.

    python benchmarks/infer.py [CASE_FOLDERS] [--model MODEL] [--rounds 3] [--window 128 128 128]

All sides have the same network, weights, window, overlap and Gaussian blending, no mirrored copies,
on the CPU with all its cores. A round runs each program once over all cases, start included. Beside
the seconds it prints the most memory that the processes of a side held together, the seconds until
the network saw the first window, and in how many voxels the label maps agree.

MODEL is a volseg model with the network `unet` at 1 mm; without one, a small network is trained on
phantoms first. The U-Net of nnU-Net is replaced by that of the model, with its axes turned.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import peers
import torch
from side_by_side import HERE, Cost, in_turn, machine, median, options, print_table, ratios, run

from volseg.cases.case import Case
from volseg.config import load_config
from volseg.finding.folders import find_cases
from volseg.inference.windows import cpu_computes_in_bf16
from volseg.labels import get_scheme
from volseg.metrics import Overlap
from volseg.model_file import Model, load_model
from volseg.phantoms.cohort import make_cohort
from volseg.tasks.fit import fit
from volseg.tasks.split import split

OURS = {
    "volseg": [],
    "volseg, bf16": ["inference.precision=bf16"],
    # A brain fits into it, so that no voxel is computed twice.
    "volseg, one window": ["inference.window_size=[160,192,160]"],
}
SIDES = (*OURS, "nnU-Net", "MONAI")
TRAINING = """\
labels: brats2023
data: {{data_list: {list}, fold: 0, spacing_mm: [{mm}, {mm}, {mm}], patch_size: {window},
  batch_size: 1, batches_per_epoch: {steps}, workers: 0, foreground_share: 0.66}}
network: {{name: unet, widths: {widths}}}
training: {{max_epochs: 1, learning_rate: 0.004}}
inference: {{window_size: {window}}}
"""


class Comparison:
    """The sides of the comparison, each ready to run.

    Args:
        cases: To segment, with four files each.
        model: The model of volseg.
        window: Voxels along I, J and K.
        scratch: Folder for everything that the sides read and write.
    """

    def __init__(
        self, cases: Sequence[Case], model: Model, window: Sequence[int], scratch: Path
    ) -> None:
        self.cases, self.model, self.window, self.scratch = cases, model, list(window), scratch
        config = model.config.network
        self.network = {
            "spatial_dims": 3,
            "channels": list(config.widths),
            "strides": [1 if config.full_resolution else 2] + [2] * (len(config.widths) - 2),
            "num_res_units": config.residual_units,
            "norm": ["INSTANCE", {"affine": True}],
        }
        self.weights = model.network.state_dict()

    def volseg(self, name: str) -> Callable[[], Cost]:
        """`volseg infer FOLDER -m MODEL`."""
        files = self.scratch / "cases"
        for case in self.cases:
            (files / case.case_id).mkdir(parents=True, exist_ok=True)
            for channel, image in zip(case.channels, case.images, strict=True):
                link = files / case.case_id / f"{case.case_id}-{channel}.nii.gz"
                if not link.exists():
                    link.symlink_to(image.absolute())
        words = ["infer", files, "-m", self.model.path, "--labels", "brats2023", "--overwrite"]
        words += ["--device", "cpu", "-o", self.scratch / name, "inference.overlap=0.5"]
        words += [f"inference.window_size={self.window}", *OURS[name]]
        return self._side(name, sys.executable, words, os.environ)

    def nnunet(self, python: str) -> Callable[[], Cost]:
        """`nnUNetv2_predict_from_modelfolder`, which is `nnUNetv2_predict` with a path."""
        model, images = self.scratch / "nnunet_model", self.scratch / "nnunet_images"
        (model / "fold_0").mkdir(parents=True)
        images.mkdir()
        for case in self.cases:
            files = dict(zip(case.channels, case.images, strict=True))
            for number, channel in enumerate(self.model.config.data.channels):
                link = images / f"{case.case_id}_{number:04d}.nii.gz"
                link.symlink_to(files[channel].absolute())
        dataset = {
            "channel_names": {str(n): c for n, c in enumerate(self.model.config.data.channels)},
            "labels": {"background": 0, "WT": [1, 2, 3], "TC": [1, 3], "ET": [3]},
            "regions_class_order": [2, 1, 3],
            "numTraining": len(self.cases),
            "file_ending": ".nii.gz",
        }
        (model / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
        (model / "plans.json").write_text(json.dumps(self._plans()), encoding="utf-8")
        torch.save(
            {
                "network_weights": {f"network.{name}": t for name, t in self.weights.items()},
                "trainer_name": "nnUNetTrainer",
                "init_args": {"configuration": "3d_fullres"},
                "inference_allowed_mirroring_axes": None,
            },
            model / "fold_0" / "checkpoint_final.pth",
        )
        words = ["-i", images, "-o", self.scratch / "nnU-Net", "-m", model, "-f", "0"]
        words += ["-step_size", "0.5", "--disable_tta", "-device", "cpu"]
        return self._side("nnU-Net", python, words, peers.environment(self.scratch / "nnunet"))

    def _plans(self) -> dict[str, Any]:
        resampling = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
        name = "resample_data_or_seg_to_shape"
        return {
            "dataset_name": "Dataset900_Comparison",
            "plans_name": "nnUNetPlans",
            "original_median_spacing_after_transp": [1.0, 1.0, 1.0],
            "original_median_shape_after_transp": [155, 240, 240],
            "image_reader_writer": "SimpleITKIO",
            "transpose_forward": [0, 1, 2],
            "transpose_backward": [0, 1, 2],
            "foreground_intensity_properties_per_channel": {str(n): {} for n in range(4)},
            "experiment_planner_used": "ExperimentPlanner",
            "label_manager": "LabelManager",
            "configurations": {
                "3d_fullres": {
                    "data_identifier": "nnUNetPlans_3d_fullres",
                    "preprocessor_name": "DefaultPreprocessor",
                    "batch_size": 2,
                    "patch_size": self.window[::-1],
                    "spacing": [1.0, 1.0, 1.0],
                    "normalization_schemes": ["ZScoreNormalization"] * 4,
                    "use_mask_for_norm": [True] * 4,
                    "resampling_fn_data": name,
                    "resampling_fn_data_kwargs": resampling,
                    "resampling_fn_seg": name,
                    "resampling_fn_seg_kwargs": {**resampling, "is_seg": True},
                    "resampling_fn_probabilities": name,
                    "resampling_fn_probabilities_kwargs": resampling,
                    "batch_dice": False,
                    "architecture": {
                        "network_class_name": "peer_network.TurnedUNet",
                        "arch_kwargs": {**self.network, "mirrored": self._mirrored()},
                        "_kw_requires_import": [],
                    },
                }
            },
        }

    def _mirrored(self) -> list[int]:
        """Axes of a batch that point away from R, A and S, the same in all cases."""
        codes = {nib.aff2axcodes(nib.load(case.images[0]).affine) for case in self.cases}
        if len(codes) != 1 or {frozenset(pair) for pair in zip(*codes, "RAS", strict=True)} - {
            frozenset(pair) for pair in ("R", "A", "S", "RL", "AP", "SI")
        }:
            raise SystemExit(f"the cases must share one orientation with axes I, J, K; got {codes}")
        return [2 + axis for axis, code in enumerate(codes.pop()) if code not in "RAS"]

    def monai(self, python: str) -> Callable[[], Cost]:
        """The steps of MONAI's bundle, in `peer_infer.py`."""
        torch.save(self.weights, self.scratch / "weights.pt")
        wanted = self.model.config.data.channels
        files = [dict(zip(case.channels, case.images, strict=True)) for case in self.cases]
        job = {
            "network": {**self.network, "in_channels": len(wanted), "out_channels": 3},
            "weights": str(self.scratch / "weights.pt"),
            "cases": [[str(of[channel]) for channel in wanted] for of in files],
            "window": self.window,
            "overlap": 0.5,
            "values": [2, 1, 3],
            "output": str(self.scratch / "MONAI"),
        }
        path = self.scratch / "job.json"
        path.write_text(json.dumps(job), encoding="utf-8")
        command = [python, str(HERE / "peer_infer.py"), str(path)]
        return lambda: run(command, self.scratch / "MONAI.log", {**os.environ, "PYTHONPATH": ""})

    def _side(
        self, name: str, python: str, words: Sequence[object], env: Mapping[str, str]
    ) -> Callable[[], Cost]:
        program = "volseg" if name in OURS else "nnunet"
        first = self.scratch / f"{name}.first"
        command = [python, HERE / "first_window.py", first, program, *words]
        return lambda: run([str(word) for word in command], self.scratch / f"{name}.log", env)

    def dice(self, side: str) -> str:
        """Mean Dice of each region over the cases that have a label map."""
        found = []
        for case in self.cases:
            if case.label:
                reference = case.read_reference()[0].copy()
                reference[reference == 4] = 3
                scheme = get_scheme("brats2023")
                predicted = scheme.masks(self.label_map(side, case))
                expected = scheme.masks(reference)
                overlaps = [Overlap.of(predicted[region], expected[region]) for region in predicted]
                found.append([overlap.dice for overlap in overlaps])
        return ", ".join(f"{value:.3f}" for value in np.mean(found, axis=0)) if found else ""

    def label_map(self, side: str, case: Case) -> np.ndarray:
        """What a side wrote for a case."""
        channel = self.model.config.data.channels[0]
        stem = dict(zip(case.channels, case.images, strict=True))[channel].name
        names = {"MONAI": f"{stem.removesuffix('.nii.gz')}_seg.nii.gz"}
        image = nib.load(self.scratch / side / names.get(side, f"{case.case_id}.nii.gz"))
        return np.asarray(image.dataobj).astype(np.uint8)

    def first_window(self, side: str) -> str:
        """Seconds until the network saw the first window, and how many times ours that is."""
        ours, theirs = (
            [float(line) for line in file.read_text(encoding="ascii").split()]
            if (file := self.scratch / f"{name}.first").exists()
            else []
            for name in ("volseg", side)
        )
        if not theirs:
            return ""
        pairs = sorted(b / a for a, b in zip(ours, theirs, strict=True))
        spread = f" ({statistics.median(pairs):.2f}, {pairs[0]:.2f} to {pairs[-1]:.2f})"
        return f"{statistics.median(theirs):.1f}{'' if side == 'volseg' else spread}"

    def agreement(self, side: str) -> str:
        """Share of voxels with the same label as ours: of all cases, and of the worst one."""
        shares = [
            float((self.label_map("volseg", case) == self.label_map(side, case)).mean())
            for case in self.cases
        ]
        return f"{np.mean(shares):.4%} (worst case {min(shares):.4%})"


def trained_on_phantoms(scratch: Path, shape: tuple[int, int, int], window: list[int]) -> Path:
    """A model good enough to find tumours, so that label maps can be compared."""
    small = shape[0] < 200
    folder, data_list = scratch / "training", scratch / "list.json"
    make_cohort(folder, 4, shape, 240 / shape[0], first=50)
    split([folder], data_list, folds=4)
    text = TRAINING.format(
        list=data_list,
        mm=240 / shape[0],
        window=window,
        steps=40,
        widths="[8, 16, 32]" if small else "[16, 32, 64, 128]",
    )
    (scratch / "config.yaml").write_text(text, encoding="utf-8")
    return fit(load_config(scratch / "config.yaml"), scratch / "run").model


def our_sides(*, small: bool) -> list[str]:
    """Those of `OURS` to run; bf16 where the CPU computes in it, else `infer` stays in float32."""
    left_out = "" if cpu_computes_in_bf16() else "volseg, bf16"
    return ["volseg"] if small else [name for name in OURS if name != left_out]


def main(arguments: argparse.Namespace, scratch: Path) -> None:
    small = arguments.small
    shape = (80, 80, 52) if small else (240, 240, 155)
    window = [32, 32, 32] if small else arguments.window
    folders = arguments.scans or make_cohort(
        scratch / "phantoms", 2 if small else 8, shape, 240 / shape[0]
    )
    cases = find_cases(folders).cases
    path = arguments.model or trained_on_phantoms(scratch, shape, window)
    comparison = Comparison(cases, load_model(path), window, scratch)
    python = sys.executable if small else peers.python()
    sides = {name: comparison.volseg(name) for name in our_sides(small=small)}
    if not small:
        sides["nnU-Net"] = comparison.nnunet(python)
    sides["MONAI"] = comparison.monai(python)
    chosen = {name: side for name, side in sides.items() if name not in arguments.without}
    costs = in_turn(chosen, 1 if small else arguments.rounds)

    rows = []
    for name in chosen:
        ours = name == "volseg"
        rows.append(
            [
                name,
                f"{median(costs[name], 'wall_s'):.1f}",
                f"{median(costs[name], 'cpu_s'):.1f}",
                "" if ours else ratios(costs["volseg"], costs[name], "wall_s"),
                f"{median(costs[name], 'peak_mb'):.0f}",
                "" if ours else ratios(costs["volseg"], costs[name], "peak_mb"),
                comparison.first_window(name),
                "" if ours else comparison.agreement(name),
                comparison.dice(name),
            ]
        )
    print(f"infer, {len(cases)} cases, window {window}, overlap 0.5; {machine('monai')}\n")
    print_table(
        [
            *("side", "s", "core s", "times ours", "peak MB", "times ours", "first window s"),
            *("voxels with our label", "Dice WT, TC, ET"),
        ],
        rows,
    )


if __name__ == "__main__":
    parser = options(__doc__)
    parser.set_defaults(rounds=3)
    parser.add_argument("--model", type=Path, help="model file or run folder")
    parser.add_argument(
        "--window", type=int, nargs=3, default=[128, 128, 128], help="voxels along R, A and S"
    )
    parser.add_argument(
        "--without",
        nargs="*",
        default=[],
        choices=SIDES[1:],
        metavar="SIDE",
        help=f"leave out some of: {', '.join(repr(side) for side in SIDES[1:])}",
    )
    parser.add_argument("--keep", type=Path, help="folder for all that is made; else it is removed")
    words = parser.parse_args()
    if words.keep:
        words.keep.mkdir(parents=True)
        main(words, words.keep.absolute())
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(words, Path(temporary))
