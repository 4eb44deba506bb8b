"""Section `slurm`: resources of a job, and the words of `--slurm` that override the section."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from volseg.config.mistakes import explain
from volseg.config.section import NonNegativeInt, PositiveInt, Section
from volseg.config.yaml_file import read_yaml
from volseg.errors import ConfigError
from volseg.words import shown

#: Word of `--slurm` that stands for the section without changes.
DEFAULTS = "defaults"

# Options of sbatch that the script sets itself, and the options to use instead.
_RESERVED = {
    "array": "fit --folds and shards of infer set it; max_parallel limits it",
    "chdir": "paths in a config are relative to the folder that you submit from; go there first",
    "cpus-per-gpu": "there is a process for each GPU; use cpus",
    "gpus-per-task": "each process must see all GPUs of its node; use gpus, or gres",
    "no-requeue": "use max_requeues=0",
    "ntasks": "there is a process for each GPU; use nodes and gpus, or tasks where gpus is 0",
    "ntasks-per-node": "there is a process for each GPU; use gpus, or tasks where gpus is 0",
    "open-mode": "a restarted job appends to its log",
    "parsable": "volseg reads the number of the job",
    "requeue": "use max_requeues",
    "wrap": "volseg writes the script",
}
# 60, 30:00, 24:00:00, 2-12, 2-12:00, 2-12:00:00
_TIME = re.compile(r"\d+(:\d\d?){0,2}|\d+-\d+(:\d\d?){0,2}|UNLIMITED|INFINITE")
_GPUS = re.compile(r"(?:^|,)gpu(?::[^:,]+?)??(?::(\d+))?(?=,|$)")


def _time(value: object) -> object:
    """Time in the notation of SLURM; YAML reads an unquoted 24:00:00 as a number of seconds."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 3600:
            raise ValueError(f"{value} may be minutes or seconds; write it as 'HH:MM:SS'")
        minutes, seconds = divmod(value, 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours:02}:{minutes:02}:{seconds:02}"
    if isinstance(value, str) and not _TIME.fullmatch(value):
        raise ValueError(f"a time is HH:MM:SS, D-HH:MM:SS or minutes, got {shown(value)}")
    return value


