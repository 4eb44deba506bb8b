"""Why nnU-Net and volseg differ on the same weights: each cause alone, and all of them together.

    python benchmarks/differences.py CASE_FOLDER --model MODEL [--nnunet LABEL_MAP]

A plain loop over the windows of a case, in which one step after the other is done as nnU-Net 2.8.1
does it, prints how many voxels get another label than volseg gives. LABEL_MAP is what nnU-Net wrote
for the case in `benchmarks/infer.py --keep FOLDER`; it is compared with the loop with all steps.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.data.utils import compute_importance_map
from scipy.ndimage import binary_fill_holes, gaussian_filter
from side_by_side import print_table

from volseg.errors import VolsegError
from volseg.inference.predictor import Predictor
from volseg.inference.preparing import PreparedCase
from volseg.transforms import covered, to_original


@dataclass(frozen=True)
class Steps:
    """Which steps are done as nnU-Net does them; their names as it would say it."""

    grey_values_over_the_filled_union_of_channels: bool = False
    mean_of_logits_instead_of_probabilities: bool = False
    gaussian_weights_that_reach_zero_at_corners: bool = False
    sums_in_float16: bool = False
    regions_that_need_not_nest: bool = False


class Loop:
    """A plain sliding window over a case.

    Args:
        predictor: Has one model at the spacing of the scan.
        case: Prepared by it.
    """

    def __init__(self, predictor: Predictor, case: PreparedCase) -> None:
        self.predictor, self.case = predictor, case
        self.model = predictor.models[0]
        self.window = self.model.config.window_size
        (self.done,) = case.images.values()
        self.logits: dict[bool, list[tuple[tuple[slice, ...], torch.Tensor]]] = {}

    @torch.inference_mode()
    def label_map(self, steps: Steps) -> np.ndarray:
        """Label map on the grid of the scan."""
        weight = weights(self.window[0], steps.gaussian_weights_that_reach_zero_at_corners)
        shape = self.done.image.shape[1:]
        dtype = torch.half if steps.sums_in_float16 else torch.float32
        total, count = torch.zeros((3, *shape), dtype=dtype), torch.zeros(shape, dtype=dtype)
        for place, found in self.windows(steps.grey_values_over_the_filled_union_of_channels):
            values = found
            if not steps.mean_of_logits_instead_of_probabilities:
                values = torch.sigmoid(found)
            total[(slice(None), *place)] += values * weight
            count[place] += weight.to(dtype)
        mean = (total / count).float()
        if steps.mean_of_logits_instead_of_probabilities:
            mean = torch.sigmoid(mean)
        masks = to_original(mean, self.done.image_grid, self.case.grid).numpy() > 0.5
        if not steps.regions_that_need_not_nest:
            masks = np.logical_and.accumulate(masks)
        result = np.zeros(self.case.grid.shape, np.uint8)
        for mask, value in zip(masks, (2, 1, 3), strict=True):
            result[mask] = value
        return result

    def windows(self, filled: bool) -> list[tuple[tuple[slice, ...], torch.Tensor]]:
        """Place and logits of each window; nnU-Net lays them as MONAI where two are enough."""
        if filled not in self.logits:
            image = torch.from_numpy(self._filled() if filled else self.done.image).float()
            sides = list(zip(image.shape[1:], self.window, strict=True))
            if any(not side <= size <= 1.5 * side for size, side in sides):
                raise SystemExit(f"{sides}: needs one or two windows along each axis")
            starts = [sorted({0, size - side}) for size, side in sides]
            self.logits[filled] = []
            for corner in product(*starts):
                place = tuple(
                    slice(a, a + side) for a, side in zip(corner, self.window, strict=True)
                )
                window = image[(slice(None), *place)][None]
                self.logits[filled].append((place, self.model.network(window)[0]))
        return self.logits[filled]

    def _filled(self) -> np.ndarray:
        """Grey values normalised over all that the skull encloses, one mask for all channels."""
        image = self.done.image.astype(np.float32)
        mask = binary_fill_holes((image != 0).any(0))
        files = dict(zip(self.case.case.channels, self.case.case.images, strict=True))
        box = covered(self.done.image_grid, self.case.grid)
        for target, channel in zip(image, self.model.config.data.channels, strict=True):
            raw = np.asarray(nib.load(files[channel]).dataobj, np.float32)[box]
            raw = self.case.grid.crop(box).to_ras(raw)
            target[mask] = (raw[mask] - raw[mask].mean()) / raw[mask].std()
        return image


def weights(side: int, of_nnunet: bool) -> torch.Tensor:
    """Gaussian weights of a cubic window."""
    if of_nnunet:
        point = np.zeros((side,) * 3)
        point[(side // 2,) * 3] = 1
        bell = gaussian_filter(point, side / 8, mode="constant")
        half = torch.from_numpy(bell / bell.max() * 10).half()
        return torch.where(half == 0, half[half != 0].min(), half)
    bell = compute_importance_map((side,) * 3, mode="gaussian", sigma_scale=0.125)
    return bell.float().clamp(min=max(float(bell.min()), 1e-3))


def main(words: argparse.Namespace) -> None:
    window = f"inference.window_size={[words.window] * 3}"
    predictor = Predictor(words.model, device="cpu", labels="brats2023", overrides=[window])
    case = predictor.prepare(words.case)
    loop = Loop(predictor, case)
    ours = predictor.predict_prepared(case).label_map
    names = [field.name for field in fields(Steps)]
    variants = {"none: the plain loop": Steps()}
    variants |= {name.replace("_", " "): replace(Steps(), **{name: True}) for name in names}
    together = Steps(*[True] * len(names))
    rows = [[name, str((loop.label_map(s) != ours).sum())] for name, s in variants.items()]
    rows.append(["all together", str((loop.label_map(together) != ours).sum())])
    if words.nnunet:
        theirs = np.asarray(nib.load(words.nnunet).dataobj)
        rows.append(["what nnU-Net wrote", str((theirs != ours).sum())])
        left = (theirs != loop.label_map(together)).sum()
        rows.append(["what nnU-Net wrote, against all together", str(left)])
    print(f"{case.case_id}, {ours.size} voxels, {(ours > 0).sum()} of them tumour\n")
    print_table(["as nnU-Net does it", "voxels with another label"], rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("case", type=Path, help="folder of one case at 1 mm, axes in order")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--window", type=int, default=128, help="side of the windows, voxels")
    parser.add_argument("--nnunet", type=Path, help="what nnU-Net wrote for the case")
    try:
        main(parser.parse_args())
    except VolsegError as error:
        raise SystemExit(f"Error: {error}") from None
