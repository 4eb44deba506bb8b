"""Our side of metrics.py: Dice, IoU and HD95 of the regions of a case, as `evaluate` scores them.

python our_metrics.py PREDICTION.npy REFERENCE.npy SCHEME REGION...
"""

import sys
from pathlib import Path

import numpy as np
import worker

from volseg.cases.volume_case import VolumeCase
from volseg.evaluation.pairs import CasePair
from volseg.evaluation.scoring import score_label_maps
from volseg.images.grid import Grid
from volseg.labels import get_scheme


def main():
    paths = [Path(word) for word in sys.argv[1:3]]
    prediction, reference = (np.load(path) for path in paths)
    scheme, regions = get_scheme(sys.argv[3]), sys.argv[4:]
    case = VolumeCase("case", "patient", images=(), channels=(), label=(paths[1],))
    pair = CasePair(case, (paths[0],), scheme, scheme)
    grid = Grid(prediction.shape, np.eye(4))

    def work():
        scores = score_label_maps(pair, prediction, reference, grid)
        rows = {row.region: row for row in scores.rows}
        wanted = [rows[region] for region in regions]
        return {
            "dice": np.array([row["dice"] for row in wanted]),
            "iou": np.array([row["iou"] for row in wanted]),
            "hd95": np.array([row["hd95_mm"] for row in wanted]),
        }

    worker.serve(work)


if __name__ == "__main__":
    main()
