"""Suggestions for a command or an option that does not exist."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from volseg.errors import ConfigError

# Description of each command, and its names in other programs.
_COMMANDS = {
    "demo": ("runs all steps on synthetic scans", "example quickstart try tutorial"),
    "convert": (
        "writes DICOM and other scans as cases of NIfTI, without names of patients",
        "anonymise anonymize dcm2niix dicom import nifti pseudonymise pseudonymize",
    ),
    "prepare": (
        "registers the channels of raw scans, strips the skull and resamples them to one grid",
        "coregister register registration skullstrip strip",
    ),
    "split": (
        "finds the cases of a folder and assigns them to folds",
        "data dataset datalist find folds scan",
    ),
    "check": (
        "tries an experiment: its config, headers, labels and a few steps",
        "dry-run lint plan preprocess validate verify",
    ),
    "fit": ("trains a network", "finetune learn resume run start train"),
    "evaluate": (
        "scores predictions against a reference",
        "eval metrics score scores test",
    ),
    "compare": ("compares runs on the same patients", "benchmark leaderboard"),
    "tune": (
        "chooses threshold and components by the scores of validation cases, and fits confidence",
        "calibrate optimise optimize postprocess postprocessing threshold tuning",
    ),
    "infer": (
        "segments scans with a trained model",
        "apply inference predict seg segment serve",
    ),
    "explain": (
        "shows which parts of a scan the prediction of each region rests on",
        "attribution cam gradcam heatmap interpret occlusion saliency why xai",
    ),
    "report": ("writes a page of scores or results, with pictures", "html page summarise"),
    "overlay": (
        "draws a scan with the regions of a label map on top",
        "draw figure gif picture plot render screenshot show visualise visualize",
    ),
    "info": (
        "describes a file, a run or a folder",
        "describe inspect ls stats status summary",
    ),
}
_SYNONYMS = {name: command for command, (_, names) in _COMMANDS.items() for name in names.split()}
_SHARED = {
    "help": "volseg --help",
    "submit": "volseg fit --slurm, or volseg infer --slurm",
    "version": "volseg --version",
}

# Names of options in other programs, and the option of volseg.
_OPTIONS = {
    "--checkpoint": "--model",
    "--jobs": "--workers",
    "--metrics": "--protocol",
    "--mirror": "--tta",
    "--num-folds": "--folds",
    "--num-workers": "--workers",
    "--out": "--output",
    "--output-dir": "--output",
    "--run": "--output",
    "--save-dir": "--output",
    "--save-probabilities": "--probabilities",
    "--weights": "--model",
}


def unknown_command(word: str, commands: Collection[str]) -> ConfigError:
    """The error for a command that does not exist, with the command that is meant."""
    problem = f"volseg has no command {word!r}"
    if word in _SHARED:
        return ConfigError(problem, remedy=f"use {_SHARED[word]}")
    name = word.lower()
    close = difflib.get_close_matches(name, [*commands, *_SYNONYMS], n=1)
    meant = _SYNONYMS.get(close[0], close[0]) if close else None
    if meant is None:
        return ConfigError(problem, remedy=f"use one of {', '.join(commands)}; see volseg --help")
    return ConfigError(problem, remedy=f"use volseg {meant}, which {_COMMANDS[meant][0]}")


def unknown_option(command: Any, words: Sequence[str]) -> ConfigError | None:
    """The error for the first option that a command does not have; None if it has all.

    Args:
        command: Command object of Typer.
        words: Words of the command line after the name of the command.
    """
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    for name, value in _options(words):
        if name not in known:
            remedy = _instead(command, name, value, known)
            return ConfigError(f"volseg {command.name} has no option {name}", remedy=remedy)
    return None


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Options of a command line, each with its probable value."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == "--":
            return
        name, equals, value = word.partition("=")
        if name.startswith("--"):
            yield name, value if equals else "" if following.startswith("-") else following


def _instead(command: Any, name: str, value: str, known: Collection[str]) -> str:
    if other := _other_name(name, known):
        return f"use {other}"
    from volseg.config import ExperimentConfig
    from volseg.config.keys import full_key

    key = full_key(name, ExperimentConfig)
    if key and any(key.startswith(section) for section in _sections(command)):
        return f"write {key}={shlex.quote(value) if value else 'VALUE'}"
    return f"see volseg {command.name} --help"


def _other_name(name: str, known: Collection[str]) -> str | None:
    other = _OPTIONS.get(name)
    if other in known:
        return other
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    return close[0] if close else None


def _sections(command: Any) -> Iterator[str]:
    """Prefixes of the keys that a command takes as `key=value`."""
    for parameter in command.params:
        beginning, takes_keys, _ = str(parameter.metavar).partition("key=value")
        if takes_keys and not parameter.opts[0].startswith("-"):
            yield beginning
