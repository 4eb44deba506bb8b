"""The batch script that `--slurm` writes for the example of the tutorial."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from generated.facts import ROOT
from volseg.config import load_config, read_slurm
from volseg.slurm.submission import submit_fit


def job_script() -> str:
    """The batch script of the example in the tutorial."""
    with contextlib.chdir(ROOT):
        config = load_config("configs/brats_unet.yaml", ["data.data_root=FOLDER"])
        asked = read_slurm(["nodes=2,gpus=4,time=24:00:00,partition=gpu"], config.slurm)
        config = config.model_copy(update={"slurm": asked})
        script = submit_fit(config, Path("runs/unet"), dry_run=True).script
    home = "/home/me/volseg"
    shown = script.replace(sys.executable, f"{home}/.venv/bin/python").replace(str(ROOT), home)
    return f"```bash\n{shown.rstrip()}\n```"
