"""Command `info`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from volseg.cli.app import USE, command
from volseg.cli.terminal import put


@command(USE)
def info(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Model, run, data list, config, scan, 2D image, folder, manifest or scores.",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="For other programs.")] = False,
) -> None:
    """Tell what a model, a run, a data list, a scan, a 2D image or a result is.

    Of a folder it tells the cases, of scores the mean Dice, of a label map the
    values.

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
    else:
        put(as_yaml(facts), sys.stdout)


def as_yaml(facts: Mapping[str, Any]) -> str:
    """Plain data for people to read."""
    import yaml

    return yaml.safe_dump(dict(facts), sort_keys=False, default_flow_style=None, width=100).rstrip()
