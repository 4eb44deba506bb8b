"""`volseg`, disturbed as the file in VOLSEG_PLAN says: a rank that is slow, killed or fails.

The plan is JSON, a list of `{"rank": 1, "steps": [3, 8], "do": "TERM"}`. `do` is the name of a
signal that the process sends itself at the beginning of these steps, `raise`, `wait`, which ends
when a signal comes from elsewhere, or `sleep`, which takes `seconds` at every step. What is done
once is noted beside the plan, so that a run that takes the same step again is not disturbed again;
a job that was given back to the queue never waits.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from volseg import ranks, signals


def disturb(plan: Path, step: int) -> None:
    for number, item in enumerate(json.loads(plan.read_text(encoding="utf-8"))):
        if item["rank"] != ranks.rank():
            continue
        if item["do"] == "sleep":
            time.sleep(item["seconds"])
        elif step in item["steps"]:
            done = plan.with_name(f"{plan.stem}-{number}-{step}.done")
            if not done.exists():
                done.touch()
                act(item["do"])


def act(what: str) -> None:
    if what == "raise":
        raise ValueError("the plan says so")
    if what == "wait":
        while not (signals.received() or os.environ.get("SLURM_RESTART_COUNT")):
            time.sleep(0.05)
        return
    os.kill(os.getpid(), signal.Signals[f"SIG{what}"])


def main() -> None:
    signals.record()
    if plan := os.environ.get("VOLSEG_PLAN"):
        from volseg.cli.log import configure_logging

        configure_logging()
        from volseg.training.module import SegmentationModule

        step = SegmentationModule.training_step

        def disturbed(self, batch, batch_index):
            disturb(Path(plan), self.global_step)
            return step(self, batch, batch_index)

        SegmentationModule.training_step = disturbed
    from volseg.__main__ import main as volseg

    volseg()


if __name__ == "__main__":
    main()
