"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="Experiment, a YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="key=value",
        help="Options that replace those of the file, such as training.max_epochs=50.",
        show_default=False,
    ),
]
Fold = Annotated[
    int | None,
    typer.Option(
        min=0, metavar="K", help="Only this fold of a data list.", show_default="every case"
    ),
]
PatientRegex = Annotated[
    str | None,
    typer.Option(
        "--patient-regex",
        metavar="REGEX",
        help="Finds the patient in the name of a file, as its first group, or with a / in its "
        "path; the 2D images of a patient are then one case.",
        show_default="by the names of known data sets",
    ),
]
Names = Annotated[
    list[str] | None,
    typer.Option(
        "--name",
        metavar="CHANNEL=GLOB",
        help="Files of a channel whose names are not known, such as t1c='*MPRAGE_GD*'; again for "
        "each other channel. Of globs that fit a name, the longest counts. Files of a folder, "
        "one for each channel, are one case; of more, what is left of the name is the case.",
        show_default=False,
    ),
]
LabelName = Annotated[
    str | None,
    typer.Option(
        "--label-name",
        metavar="SUFFIX",
        help="End of the names of label maps without .nii.gz, such as _lesion.",
        show_default="_seg and those of public data sets",
    ),
]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        "--data-root",
        metavar="FOLDER",
        help="Where the paths of a data list start from.",
        show_default="as the list says",
    ),
]
