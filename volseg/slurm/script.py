"""Batch scripts for SLURM, readable for users: one that trains, one that segments.

After volseg has ended, the script ends with its exit code or requeues the job, which then resumes:

    0          done
    2, 3, 130  an error of the user, failed cases, an interrupt: ends, since a retry would not help
    75         stopped by a signal with everything saved: requeued
    others     a process, a node or the memory failed: requeued, a few times
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import volseg
from volseg.config import SlurmConfig
from volseg.errors import ConfigError
from volseg.files.writing import CONFIG_FILE
from volseg.words import shown

#: Folder of script and logs within the folder of the results.
FOLDER, SCRIPT = "slurm", "job.sh"

_SIGNAL = "USR1@120"
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_TASK = "$SLURM_ARRAY_TASK_ID"

_RESUME = """\
# All processes must resume or none, so the checkpoint is looked up once, here.
resume=()
checkpoints=("$run"/checkpoints/*.ckpt)
if [[ -e ${checkpoints[0]} ]]; then resume=(--resume); fi

# If a process dies, srun ends the others, which would wait for it forever.
"""

_CASES = """\
code=$?

# end REASON: the job is not requeued
end() {
  echo "volseg: job $job ends here: $1"
  rm -f "$failures"
  exit "$code"
}

count=0
case $code in
  0) end "done" ;;
  2 | 3 | 130) end "code $code" ;; # an error of the user, cases that failed, an interrupt
  75) reason="stopped in good order" ;; # by a signal, with everything saved
  *) # A process, a node or the memory failed. Failures are counted, since a bug fails every time.
    if [[ -f $failures ]]; then count=$(<"$failures"); fi
"""
_PROGRESS = """\
    for checkpoint in "$run"/checkpoints/*.ckpt; do
      if [[ $checkpoint -nt $failures ]]; then count=0; fi # a new checkpoint
    done
"""
_RESTART = """\
    count=$((count + 1))
    reason="code $code, failure $count in a row" ;;
esac
echo "$count" >"$failures"

if ((count > max_failures)); then end "$reason (max_failures)"; fi
if ((restarts >= max_requeues)); then end "$reason, after $restarts restarts (max_requeues)"; fi
# A cancelled job must not be requeued.
if [[ $(squeue --noheader --jobs "$job" --format %T) == C* ]]; then end "cancelled"; fi
echo "volseg: $reason, job $job goes back into the queue (restart $((restarts + 1)))"
scontrol requeue "$job" || end "not taken back by the queue"
exit "$code"
"""


def fit_script(
    options: SlurmConfig, run: Path, *, cpus: int, words: Sequence[str], folds: Sequence[int] = ()
) -> str:
    """Script that trains into the folder `run`, or each fold into a subfolder of `run`.

    Args:
        options: Resources of the job.
        run: Folder of the run or of the folds, absolute or relative to the current folder.
        cpus: Cores per process.
        words: Options of the config for this job, as `key=value`.
        folds: Folds of a job array; empty for a single run.

    Raises:
        ConfigError: If a path or an option holds a line break, which would start a new command.
    """
    _check_lines([run, run.resolve(), Path.cwd(), *words])
    place = f"{shlex.quote(str(run))}/fold{_TASK}" if folds else shlex.quote(str(run))
    arguments = [
        f'fit {shlex.quote(str(run / FOLDER / CONFIG_FILE))} -o "$run"',
        shlex.join(words) + (f' "data.fold={_TASK}"' if folds else "") + ' "${resume[@]}"',
    ]
    array = ",".join(str(fold) for fold in folds)
    start = _start(options, run, cpus, array) + f"run={place}\n\n"
    call = _call(options, "--kill-on-bad-exit=1 --label ", arguments)
    return start + _RESUME + call + _CASES + _PROGRESS + _RESTART


def infer_script(
    options: SlurmConfig, output: Path, *, cpus: int, words: Sequence[str], shards: int
) -> str:
    """Script of a job array whose tasks share the cases of `volseg infer`.

    Args:
        options: Resources of each task.
        output: Folder of the results.
        cpus: Cores per task.
        words: Arguments of `volseg infer`, without `--shard`.
        shards: Number of tasks.

    Raises:
        ConfigError: As `fit_script`.
    """
    _check_lines([output, output.resolve(), Path.cwd(), *words])
    arguments = [shlex.join(["infer", *words]), f'--shard "{_TASK}/{shards}"']
    start = _start(options, output, cpus, f"1-{shards}") + "\n"
    return start + _call(options, "", arguments) + _CASES + _RESTART


def _check_lines(texts: Iterable[str | Path]) -> None:
    for text in map(str, texts):
        if _CONTROL.search(text):
            raise ConfigError(
                f"{shown(text)} holds a line break or another character that is not allowed in a "
                "job script",
                remedy="rename it",
            )


def log_pattern(options: SlurmConfig, folder: Path, *, array: bool) -> str:
    """Path of the log with the placeholders of sbatch."""
    given = options.sbatch.get("output")
    # A % in the name of a folder is no placeholder.
    home = str(folder).replace("%", "%%")
    return str(given) if given else f"{home}/{'%A_%a' if array else '%j'}.log"


def _start(options: SlurmConfig, results: Path, cpus: int, array: str) -> str:
    """Beginning of a script: resources, setup lines, and variables for the end of the script."""
    ours: dict[str, str | int | bool | None] = {
        "job-name": results.resolve().name,
        "nodes": options.nodes,
        "ntasks-per-node": options.processes,
        "gres": options.resources,
        "cpus-per-task": cpus,
        "time": options.time,
        "chdir": str(Path.cwd()),
        "output": log_pattern(options, results / FOLDER, array=bool(array)),
        "open-mode": "append",
        "requeue" if options.max_requeues else "no-requeue": True,
        "signal": _SIGNAL,
        "array": array + (f"%{options.max_parallel}" if options.max_parallel else ""),
    }
    asked = ours | options.sbatch | {"gres": options.resources}
    if not array:
        del asked["array"]
    folder = results / FOLDER
    lines = [
        "#!/bin/bash",
        f"# Written by volseg {volseg.__version__}; to submit it again:",
        f"# sbatch {shlex.quote(str(folder.absolute() / SCRIPT))}",
        *(_directive(name, value) for name, value in asked.items() if value is not None),
        "",
        *([*options.setup, ""] if options.setup else []),
        f"job={'${SLURM_ARRAY_JOB_ID}_' + _TASK if array else '$SLURM_JOB_ID'}",
        f"failures={shlex.quote(str(folder))}/failures-$job # number of failures in a row",
        "restarts=${SLURM_RESTART_COUNT:-0}",
        f"max_requeues={options.max_requeues}",
        f"max_failures={options.max_failures}",
    ]
    return "\n".join(lines) + "\n"


def _directive(name: str, value: str | int | bool) -> str:
    """A line `#SBATCH --name=value`."""
    if value is True:
        return f"#SBATCH --{name}"
    text = str(value)
    if re.search(r"[^\w@%+=:,./^&|*()\[\]!-]", text, re.ASCII):
        text = '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'
    return f"#SBATCH --{name}={text}"


def _call(options: SlurmConfig, srun: str, arguments: Sequence[str]) -> str:
    """The call of volseg, with one argument group per line.

    Even a single process is started by srun, since only job steps get the signal before the time
    limit. `--cpus-per-task` is repeated, since srun does not inherit it from the job.
    """
    command = options.command or f"{shlex.quote(sys.executable)} -m volseg"
    first = f'srun {srun}--cpus-per-task="$SLURM_CPUS_PER_TASK"'
    return " \\\n  ".join([first, f"{command} {arguments[0]}", *arguments[1:]]) + "\n"
