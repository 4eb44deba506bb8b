"""Cases whose scoring ends its process, or waits for a signal; other processes import them."""

import os
import signal
import sys
from pathlib import Path

import numpy as np

from volseg import signals
from volseg.cases.volume_case import VolumeCase
from volseg.evaluation.pairs import CasePair
from volseg.evaluation.processes import score_cases
from volseg.images.grid import Grid
from volseg.labels import get_scheme


class SyntheticCase(VolumeCase):
    """A case without files: 4 x 4 x 4 voxels, half of them tumour, predicted perfectly."""

    def read_prediction(self, files):
        label_map = np.zeros((4, 4, 4), np.uint8)
        label_map[:2] = 1
        return label_map, Grid((4, 4, 4), np.eye(4))

    def _read_reference(self):
        return SyntheticCase.read_prediction(self, ())


class KilledCase(SyntheticCase):
    """Its process is killed, as by the system where memory runs out."""

    def read_prediction(self, files):
        os.kill(os.getpid(), signal.SIGKILL)


class OnceKilledCase(SyntheticCase):
    """Its process is killed when it is first scored; its prediction is made then."""

    def read_prediction(self, files):
        if not files[0].exists():
            files[0].touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read_prediction(files)


class WaitingCase(SyntheticCase):
    """Waits for the end of its process."""

    def read_prediction(self, files):
        print("scoring", flush=True)
        signal.pause()


def pair_of(kind, name, prediction=Path("prediction.nii.gz")):
    """A pair of a case of this kind, with the label scheme `lgg`."""
    case = kind(name, name, (), (), (Path("reference.nii.gz"),))
    return CasePair(case, (prediction,), get_scheme("lgg"), get_scheme("lgg"))


def main():
    signals.exit_at_once()
    score_cases([pair_of(WaitingCase, name) for name in "ab"], 2)


if __name__ == "__main__":
    sys.exit(main())