def _lines(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class SlurmConfig(Section):
    """Resources of a job on a SLURM cluster; every other key is an option of sbatch."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, str | int | bool]

    nodes: PositiveInt = Field(1, description="machines")
    gpus: NonNegativeInt = Field(1, description="GPUs of each node; one process for each")
    tasks: PositiveInt = Field(1, description="processes on each node if gpus is 0")
    cpus: PositiveInt | None = Field(
        None,
        description="cores of each process; null: one more than data.workers, 8 where that is null",
    )
    time: Annotated[str, BeforeValidator(_time)] | None = Field(
        None, description="time limit as HH:MM:SS or D-HH:MM:SS; null: limit of the partition"
    )
    setup: Annotated[tuple[str, ...], BeforeValidator(_lines)] = Field(
        (), description="shell lines before the program, such as `module load cuda`"
    )
    command: str | None = Field(
        None,
        description="command that starts volseg, such as `apptainer run --nv volseg.sif`; null: "
        "the Python that submits",
    )
    shards: PositiveInt | None = Field(None, description="tasks of infer that share the cases")
    max_parallel: PositiveInt | None = Field(
        None, description="tasks of a job array that may run at the same time; null: all"
    )
    max_requeues: NonNegativeInt = Field(100, description="how often a job may return to the queue")
    max_failures: NonNegativeInt = Field(
        3, description="how often it may return after failures in a row without a new checkpoint"
    )

    @property
    def processes(self) -> int:
        """Processes per node."""
        return self.gpus or self.tasks

    @property
    def sbatch(self) -> dict[str, str | int | bool]:
        """Further options of sbatch by their long names."""
        return dict(self.__pydantic_extra__)

    @property
    def resources(self) -> str | None:
        """Value of --gres: the given value, and the GPUs unless it names them already."""
        given = str(self.sbatch.get("gres", ""))
        named = not self.gpus or "gpus-per-node" in self.sbatch or _GPUS.search(given)
        return ",".join(filter(None, ["" if named else f"gpu:{self.gpus}", given])) or None

    @model_validator(mode="before")
    @classmethod
    def _named(cls, options: object) -> object:
        """Options with keys in the spelling of volseg, or of sbatch for its own options."""
        if not isinstance(options, Mapping):
            return options
        named: dict[str, Any] = {}
        problems = []
        for key, value in options.items():
            name = str(key).replace("-", "_")
            if name not in cls.model_fields:
                name = str(key).replace("_", "-")
                problems.append(_problem(name, value))
            elif re.search(r"[\n\r\0]", value if isinstance(value, str) else ""):
                problems.append(_several_lines(name, value))
            if name in named:
                problems.append(f"{name} is given twice; give it once")
            named[name] = value
        if any(problems):
            raise ValueError("\n".join(filter(None, problems)))
        return named

    @model_validator(mode="after")
    def _gpus_agree(self) -> SlurmConfig:
        for name in ("gres", "gpus-per-node"):
            given = str(self.sbatch.get(name, ""))
            found = _GPUS.search(given if name == "gres" else f"gpu:{given}")
            if given and given != "False" and found and int(found[1] or 1) != self.gpus:
                raise ValueError(
                    f"{name} {given} and gpus {self.gpus} differ; give the same number in both"
                )
        if any(re.search(r"[\n\r\0]", line) for line in self.setup):
            raise ValueError("setup: a line holds a line break; write several lines as a list")
        return self


def _problem(name: str, value: object) -> str | None:
    """The problem of an option of sbatch in words, or None."""
    if name in _RESERVED:
        return f"{name} cannot be set: {_RESERVED[name]}"
    if not re.fullmatch(r"[a-z][a-z0-9-]+", name):
        return f"{shown(name)} is no long option of sbatch; `sbatch --help` lists them"
    if not isinstance(value, str | int | bool):
        return f"{name}: give a text, a whole number or true, got {shown(value)}"
    if re.search(r"[\n\r\0]", str(value)):
        return _several_lines(name, value)
    # A signal with B: reaches only the shell of the script, which cannot save a checkpoint.
    if name == "signal" and not re.fullmatch(r"(R:)?(SIG)?(USR1|TERM)(@\d+)?", str(value)):
        return f"signal {value} would not make the program save; write USR1@SECONDS"
    return None


def _several_lines(name: str, value: object) -> str:
    return f"{name}: {shown(value)} has more than one line; write a single line"


def read_slurm(words: Sequence[str], section: SlurmConfig | None = None) -> SlurmConfig:
    """Options of a job: those of a section, overridden by words.

    Args:
        words: Texts such as `nodes=2,gpus=4,mail-type=END,FAIL`; later texts override earlier ones.
            A part without `=` belongs to the value before it; `false` removes an option. The first
            part may be a YAML file, whose section `slurm` is then used, or `defaults`.
        section: Section of the config; None: the defaults of volseg.

    Raises:
        ConfigError: If a word has another form, or options are wrong; it lists all of them.
    """
    options: dict[str, Any] = section.model_dump() if section else {}
    for text in words:
        first, _, rest = text.partition(",")
        is_file = first.endswith((".yaml", ".yml")) and "=" not in first
        if is_file:
            options |= _section_of(Path(first))
        for key, value in _parts(rest if is_file or first in ("", DEFAULTS) else text):
            # Both spellings of a key mean the same option.
            for spelling in (key.replace("-", "_"), key.replace("_", "-")):
                options.pop(spelling, None)
            options[key] = {"true": True, "false": False}.get(value, value)
    # Options that cannot be set cannot be removed either.
    asked = {k: v for k, v in options.items() if v is not False or k.replace("_", "-") in _RESERVED}
    try:
        return SlurmConfig.model_validate(asked)
    except ValidationError as error:
        lines = [line for detail in error.errors() for line in explain(detail, SlurmConfig)]
        raise ConfigError("\n  ".join(["--slurm is not valid:", *lines])) from None


def _parts(text: str) -> list[tuple[str, str]]:
    """Keys and values in `key=value,key=value`."""
    parts: list[tuple[str, str]] = []
    for part in text.split(",") if text else []:
        key, equals, value = part.partition("=")
        if equals and re.fullmatch(r"[A-Za-z][\w-]*", key.strip()):
            parts.append((key.strip(), value))
        elif parts:
            parts[-1] = (parts[-1][0], f"{parts[-1][1]},{part}")
        else:
            raise ConfigError(
                f"--slurm {text}: {part!r} is not of the form key=value",
                remedy=(
                    f"write --slurm nodes=2,gpus=4, or --slurm {DEFAULTS} for the section of the "
                    "config"
                ),
            )
    return parts


def _section_of(path: Path) -> dict[str, Any]:
    """The section `slurm` of a YAML file."""
    section = read_yaml(path).get("slurm")
    if not isinstance(section, dict):
        raise ConfigError(
            f"{path} has no section slurm", remedy="add one, or leave the file out", path=path
        )
    return dict(section)
