"""`volseg info`: facts of a model, run, data list, config, scan, folder or result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from volseg.confidence.predicted_dice import DicePredictor
from volseg.confidence.training_profile import TrainingProfile
from volseg.errors import DataListError, VolsegError
from volseg.evaluation.summary import results_summary, scores_summary, shards_summary
from volseg.files.documents import read_json
from volseg.files.ownership import is_ours
from volseg.files.writing import (
    COMPARISON_FILE,
    CONFIG_FILE,
    MANIFEST_FILE,
    METRICS_FILE,
    MODEL_FILE,
)
from volseg.finding.folders import find_cases
from volseg.finding.summary import folder_summary, list_summary
from volseg.images.file_names import is_slice
from volseg.metrics.record import SUMMARY_FILE
from volseg.runs.description import ENVIRONMENT
from volseg.runs.summary import config_summary, file_summary, run_summary
from volseg.slurm.queue import job_of
from volseg.slurm.script import FOLDER
from volseg.survey.image_summary import scan_summary, slice_summary

RESULTS = "results of volseg infer"
CONFIG_AND_NO_RUN = "folder with a config that is no run"

# Config of a run whose job has not started.
_SUBMITTED = f"{FOLDER}/{CONFIG_FILE}"

Describe = Callable[[Path], dict[str, Any]]


def info(path: Path) -> dict[str, Any]:
    """Facts of the file or folder at `path`, as plain data for JSON.

    Args:
        path: Model file, run folder, data list, config, NIfTI or 2D image, folder of scans,
            manifest of results, or scores.

    Returns:
        `kind` and `path`, then the facts of that kind. Spacings are in mm.

    Raises:
        VolsegError: If `path` does not exist, is of an unknown kind, or is damaged.
    """
    if not path.exists():
        raise VolsegError(f"{path} does not exist", remedy="check the path", path=path)
    kind, describe = _kind(path)
    return {"kind": kind, "path": str(path), **describe(path)}


def _kind(path: Path) -> tuple[str, Describe]:
    if path.is_dir():
        return _kind_of_folder(path)
    if path.name.lower().endswith(".json"):
        return _kind_of_json(path)
    if is_slice(path.name):
        return "2D image", slice_summary
    kinds: Mapping[str, tuple[str, Describe]] = {
        ".safetensors": ("model", _model),
        ".yaml": ("config", file_summary),
        ".yml": ("config", file_summary),
        ".nii": ("scan", scan_summary),
        ".nii.gz": ("scan", scan_summary),
    }
    for ending, kind in kinds.items():
        if path.name.lower().endswith(ending):
            return kind
    raise VolsegError(
        f"{path} is no kind of file that volseg knows",
        remedy=(
            "give a model (.safetensors), a data list (.json), a config (.yaml), a NIfTI image "
            "(.nii, .nii.gz), a 2D image (.tif, .png, .jpg, .bmp), a manifest.json, a scores.json "
            "or a folder"
        ),
        path=path,
    )


def _kind_of_folder(path: Path) -> tuple[str, Describe]:
    if _is_run(path):
        return "run", _run
    # The folder of a demo holds the config, and the run in a folder of its own.
    if (path / CONFIG_FILE).is_file():
        return CONFIG_AND_NO_RUN, _config_alone
    if is_ours(path / COMPARISON_FILE):
        return "comparison of volseg compare", _comparison
    folders = [one for one in path.iterdir() if one.is_dir() and not one.name.startswith(".")]
    if folders and all(map(_is_run, folders)):
        return "runs", _runs
    return "folder of scans", _folder


def _is_run(folder: Path) -> bool:
    names = (MODEL_FILE, METRICS_FILE, ENVIRONMENT, _SUBMITTED)
    return any((folder / name).is_file() for name in names)


def _config_alone(path: Path) -> dict[str, Any]:
    runs = [str(file.parent) for file in sorted(path.glob(f"*/{ENVIRONMENT}"))]
    return {**file_summary(path / CONFIG_FILE), "runs": runs}


def _comparison(path: Path) -> dict[str, Any]:
    return {"report": str(path / COMPARISON_FILE)}


def _runs(path: Path) -> dict[str, Any]:
    return {"runs": [str(one) for one in sorted(path.iterdir()) if _is_run(one)]}


def _kind_of_json(path: Path) -> tuple[str, Describe]:
    try:
        content = read_json(path, DataListError)
    except DataListError:
        content = None
    keys = set(content) if isinstance(content, dict) else set()
    if {"models", "cases", "failures"} <= keys:
        return RESULTS, results_summary
    if {"summary", "cases", "empty_mask_policy"} <= keys:
        return "scores", scores_summary
    # For any other file, the reader of data lists explains why it is no data list.
    return "data list", list_summary


def _model(path: Path) -> dict[str, Any]:
    # Imported here, as only models need torch, and the facts of an image should come at once.
    from volseg.model_file import load_model
    from volseg.model_header import read_model_header

    header = read_model_header(path).content
    # The weights must be usable too, not only the header.
    model = load_model(path)
    if (fit := header.get("predicted_dice")) is not None:
        DicePredictor.from_dict(fit, str(path), tuple(model.config.labels.regions))
    if (profile := header.get("training_data")) is not None:
        TrainingProfile.from_dict(profile, str(path))
    return {
        "megabytes": round(path.stat().st_size / 1e6, 2),
        "sha256": model.sha256,
        "volseg": header["volseg"],
        **config_summary(model.config),
        "scores": header["scores"],
        "doubts": list(model.doubts),
        "tuning": header.get("tuning"),
        "calibration": header.get("calibration"),
        "predicted_dice": header.get("predicted_dice"),
        "training_data": header.get("training_data"),
        "disclaimer": header["disclaimer"],
        "config": header["config"],
    }


def _run(path: Path) -> dict[str, Any]:
    known = _job(path) | run_summary(path)
    if "config" not in known and (path / _SUBMITTED).is_file():
        known |= file_summary(path / _SUBMITTED)
    model = path / MODEL_FILE
    return known | {"model": info(model) if model.is_file() else None}


def _job(path: Path) -> dict[str, Any]:
    """Number and state of the last job that was submitted for a folder, if there is one."""
    job, state = job_of(path) or ("", "")
    return {"job": {"number": job, "state": state or "not in the queue"}} if job else {}


def _folder(path: Path) -> dict[str, Any]:
    try:
        finding = find_cases([path])
    except DataListError:
        job = _job(path)
        if known := shards_summary(path):
            return {"kind": RESULTS, "path": str(path), **job, **known}
        for name, kind in ((MANIFEST_FILE, RESULTS), (SUMMARY_FILE, "scores")):
            if (path / name).is_file() and _kind(path / name)[0] == kind:
                return info(path / name) | job
        if job:
            return {"kind": RESULTS, "path": str(path), **job}
        raise
    return folder_summary(finding)
