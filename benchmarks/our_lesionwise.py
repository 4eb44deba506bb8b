"""Our side of lesionwise.py: the scores of a protocol, from two NIfTI files.

python our_lesionwise.py PREDICTION.nii.gz REFERENCE.nii.gz PROTOCOL
"""

import sys
from pathlib import Path

import numpy as np
import worker

from volseg.images.nifti_reading import read_label_map
from volseg.metrics import lesionwise_scores


def main():
    paths, protocol = [Path(word) for word in sys.argv[1:3]], sys.argv[3]

    def work():
        (prediction, grid), (reference, _) = map(read_label_map, paths)
        scores = lesionwise_scores(reference, prediction, grid.spacing_mm, protocol)
        return {"lesion_dice": np.array([of.scores["lesion_dice"] for of in scores.values()])}

    worker.serve(work)


if __name__ == "__main__":
    main()
