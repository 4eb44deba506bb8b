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
from collections.abc import Iterable, Sequence
from pathlib import Path

import volseg
from volseg.config import SlurmConfig
from volseg.errors import ConfigError
from volseg.files.writing import CONFIG_FILE
from volseg.words import shown

#: Folder of the script and the logs in that of the results.
FOLDER, SCRIPT = "slurm", "job.sh"

_SIGNAL = "USR1@120"
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_TASK = "$SLURM_ARRAY_TASK_ID"

_RESUME = """\
# All processes must resume from one checkpoint, so it is looked up here, once.
resume=()
checkpoints=("$run"/checkpoints/*.ckpt)
if [[ -e ${checkpoints[0]} ]]; then resume=(--resume); fi

# A process that dies takes the others along, which would wait for it for ever.
"""

_CASES = """\
code=$?

# end REASON: the job does not come back
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
  *) # Something broke: a process, a node, the memory. A bug would break again: count.
    if [[ -f $failures ]]; then count=$(<"$failures"); fi
"""
_PROGRESS = """\
    for checkpoint in "$run"/checkpoints/*.ckpt; do
      if [[ $checkpoint -nt $failures ]]; then count=0; fi # it got on in between
    done
"""
_RESTART = """\
    count=$((count + 1))
    reason="code $code, failure $count in a row" ;;
esac
echo "$count" >"$failures"

if ((count > max_failures)); then end "$reason (max_failures)"; fi
if ((restarts >= max_requeues)); then end "$reason, after $restarts restarts (max_requeues)"; fi
# A job that somebody cancels must not come back.
if [[ $(squeue --noheader --jobs "$job" --format %T) == C* ]]; then end "cancelled"; fi
echo "volseg: $reason, job $job goes back into the queue (restart $((restarts + 1)))"
scontrol requeue "$job" || end "not taken back by the queue"
exit "$code"
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

    Raises:
        ConfigError: If a path or an option holds a new line, which would begin a command.
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
        options: What each task asks for.
        output: Folder of the results.
        cpus: Cores a task.
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
                f"{shown(text)} holds a new line or another character that cannot stand in a job "
                "script",
                remedy="rename it",
            )


def log_pattern(options: SlurmConfig, folder: Path, *, array: bool) -> str:
    """Path of the log with the placeholders of sbatch."""
    given = options.sbatch.get("output")
    # A % in the name of a folder is not one of them.
    home = str(folder).replace("%", "%%")
    return str(given) if given else f"{home}/{'%A_%a' if array else '%j'}.log"


def _start(options: SlurmConfig, results: Path, cpus: int, array: str) -> str:
    """What the job asks for, the lines of the site, and what the end of the script needs."""
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
        f"failures={shlex.quote(str(folder))}/failures-$job # how many in a row",
        "restarts=${SLURM_RESTART_COUNT:-0}",
        f"max_requeues={options.max_requeues}",
        f"max_failures={options.max_failures}",
    ]
    return "\n".join(lines) + "\n"


def _directive(name: str, value: str | int | bool) -> str:
    """A line for sbatch."""
    if value is True:
        return f"#SBATCH --{name}"
    text = str(value)
    if re.search(r"[^\w@%+=:,./^&|*()\[\]!-]", text, re.ASCII):
        text = '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'
    return f"#SBATCH --{name}={text}"


def _call(options: SlurmConfig, srun: str, arguments: Sequence[str]) -> str:
    """The call of volseg, a line for each part.

    Through srun even where it is a single process: the signal before the time limit goes to steps
    alone. srun does not take the cores of a process over from the job.
    """
    command = options.command or f"{shlex.quote(sys.executable)} -m volseg"
    first = f'srun {srun}--cpus-per-task="$SLURM_CPUS_PER_TASK"'
    return " \\\n  ".join([first, f"{command} {arguments[0]}", *arguments[1:]]) + "\n"
