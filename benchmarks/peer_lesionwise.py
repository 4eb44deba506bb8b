"""The official side of lesionwise.py, called as its README says.

python peer_lesionwise.py PREDICTION.nii.gz REFERENCE.nii.gz CHALLENGE METRICS.py
"""

import importlib.util
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import worker


def main():
    prediction, reference, challenge, script = sys.argv[1:5]
    sys.path.insert(0, str(Path(script).parent))
    spec = importlib.util.spec_from_file_location("official", script)
    official = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(official)
    # The programs write into the working directory.
    os.chdir(tempfile.mkdtemp())

    def work():
        found = official.get_LesionWiseResults(prediction, reference, challenge, output=None)
        table = found[0] if isinstance(found, tuple) else found
        return {"lesion_dice": np.asarray(table["LesionWise_Score_Dice"], dtype=float)}

    worker.serve(work)


if __name__ == "__main__":
    main()
