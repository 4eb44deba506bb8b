"""Results of a run: scores of its cases for the log, and a figure of sample cases."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from volseg.cases.filling import lacking_in_words
from volseg.config import ExperimentConfig
from volseg.errors import DataListError
from volseg.figures.figure_files import optional_picture
from volseg.figures.samples import draw_samples
from volseg.files.writing import MODEL_FILE, SAMPLES_FILE
from volseg.metrics.reading import read_summary
from volseg.metrics.record import SUMMARY_FILE
from volseg.model_file import load_model
from volseg.training.case_views import segmented_view
from volseg.training.datamodule import VolumeDataModule

logger = logging.getLogger(__name__)

_CASES_SHOWN = 20
_VALUES_SHOWN = 10
_PATIENTS_IN_GROUP = 2


def report_scores(
    run: Path,
    data: VolumeDataModule,
    config: ExperimentConfig,
    device: torch.device,
    *,
    new: bool,
) -> None:
    """Log the scores of the cases, if new, and draw the best, the median and the worst case."""
    scores = read_scores(run / SUMMARY_FILE)
    if scores is None or not data.validation:
        return
    for line in score_lines(scores, config.data.fill_missing) if new else ():
        logger.info("%s", line)
    for doubt in scores.get("doubts", ()) if new else ():
        logger.warning("%s", doubt)
    picture, model = run / SAMPLES_FILE, run / MODEL_FILE
    if picture.exists() and picture.stat().st_mtime >= model.stat().st_mtime:
        return
    dice = {
        case_id: {region: of["dice"] for region, of in case["regions"].items()}
        for case_id, case in scores["cases"].items()
    }
    cases = {case.case.case_id: case for case in data.validation}
    with optional_picture(picture):
        network = load_model(model).network.to(device)
        draw_samples(
            picture,
            {case_id: of for case_id, of in dice.items() if case_id in cases},
            lambda case_id: segmented_view(cases[case_id], network, config, device),
            f"Validation cases of {run.resolve().name}",
        )


def read_scores(path: Path) -> dict[str, Any] | None:
    """Content of `scores.json` of the best model; None if it cannot be read."""
    try:
        return read_summary(path)
    except DataListError:
        return None


def score_lines(document: Mapping[str, Any], fill: str | None) -> list[str]:
    """A line for each case, unless there are many, and for each group of cases.

    Args:
        document: Scores as returned by `read_scores`.
        fill: Channel that stands in for missing channels; None: zeros stand in.
    """
    cases: Mapping[str, Any] = document["cases"]
    missing = document.get("missing_channels", {})
    lines = [
        _scores(name, {region: of["dice"] for region, of in case["regions"].items()})
        + (f" ({lacking_in_words(missing[name], fill)})" if name in missing else "")
        for name, case in cases.items()
    ]
    if len(cases) > _CASES_SHOWN:
        lines = [f"scores of each of the {len(cases)} cases are in scores.csv"]
    return lines + _group_lines(document.get("group_scores", {}))


def _group_lines(groups: Mapping[str, Any]) -> list[str]:
    lines, in_file = [], []
    for column, values in groups.items():
        counts = {value: next(iter(of.values()))["n"] for value, of in values.items()}
        # A group of a single patient repeats the line of the patient, and a group of all patients
        # repeats the table.
        if not 1 < len(values) <= _VALUES_SHOWN or min(counts.values()) < _PATIENTS_IN_GROUP:
            in_file.append(column)
            continue
        for value, regions in values.items():
            means = {region: of["dice"]["mean"] for region, of in regions.items()}
            lines.append(f"{_scores(f'{column} {value}', means)} (mean of {counts[value]})")
    return lines + ([f"scores by {', '.join(in_file)} are in groups.csv"] if in_file else [])


def _scores(name: str, dice: Mapping[str, float | None]) -> str:
    scores = (f"{region} {value:.3f}" for region, value in dice.items() if value is not None)
    return f"{name}: Dice {', '.join(scores) or '-'}"
