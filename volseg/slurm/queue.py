"""The job of a folder of results: its number, and whether it is still in the queue."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from volseg.errors import OutputError
from volseg.files.documents import read_bytes
from volseg.slurm.script import FOLDER
from volseg.words import reason, shown

#: File with the number of the job, so that no second job writes into the folder.
JOB = "job_id"


def job_of(results: Path) -> tuple[str, str] | None:
    """Number and state, such as `running`, of the last job for a folder; None without a job.

    The state is empty if the job is no longer in the queue.
    """
    if not (results / FOLDER / JOB).is_file():
        return None
    job = _job_number(results / FOLDER / JOB)
    if shutil.which("squeue") is None:
        return job, ""
    # squeue fails for a job that is no longer known.
    done = subprocess.run(
        ["squeue", "--noheader", f"--jobs={job}", "--format=%T"],
        capture_output=True,
        text=True,
        check=False,
    )
    return job, next(iter(done.stdout.lower().split()), "")


def _job_number(file: Path) -> str:
    try:
        job = read_bytes(file, limit=100).decode("ascii", "replace").strip()
    except OSError as error:
        raise OutputError(
            f"{file} cannot be read ({reason(error)})", remedy="remove it", path=file
        ) from None
    if not re.fullmatch("[0-9]+", job):
        raise OutputError(
            f"{file} holds {shown(job)}, which is not a job number", remedy="remove it", path=file
        )
    return job


def check_queue(results: Path) -> None:
    """Refuse a folder whose job is still waiting or running, with OutputError."""
    job, state = job_of(results) or ("", "")
    if state:
        raise OutputError(
            f"job {job} for {results} is {state}",
            remedy=f"wait until it ends, cancel it with scancel {job}, or choose another -o",
        )
