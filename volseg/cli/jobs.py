"""Options of commands that can be submitted to a SLURM cluster, and the report of a job."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from volseg.cli.next_steps import line, next_steps
from volseg.cli.tables import say
from volseg.cli.terminal import put
from volseg.errors import ConfigError

if TYPE_CHECKING:
    from volseg.slurm.submission import Submission

Slurm = Annotated[
    list[str] | None,
    typer.Option(
        "--slurm",
        metavar="key=value,...",
        help="Submit to SLURM with these options: nodes, gpus (per node), time, or any option of "
        "sbatch; or `defaults` for the options of the config, or a YAML file with a section slurm.",
        show_default=False,
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the script of --slurm and submit nothing.")
]


def check_dry_run(dry_run: bool) -> None:
    """Refuse --dry-run without --slurm, with ConfigError."""
    if dry_run:
        raise ConfigError(
            "--dry-run shows the script of --slurm, but --slurm is not given",
            remedy="add --slurm, or leave out --dry-run",
        )


def as_words(flags: Mapping[str, bool], options: Mapping[str, object]) -> list[str]:
    """Options as words of a command line, without options that are not set."""
    named = [f"{name}={value}" for name, value in options.items() if value is not None]
    return [*(name for name, is_set in flags.items() if is_set), *named]


def report_job(job: Submission, *watch: str) -> None:
    """Print the script after a dry run, else the number of the job and how to watch it."""
    if job.job is None:
        put(job.script.rstrip("\n"), sys.stdout)
        return
    say(f"Job {job.job} was submitted; its script is {job.path}")
    queue = line("squeue", "--jobs", job.job)
    next_steps({"watch it": [queue, line("tail", "-F", job.log), *watch]})
