"""MONAI's side of metrics.py: Dice, IoU and HD95 of the regions of a case, as its users write it.

    python peer_metrics.py PREDICTION.npy REFERENCE.npy REGIONS

REGIONS is JSON: the labels of each region, by name. Masks are made float32, as most recipes do:
boolean ones and bytes take MONAI longer.
"""

import functools
import json
import sys
import warnings

import numpy as np
import torch
import worker
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_iou

SPACING_MM = (1.0, 1.0, 1.0)


def masks(label_map, regions):
    """Masks (1, R, I, J, K) of regions that may nest."""
    found = [
        functools.reduce(torch.logical_or, [label_map == value for value in values])
        for values in regions.values()
    ]
    return torch.stack(found)[None].float()


def main():
    warnings.filterwarnings("ignore", ".*always_return_as_numpy", FutureWarning)
    prediction, reference = (torch.from_numpy(np.load(path)) for path in sys.argv[1:3])
    regions = json.loads(sys.argv[3])

    def work():
        pair = masks(prediction, regions), masks(reference, regions)
        hd95 = compute_hausdorff_distance(
            *pair, include_background=True, percentile=95, spacing=SPACING_MM
        )
        return {
            "dice": compute_dice(*pair)[0].numpy(),
            "iou": compute_iou(*pair)[0].numpy(),
            "hd95": hd95[0].numpy(),
        }

    worker.serve(work)


if __name__ == "__main__":
    main()
