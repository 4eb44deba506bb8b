"""`volseg info`: what a model, a run, a data list, a config, a scan, a folder or a result is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from volseg.cases.case import Case
from volseg.cases.channels import LABEL
from volseg.cases.data_list import read_data_list
from volseg.config import ExperimentConfig, load_config
from volseg.errors import DataListError, VolsegError
from volseg.evaluation.records import half_written, mixed_origins
from volseg.files.documents import read_json
from volseg.files.writing import (
    CONFIG_FILE,
    MANIFEST_FILE,
    METRICS_FILE,
    MODEL_FILE,
    resume_command,
)
from volseg.finding.folders import find_cases
from volseg.finding.name_reading import read_name
from volseg.finding.stacks import is_mask
from volseg.images.bitmap import read_form
from volseg.images.file_names import is_slice
from volseg.images.nifti import read_header, read_label_map
from volseg.images.slice_masks import read_stack_label_map
from volseg.labels import schemes_fitting
from volseg.metrics.reading import read_summary
from volseg.metrics.record import SUMMARY_FILE
from volseg.results.manifest import check_content, read_manifests, unite
from volseg.runs.description import ENVIRONMENT, is_finished
from volseg.runs.metrics_table import read_metrics
from volseg.slurm.script import FOLDER
from volseg.slurm.submission import job_of

RESULTS = "results of volseg infer"

# Of a run whose job has not begun.
_SUBMITTED = f"{FOLDER}/{CONFIG_FILE}"

Describe = Callable[[Path], dict[str, Any]]


def info(path: Path) -> dict[str, Any]:
    """What the file or folder at `path` is and holds, as plain data for JSON.

    Args:
        path: Model file, run folder, data list, config, NIfTI or 2D image, folder of scans,
            manifest of results, or scores.

    Returns:
        `kind` and `path`, then what that kind of thing tells of itself. Spacings are in mm.

    Raises:
        VolsegError: If there is nothing at `path`, or nothing that volseg knows, or it is damaged.
    """
    if not path.exists():
        raise VolsegError(f"{path} does not exist", remedy="check the path", path=path)
    kind, describe = _kind(path)
    return {"kind": kind, "path": str(path), **describe(path)}


def _kind(path: Path) -> tuple[str, Describe]:
    if path.is_dir():
        is_run = any((path / name).is_file() for name in (CONFIG_FILE, MODEL_FILE, _SUBMITTED))
        return ("run", _run) if is_run else ("folder of scans", _folder)
    if path.name.lower().endswith(".json"):
        return _kind_of_json(path)
    if is_slice(path.name):
        return "2D image", _slice
    kinds: Mapping[str, tuple[str, Describe]] = {
        ".safetensors": ("model", _model),
        ".yaml": ("config", _config),
        ".yml": ("config", _config),
        ".nii": ("scan", _scan),
        ".nii.gz": ("scan", _scan),
    }
    for ending, kind in kinds.items():
        if path.name.lower().endswith(ending):
            return kind
    raise VolsegError(
        f"{path} is none of the files that volseg knows",
        remedy=(
            "give a model (.safetensors), a data list (.json), a config (.yaml), a NIfTI image "
            "(.nii, .nii.gz), a 2D image (.tif, .png, .jpg, .bmp), a manifest.json, a scores.json "
            "or a folder"
        ),
        path=path,
    )


def _kind_of_json(path: Path) -> tuple[str, Describe]:
    try:
        content = read_json(path, DataListError)
    except DataListError:
        content = None
    keys = set(content) if isinstance(content, dict) else set()
    if {"models", "cases", "failures"} <= keys:
        return RESULTS, _manifest
    if {"summary", "cases", "empty_mask_policy"} <= keys:
        return "scores", _scores
    # Of anything else, the reader of data lists says why it is none.
    return "data list", _data_list


def _model(path: Path) -> dict[str, Any]:
    # Only a model needs torch, and a header of an image should be there at once.
    from volseg.model_file import load_model
    from volseg.model_header import read_model_header

    header = read_model_header(path).content
    # Weights that cannot be used are no model, whatever the header says.
    model = load_model(path)
    return {
        "megabytes": round(path.stat().st_size / 1e6, 2),
        "sha256": model.sha256,
        "volseg": header["volseg"],
        **_summary(model.config),
        "scores": header["scores"],
        "doubts": list(model.doubts),
        "disclaimer": header["disclaimer"],
        "config": header["config"],
    }


def _run(path: Path) -> dict[str, Any]:
    told = _job(path)
    config = path / (CONFIG_FILE if (path / CONFIG_FILE).is_file() else _SUBMITTED)
    if config.is_file():
        told |= _config(config)
    if (path / METRICS_FILE).is_file():
        rows = read_metrics(path / METRICS_FILE)
        last = rows[-1] if rows else {}
        told["epochs"] = len(rows)
        told["last_epoch"] = {name: float(value) for name, value in last.items() if value}
    if (path / ENVIRONMENT).is_file():
        again = f"not finished; if it was stopped, resume it with: {resume_command(path)}"
        told["state"] = "finished" if is_finished(path) else again
    model = path / MODEL_FILE
    told["model"] = info(model) if model.is_file() else None
    return told


def _job(path: Path) -> dict[str, Any]:
    """The last job that was submitted for a folder, if one was."""
    job, state = job_of(path) or ("", "")
    return {"job": {"number": job, "state": state or "not in the queue"}} if job else {}


def _data_list(path: Path) -> dict[str, Any]:
    # No image is opened, so the root of a shipped list, which the user is to give, is not needed.
    data_list = read_data_list(path, path.parent)
    cases = (*data_list.training, *data_list.testing)
    folds = Counter(case.fold for case in data_list.training if case.fold is not None)
    schemes = Counter(case.labels or "as the config says" for case in cases if case.label)
    return {
        "name": data_list.name,
        "channels": list(data_list.channels),
        "training": len(data_list.training),
        "testing": len(data_list.testing),
        "patients": len({case.patient_id for case in cases}),
        "folds": {str(fold): folds[fold] for fold in sorted(folds)},
        "labels": dict(sorted(schemes.items())),
        **_stacks(cases),
    }


def _stacks(cases: Iterable[Case]) -> dict[str, Any]:
    """Slices and groups of patients, where there are stacks."""
    stacks = [case for case in cases if case.slices]
    if not stacks:
        return {}
    slices: Counter[str] = Counter()
    for case in stacks:
        slices["no fold" if case.fold is None else str(case.fold)] += len(case.slices)
    told: dict[str, Any] = {"slices": slices.total()}
    if set(slices) != {"no fold"}:
        told["slices_by_fold"] = dict(sorted(slices.items()))
    institutions = {
        (case.patient_id, case.groups["institution"])
        for case in stacks
        if "institution" in case.groups
    }
    if institutions:
        told["patients_by_institution"] = dict(sorted(Counter(i for _, i in institutions).items()))
    if columns := sorted({column for case in stacks for column in case.groups} - {"institution"}):
        told["groups"] = columns
    return told


def _manifest(path: Path) -> dict[str, Any]:
    try:
        # What was done since it was written is in its journal.
        found = [one.content for one in read_manifests(path.parent) if one.path.name == path.name]
        return _results(found[0] if found else check_content(read_json(path, DataListError)))
    except (OSError, ValueError) as error:
        raise VolsegError(f"{error}", remedy="move it away") from None


def _results(content: Mapping[str, Any]) -> dict[str, Any]:
    labels = content.get("labels")
    cases = {*content.get("cases", {}), *content.get("unfinished", {})}
    mixed = half_written(content, cases) or mixed_origins(content, cases)
    shard = {name: content[name] for name in ("shard", "finished") if name in content}
    return {
        **shard,
        "cases": len(content.get("cases", {})),
        "failures": content.get("failures", {}),
        "labels": labels.get("name") if isinstance(labels, dict) else labels,
        "models": [model.get("path") for model in content.get("models", ())],
        **({"doubts": content["doubts"]} if content.get("doubts") else {}),
        **({"mixed": mixed} if mixed else {}),
        "device": content.get("device"),
        "volseg": content.get("volseg"),
    }


def _results_of_shards(folder: Path) -> dict[str, Any]:
    """What all manifests of a folder tell together; nothing if none is of a shard."""
    try:
        manifests = read_manifests(folder)
        shards = {
            str(one.shard): "finished" if one.is_finished else "not finished"
            for one in manifests
            if not one.shard.is_whole
        }
        return {**_results(unite(manifests)), "shards": shards} if shards else {}
    except (OSError, ValueError) as error:
        raise VolsegError(f"{error}", remedy="move it away") from None


def _scores(path: Path) -> dict[str, Any]:
    content = read_summary(path)
    asked = ("network", "epoch", "predictions", "prediction_labels", "reference_labels")
    return {
        **{name: content[name] for name in asked if name in content},
        "cases": len(content["cases"]),
        "missing": len(content.get("missing", ())),
        "failed": len(content.get("failed", ())),
        "mean_dice": {
            region: scores["dice"]["mean"] for region, scores in content["summary"].items()
        },
    }


def _config(path: Path) -> dict[str, Any]:
    config = load_config(path)
    return {**_summary(config), "config": config.to_dict()}


def _summary(config: ExperimentConfig) -> dict[str, Any]:
    return {
        "network": config.network.name,
        "labels": config.labels.name,
        "regions": list(config.labels.regions),
        "channels": list(config.data.channels),
        "spacing_mm": list(config.data.spacing_mm),
        "patch_size": list(config.data.patch_size),
        "window_size": list(config.window_size),
    }


def _scan(path: Path) -> dict[str, Any]:
    grid, header = read_header(path)
    return {
        "shape": [int(size) for size in header.get_data_shape()],
        "spacing_mm": [round(float(side), 6) for side in grid.spacing_mm],
        "orientation": grid.orientation,
        "dtype": str(header.get_data_dtype()),
        "qform_code": int(header["qform_code"]),
        "sform_code": int(header["sform_code"]),
        "units": _units(header),
        "affine": [[float(value) for value in row] for row in grid.affine],
        **_values(lambda: read_label_map(path)[0], _may_be_label_map(path, header)),
    }


def _units(header: Any) -> list[str]:
    """Units of length and time, as the header names them."""
    try:
        return list(header.get_xyzt_units())
    except KeyError:  # there is no such unit
        return ["unknown", "unknown"]


def _may_be_label_map(path: Path, header: Any) -> bool:
    # infer writes its label maps as bytes and calls them by the case alone.
    return LABEL in read_name(path.name, ()).contents or header.get_data_dtype() == np.uint8


def _slice(path: Path) -> dict[str, Any]:
    form = read_form(path, str(path))
    return {
        "columns": form.size[0],
        "rows": form.size[1],
        "channels": form.bands[0],
        "stored_as": form.kind,
        **_values(lambda: read_stack_label_map([path], None)[0], is_mask(path)),
    }


def _values(read: Callable[[], np.typing.NDArray[np.uint8]], asked: bool) -> dict[str, Any]:
    """Values of what may be a label map, and what they fit; nothing if it is none."""
    try:
        values = [int(value) for value in np.unique(read())] if asked else []
    except VolsegError:
        values = []
    fitting = schemes_fitting(values)
    if not values or not fitting:
        return {}
    return {"kind": "label map", "values": values, "fitting_labels": fitting}


def _folder(path: Path) -> dict[str, Any]:
    try:
        finding = find_cases([path])
    except DataListError:
        job = _job(path)
        if told := _results_of_shards(path):
            return {"kind": RESULTS, "path": str(path), **job, **told}
        for name, kind in ((MANIFEST_FILE, RESULTS), (SUMMARY_FILE, "scores")):
            if (path / name).is_file() and _kind(path / name)[0] == kind:
                return info(path / name) | job
        if job:
            return {"kind": RESULTS, "path": str(path), **job}
        raise
    stacks = all(case.slices for case in finding.cases)
    return {
        "kind": "folder of 2D slices" if stacks else "folder of scans",
        "cases": len(finding.cases),
        "patients": len({case.patient_id for case in finding.cases}),
        "labelled": sum(bool(case.label) for case in finding.cases),
        "layouts": dict(finding.layouts),
        **_stacks(finding.cases),
        "skipped": {str(skipped.path): skipped.sentence for skipped in finding.skipped},
    }
