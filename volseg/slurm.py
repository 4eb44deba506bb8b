"""Batch scripts for SLURM, to be read by people: one that trains, one that segments.

The script ends as the program does, or gives the job back to the queue, so that it goes on later:

    0          done
    2, 3, 130  an error of the user, cases that failed, an interrupt: again would be the same
    75         stopped in good order by a signal: back into the queue
    others     something broke, a process, a node, the memory: back into the queue, a few times
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import volseg
from volseg.config import SlurmConfig
from volseg.files import CONFIG_FILE

#: Folder of the script and the logs in that of the results.
FOLDER, SCRIPT = "slurm", "job.sh"

_SIGNAL = "USR1@120"
_TASK = "$SLURM_ARRAY_TASK_ID"

_RESUME = """\
# All processes must agree on where to go on from, so this is looked up here, once.
resume=()
checkpoints=("$run"/checkpoints/*.ckpt)
if [[ -e ${checkpoints[0]} ]]; then resume=(--resume); fi
"""

_RESTART = """\
# restart REASON: give the job back to the queue, unless that happened too often
restart() {
  local count=${SLURM_RESTART_COUNT:-0}
  if ((count >= max_requeues)); then
    echo "volseg: $1; job $job was restarted $count times and ends here (max_requeues)"
    exit "$code"
  fi
  # A job that somebody cancels must not come back.
  if [[ $(squeue --noheader --jobs "$job" --format %T) == C* ]]; then
    echo "volseg: $1; job $job is being cancelled and ends here"
    exit "$code"
  fi
  count=$((count + 1))
  echo "volseg: $1, job $job goes back into the queue (restart $count of at most $max_requeues)"
  scontrol requeue "$job" || echo "volseg: job $job was not taken back and ends here"
  exit "$code"
}
"""

_ENDING = """\
case $code in
  0)
    rm -f "$failures"
    echo "volseg: job $job is done"
    exit 0 ;;
  2 | 3 | 130) # an error of the user, cases that failed, an interrupt: again would be the same
    rm -f "$failures"
    echo "volseg: ended with code $code; job $job ends here"
    exit "$code" ;;
  75) # stopped by a signal, with everything saved
    rm -f "$failures"
    restart "stopped in good order" ;;
esac

# Something broke: a process, a node, the memory. A bug would break again, so the times are counted.
count=0
if [[ -f $failures ]]; then count=$(<"$failures"); fi
"""

_PROGRESS = """\
for checkpoint in "$run"/checkpoints/*.ckpt; do
  if [[ $checkpoint -nt $failures ]]; then count=0; fi # it got on in between
done
"""

_FAILED = """\
count=$((count + 1))
if ((count > max_failures)); then
  rm -f "$failures"
  echo "volseg: ended with code $code, failure $count in a row; job $job ends here (max_failures)"
  exit "$code"
fi
echo "$count" >"$failures"
restart "ended with code $code, failure $count in a row ($max_failures may come back)"
"""


def fit_script(
    options: SlurmConfig, run: Path, *, cpus: int, words: Sequence[str], folds: Sequence[int] = ()
) -> str:
    """Script that trains into the folder `run`, or each fold into a folder of its own in it.

    Args:
        options: What the job asks for.
        run: Folder of the run, or of the folds; relative to the current folder, or not.
        cpus: Cores a process.
        words: Options of the config for this job, as `key=value`.
        folds: Folds of a job array; none for one run.
    """
    folder = run / FOLDER
    place = f"{shlex.quote(str(run))}/fold{_TASK}" if folds else shlex.quote(str(run))
    arguments = [
        f'fit {shlex.quote(str(folder / CONFIG_FILE))} -o "$run"',
        shlex.join([f"training.nodes={options.nodes}", *words]),
        f'"data.fold={_TASK}" "${{resume[@]}}"' if folds else '"${resume[@]}"',
    ]
    return (
        "\n".join(
            [
                *_header(options, run, cpus, _folds(folds)),
                *_setup(options),
                f"run={place}",
                *_counters(options, folder, array=bool(folds)),
                "",
                _RESUME,
                "# A process that dies takes the others along, which would wait for it for ever.",
                *_call(options, "--kill-on-bad-exit=1 --label", arguments),
                "",
                _RESTART,
                _ENDING + _PROGRESS + _FAILED,
            ]
        ).rstrip("\n")
        + "\n"
    )


def infer_script(
    options: SlurmConfig, output: Path, *, cpus: int, words: Sequence[str], shards: int
) -> str:
    """Script of a job array whose tasks share the cases of `volseg infer`.

    Args:
        options: What each task asks for.
        output: Folder of the results.
        cpus: Cores a task.
        words: Arguments of `volseg infer`, without `--shard`.
        shards: Number of tasks.
    """
    arguments = [shlex.join(["infer", *words]), f'--shard "{_TASK}/{shards}"']
    return (
        "\n".join(
            [
                *_header(options, output, cpus, f"1-{shards}"),
                *_setup(options),
                *_counters(options, output / FOLDER, array=True),
                "",
                "# As a step of its own: the signal before the time limit goes to steps alone.",
                *_call(options, "--ntasks=1", arguments),
                "",
                _RESTART,
                _ENDING + _FAILED,
            ]
        ).rstrip("\n")
        + "\n"
    )


def log_pattern(options: SlurmConfig, folder: Path, *, array: bool) -> str:
    """Path of the log with the placeholders of sbatch."""
    given = options.sbatch.get("output")
    # A % in the name of a folder is not one of them.
    home = str(folder).replace("%", "%%")
    return str(given) if given else f"{home}/{'%A_%a' if array else '%j'}.log"


def _folds(folds: Sequence[int]) -> str:
    """Tasks of a job array, one for each fold."""
    return ",".join(str(fold) for fold in folds)


def _header(options: SlurmConfig, results: Path, cpus: int, array: str) -> list[str]:
    """First lines: what the job asks for."""
    ours: dict[str, str | int | bool | None] = {
        "job-name": results.resolve().name,
        "nodes": options.nodes,
        "ntasks-per-node": options.processes,
        "gres": f"gpu:{options.gpus}" if options.gpus else None,
        "cpus-per-task": cpus,
        "time": options.time,
        "chdir": str(Path.cwd()),
        "output": log_pattern(options, results / FOLDER, array=bool(array)),
        "open-mode": "append",
        "requeue": True,
        "signal": _SIGNAL,
        "array": array or None,
    }
    given = options.sbatch
    if "gpus-per-node" in given:
        del ours["gres"]
    script = results / FOLDER / SCRIPT
    asked = {name: value for name, value in (ours | given).items() if value is not None}
    return [
        "#!/bin/bash",
        f"# Written by volseg {volseg.__version__}. To submit it again:",
        f"#   cd {shlex.quote(str(Path.cwd()))} && sbatch {shlex.quote(str(script))}",
        *(_directive(name, value) for name, value in asked.items()),
        "",
    ]


def _directive(name: str, value: str | int | bool) -> str:
    """A line for sbatch."""
    if value is True:
        return f"#SBATCH --{name}"
    text = str(value)
    if re.search(r"[^\w@%+=:,./^&|*()\[\]!-]", text, re.ASCII):
        text = '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'
    return f"#SBATCH --{name}={text}"


def _setup(options: SlurmConfig) -> list[str]:
    return [*options.setup, ""] if options.setup else []


def _counters(options: SlurmConfig, folder: Path, *, array: bool) -> list[str]:
    """Variables of the part that restarts."""
    failures = shlex.quote(str(folder / "failures"))
    task = "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
    return [
        f"job={task if array else '$SLURM_JOB_ID'}",
        f"failures={failures}{f'-{_TASK}' if array else ''} # how many in a row",
        f"max_requeues={options.max_requeues}",
        f"max_failures={options.max_failures}",
    ]


def _call(options: SlurmConfig, srun: str, arguments: Sequence[str]) -> list[str]:
    """The call of volseg through srun, a line for each part."""
    command = options.command or f"{shlex.quote(sys.executable)} -m volseg"
    lines = [
        f'srun {srun} --cpus-per-task="$SLURM_CPUS_PER_TASK"',
        f"{command} {arguments[0]}",
        *arguments[1:],
    ]
    # srun does not take the cores of a process over from the job.
    return [" \\\n  ".join(lines), "code=$?"]
