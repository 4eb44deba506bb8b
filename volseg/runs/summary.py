"""Summaries of a config and of the folder of a run, as plain data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from volseg.config import ExperimentConfig, load_config
from volseg.files.writing import CONFIG_FILE, METRICS_FILE, resume_command
from volseg.runs.description import ENVIRONMENT, is_finished, read_description
from volseg.runs.metrics_table import best_row, best_scores, read_metrics


def config_summary(config: ExperimentConfig) -> dict[str, Any]:
    """The main options of an experiment."""
    return {
        "network": config.network.name,
        "labels": config.labels.name,
        "regions": list(config.labels.regions),
        "channels": list(config.data.channels),
        "channels_optional": config.data.channels_optional,
        "spacing_mm": list(config.data.spacing_mm),
        "patch_size": list(config.data.patch_size),
        "window_size": list(config.window_size),
    }


def file_summary(path: Path) -> dict[str, Any]:
    """The main options of a config file, and all options as `config`."""
    config = load_config(path)
    return {**config_summary(config), "config": config.to_dict()}


def run_summary(run: Path) -> dict[str, Any]:
    """Config, epochs, best scores, time and state of a run, as far as they are known."""
    known: dict[str, Any] = {}
    if (run / CONFIG_FILE).is_file():
        known |= file_summary(run / CONFIG_FILE)
    if (run / METRICS_FILE).is_file():
        rows = read_metrics(run / METRICS_FILE)
        last, best = rows[-1] if rows else {}, best_row(rows)
        known["epochs"] = len(rows)
        known["last_epoch"] = {name: float(value) for name, value in last.items() if value}
        known["best_epoch"] = int(best["epoch"]) if best else None
        known["scores"] = best_scores(rows)
    if (run / ENVIRONMENT).is_file():
        again = f"not finished; if it was stopped, resume it with: {resume_command(run)}"
        known["state"] = "finished" if is_finished(run) else again
        # The table adds up the sessions of a resumed run; the description has only the last one.
        epochs = known.get("last_epoch", {}).get("seconds")
        known["seconds"] = epochs or read_description(run).get("seconds")
    return known
