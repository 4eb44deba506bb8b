"""Command `info`: a short description for people, or all facts as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from volseg.cli.app import USE, command
from volseg.cli.confidence_tables import print_calibration, print_predicted_dice
from volseg.cli.look_at_first import LISTED
from volseg.cli.next_steps import REFERENCE, SCANS, line, next_steps
from volseg.cli.tables import print_validation, say
from volseg.cli.terminal import put
from volseg.progress import clock

# Facts that only --json shows.
_FOR_PROGRAMS = {"affine", "qform_code", "sform_code", "sha256", "last_epoch", "config"}
# Facts in a table below the others.
_IN_TABLES = {"measures"}


@command(USE)
def info(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Model, run, data list, config, scan, 2D image, folder, manifest or scores.",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
    with_config: Annotated[
        bool, typer.Option("--config", help="Also the config of a model or a run, as YAML.")
    ] = False,
) -> None:
    """Describe a model, a run, a data list, a scan, a 2D image or a result.

    Of a folder, its cases; of results, the cases to look at first, the sizes
    of the regions and the pictures; of scores, the mean Dice; of a label map,
    its values and the label schemes that define them.

    Examples:
      volseg info runs/brats_unet/model.safetensors
      volseg info scan.nii.gz --json
      volseg info kaggle_3m
      volseg info results/manifest.json
    """
    from volseg.tasks.info import info as run_info

    facts = run_info(file)
    if as_json:
        put(json.dumps(facts, indent=2), sys.stdout)
        return
    config = facts.get("config")
    if with_config and config:
        put(as_yaml({"config": config}), sys.stdout)
        return
    for name, value in in_short(facts).items():
        for words in _lines(name, value):
            say(f"{name}: {words}")
    if scores := _validation(facts):
        print_validation(scores)
    _print_confidence(facts if facts["kind"] == "model" else facts.get("model") or {})
    if measures := facts.get("measures"):
        _print_measures(measures)
    beside = [line("volseg", "info", run) for run in facts.get("runs", ())]
    next_steps(_next(file, facts) or ({"describe the run": beside} if beside else {}))


def _print_confidence(facts: Mapping[str, Any]) -> None:
    """Tables of what `volseg tune` fitted, if a model holds it."""
    if calibration := facts.get("calibration"):
        print_calibration(calibration)
    if predicted_dice := facts.get("predicted_dice"):
        print_predicted_dice(predicted_dice, facts["regions"])


def _print_measures(facts: Mapping[str, Any]) -> None:
    from volseg.cli.measures_tables import print_measures
    from volseg.measures.record import read_measures

    print_measures({case: read_measures({"measures": of}) for case, of in facts.items()})


def in_short(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The main facts for people, in about ten entries."""
    if "network" not in facts or "channels" not in facts:
        return {
            name: value
            for name, value in facts.items()
            if name not in _FOR_PROGRAMS | _IN_TABLES and value not in ({}, [], None)
        }
    sides = " x ".join(f"{mm:g}" for mm in facts["spacing_mm"])
    short: dict[str, Any] = {
        "kind": facts["kind"],
        "path": facts["path"],
        "network": facts["network"],
        "labels": f"{facts['labels']}, regions {' '.join(facts['regions'])}",
        "channels": f"{' '.join(facts['channels'])} at {sides} mm"
        + (", of which a case may lack any but one" if facts["channels_optional"] else ""),
        "patch": f"{' x '.join(map(str, facts['patch_size']))} voxels",
    }
    for name in ("job", "state", "doubts", "tuning", "training_data", "runs"):
        if facts.get(name):
            short[name] = facts[name]
    if "epochs" in facts:
        short["epochs"] = _epochs(facts)
    if facts["kind"] == "run":
        model = facts["model"] or {"path": "none yet"}
        short["model"] = model["path"]
        of_model = ("doubts", "tuning", "training_data")
        short |= {name: model[name] for name in of_model if model.get(name)}
    if "megabytes" in facts:
        short["size"] = f"{facts['megabytes']} MB"
    return short


def _listed(lines: Sequence[str]) -> list[str]:
    left = len(lines) - LISTED
    return [*lines[:LISTED], *([f"and {left} more"] if left > 0 else [])]


def _lines(name: str, value: Any) -> list[str]:
    """Text of a fact, each of several doubts on a line of its own."""
    from volseg.confidence.training_profile import TrainingProfile
    from volseg.metrics import get_score
    from volseg.model_header import tuning_in_words

    if name == "tuning":
        return [tuning_in_words(value)]
    if name == "training_data":
        return [TrainingProfile.from_dict(value, "the model").in_words]
    if name == "look_at":
        value = _listed([f"{case_id}, {'; '.join(reasons)}" for case_id, reasons in value.items()])
    if name in ("doubts", "look_at"):
        return [str(sentence) for sentence in value]
    if name == "mean_dice":
        text = get_score("dice").text
        return [", ".join(f"{region} {text(mean)}" for region, mean in value.items())]
    if name == "units":
        length, time = value
        return [f"{length}; time: {time}"]
    return [_in_words(value)]


def _in_words(value: object) -> str:
    """A value on one line, with rounded numbers and comma-separated lists."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_in_words(of)}" for name, of in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_in_words, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _epochs(facts: Mapping[str, Any]) -> str:
    best = f", the best is {facts['best_epoch']}" if facts["best_epoch"] else ""
    seconds = facts.get("seconds")
    return f"{facts['epochs']}{best}{f', in {clock(seconds)}' if seconds else ''}"


def _validation(facts: Mapping[str, Any]) -> dict[str, float]:
    """Validation scores of a run or a model."""
    scores = facts.get("scores") if facts["kind"] in {"run", "model"} else None
    return {name: value for name, value in (scores or {}).items() if "/" in name}


def _next(path: Path, facts: Mapping[str, Any]) -> dict[str, Iterable[str]]:
    """Next commands for a file or folder, by purpose."""
    from volseg.tasks.info import RESULTS

    kind, runs = facts["kind"], facts.get("runs", ())
    if kind == "model" or (kind == "run" and facts["model"]):
        return {"segment scans": [line("volseg", "infer", SCANS, "-m", path, "-o", "results")]}
    of_kind: Mapping[str, dict[str, Iterable[str]]] = {
        "runs": {"compare them": [line("volseg", "compare", *runs, "-o", "comparison")]},
        "config": {"try it": [line("volseg", "check", path)]},
        "data list": {"train": [line("volseg", "fit", "CONFIG", f"data.data_list={path}")]},
    }
    if kind in of_kind:
        return of_kind[kind]
    if kind.startswith("folder of"):
        infer = line("volseg", "infer", path, "-m", "MODEL", "-o", "results")
        split = line("volseg", "split", path, "-o", "list.json")
        if facts["unregistered"]:
            prepare = line("volseg", "prepare", path, "-o", "prepared")
            return {"register their channels": [prepare]}
        return {"train on them": [split]} if facts["labelled"] else {"segment them": [infer]}
    if kind == RESULTS and facts.get("cases"):
        folder = path if path.is_dir() else path.parent
        return {"score them": [line("volseg", "evaluate", folder, REFERENCE, "-o", "scores")]}
    return {}


def as_yaml(facts: Mapping[str, Any]) -> str:
    """Plain data as YAML."""
    import yaml

    return yaml.safe_dump(dict(facts), sort_keys=False, default_flow_style=None, width=100).rstrip()
