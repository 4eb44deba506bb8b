"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def completed_keys(incomplete: str) -> list[str]:
    """Options of a config that begin with `incomplete`, with defaults, for shell completion."""
    from volseg.config import ExperimentConfig
    from volseg.config.keys import option_defaults

    defaults = option_defaults(ExperimentConfig)
    return [
        f"{key}={_as_yaml(default)}"
        for key, default in defaults.items()
        if key.startswith(incomplete)
    ]


def completed_inference_keys(incomplete: str) -> list[str]:
    """As `completed_keys`, for the section `inference` only."""
    return [word for word in completed_keys(incomplete) if word.startswith("inference.")]


def _as_yaml(default: object) -> str:
    """A default as a word of a command line; empty if there is none or it is a collection."""
    if isinstance(default, bool):
        return str(default).lower()
    return str(default) if isinstance(default, int | float | str) else ""


Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file of an experiment.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="key=value",
        help="Options that override the config, such as training.max_epochs=50.",
        autocompletion=completed_keys,
        show_default=False,
    ),
]
Fold = Annotated[
    int | None,
    typer.Option(
        min=0, metavar="K", help="Use only this fold of a data list.", show_default="every case"
    ),
]
PatientRegex = Annotated[
    str | None,
    typer.Option(
        "--patient-regex",
        metavar="REGEX",
        help="Pattern whose first group is the patient, searched in the file name or, if the "
        "pattern holds a /, in the path; the 2D images of a patient then form one case.",
        show_default="the naming of known data sets",
    ),
]
Names = Annotated[
    list[str] | None,
    typer.Option(
        "--name",
        metavar="CHANNEL=GLOB",
        help="Pattern of the file names of a channel, such as t1c='*MPRAGE_GD*'; repeat it for "
        "each channel. If several patterns fit a name, the longest counts. A folder with one file "
        "for each channel is a case; in a folder with more, the rest of a name is the case.",
        show_default=False,
    ),
]
LabelName = Annotated[
    str | None,
    typer.Option(
        "--label-name",
        metavar="SUFFIX",
        help="End of the names of label maps, without .nii.gz, such as _lesion.",
        show_default="_seg, or as in public data sets",
    ),
]
SpacingMm = Annotated[
    str | None,
    typer.Option(
        "--spacing",
        metavar="A,B,C",
        help="Size of a voxel of 2D slices in mm: along columns, rows and slices.",
        show_default="not known",
    ),
]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        "--data-root",
        metavar="FOLDER",
        help="Folder that the paths of a data list are relative to.",
        show_default="as in the list",
    ),
]


def sizes(listed: str | None) -> tuple[float, ...] | None:
    """Numbers of a text `A,B,C`; None for None."""
    if listed is None:
        return None
    try:
        return tuple(float(word) for word in listed.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"{listed!r} is no list of sizes; give three sizes in mm, such as 1,1,5"
        ) from None
