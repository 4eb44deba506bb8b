"""`volseg info`: what a model, a run, a data list, a config, a scan or a folder of scans is."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib

from volseg.config import ExperimentConfig, load_config
from volseg.datalist import find_cases, read_data_list
from volseg.errors import VolsegError
from volseg.files import CONFIG_FILE, METRICS_FILE, MODEL_FILE
from volseg.nifti import read_header

Describe = Callable[[Path], dict[str, Any]]


def info(path: Path) -> dict[str, Any]:
    """What the file or folder at `path` is and holds, as plain data for JSON.

    Args:
        path: Model file, run folder, data list, config, NIfTI image, or folder of scans.

    Returns:
        `kind` and `path`, then what that kind of thing tells of itself. Spacings are in mm.

    Raises:
        VolsegError: If there is nothing at `path`, or nothing that volseg knows, or it is damaged.
    """
    if not path.exists():
        raise VolsegError(f"{path} does not exist; check the path")
    kind, describe = _kind(path)
    return {"kind": kind, "path": str(path), **describe(path)}


def _kind(path: Path) -> tuple[str, Describe]:
    if path.is_dir():
        is_run = any((path / name).is_file() for name in (CONFIG_FILE, MODEL_FILE))
        return ("run", _run) if is_run else ("folder of scans", _folder)
    kinds: Mapping[str, tuple[str, Describe]] = {
        ".safetensors": ("model", _model),
        ".json": ("data list", _data_list),
        ".yaml": ("config", _config),
        ".yml": ("config", _config),
        ".nii": ("scan", _scan),
        ".nii.gz": ("scan", _scan),
    }
    for ending, kind in kinds.items():
        if path.name.lower().endswith(ending):
            return kind
    raise VolsegError(
        f"{path} is none of the files that volseg knows; give a model (.safetensors), a data list "
        "(.json), a config (.yaml), a NIfTI image (.nii, .nii.gz) or a folder"
    )


def _model(path: Path) -> dict[str, Any]:
    # Only a model needs torch, and a header of an image should be there at once.
    from volseg.checkpoint import file_sha256, read_checkpoint_header

    header = read_checkpoint_header(path)
    config = ExperimentConfig.from_dict(header["config"], where=f"the config in {path}")
    return {
        "megabytes": round(path.stat().st_size / 1e6, 2),
        "sha256": file_sha256(path),
        "volseg": header["volseg"],
        **_summary(config),
        "scores": header["scores"],
        "disclaimer": header["disclaimer"],
        "config": header["config"],
    }


def _run(path: Path) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if (path / CONFIG_FILE).is_file():
        told |= _config(path / CONFIG_FILE)
    if (path / METRICS_FILE).is_file():
        with (path / METRICS_FILE).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        last = rows[-1] if rows else {}
        told["epochs"] = len(rows)
        told["last_epoch"] = {name: float(value) for name, value in last.items() if value}
    model = path / MODEL_FILE
    told["model"] = info(model) if model.is_file() else None
    return told


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
        "orientation": "".join(nib.aff2axcodes(grid.affine)),
        "dtype": str(header.get_data_dtype()),
        "qform_code": int(header["qform_code"]),
        "sform_code": int(header["sform_code"]),
        "units": list(header.get_xyzt_units()),
        "affine": [[float(value) for value in row] for row in grid.affine],
    }


def _folder(path: Path) -> dict[str, Any]:
    finding = find_cases([path])
    return {
        "cases": len(finding.cases),
        "patients": len({case.patient_id for case in finding.cases}),
        "labelled": sum(case.label is not None for case in finding.cases),
        "layouts": dict(finding.layouts),
        "skipped": {str(skipped.path): skipped.reason for skipped in finding.skipped},
    }
