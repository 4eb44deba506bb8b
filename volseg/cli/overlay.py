"""Command `overlay`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from volseg.cli.app import USE, command
from volseg.cli.tables import say
from volseg.errors import ConfigError

# Slices named in the line of what is shown, at most.
_NAMED = 9


class _Plane(StrEnum):
    """Planes of slices; typer shows them in the help."""

    AXIAL = "axial"
    CORONAL = "coronal"
    SAGITTAL = "sagittal"


@command(USE)
def overlay(  # noqa: PLR0913, PLR0917  (typer makes an option of each)
    scan: Annotated[
        Path, typer.Argument(metavar="SCAN", help="NIfTI file, 2D image or folder of a case.")
    ],
    labels_at: Annotated[
        Path,
        typer.Argument(
            metavar="LABELS",
            help="Label map: a file, a folder of results or masks, or the folder of the case.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="PICTURE",
            help="Picture (.png, .jpg, .svg, .pdf), or animation through all slices (.webp, .gif).",
        ),
    ],
    reference: Annotated[
        Path | None,
        typer.Option(
            metavar="LABELS", help="A second label map, outlined with dashes.", show_default="none"
        ),
    ] = None,
    number: Annotated[
        int | None,
        typer.Option(
            "--slice",
            metavar="N",
            help="Number of the slice in the file, counted from 1.",
            show_default="the slice with the largest area",
        ),
    ] = None,
    montage: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100,
            metavar="N",
            help="Show N slices: that with the largest area and others spread evenly.",
            show_default="one slice",
        ),
    ] = None,
    plane: Annotated[
        _Plane, typer.Option(metavar="PLANE", help="axial, coronal or sagittal.")
    ] = _Plane.AXIAL,
    channels: Annotated[
        list[str] | None,
        typer.Option(
            "--channel",
            metavar="NAME",
            help="Channel to show, such as t1c; repeat it for channels side by side.",
            show_default="t2f, or else the first",
        ),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            metavar="LOW,HIGH",
            help="Grey values that become black and white.",
            show_default="percentiles of each channel; for CT 0,80",
        ),
    ] = None,
    regions: Annotated[
        list[str] | None,
        typer.Option(
            "--region",
            metavar="NAMES",
            help="Regions to draw, such as WT,TC; repeatable.",
            show_default="all",
        ),
    ] = None,
    outline: Annotated[
        float, typer.Option(min=0, max=1, metavar="SHARE", help="Opacity of outlines.")
    ] = 1.0,
    fill: Annotated[
        float, typer.Option(min=0, max=1, metavar="SHARE", help="Opacity of filled areas.")
    ] = 0.0,
    text: Annotated[
        bool,
        typer.Option(
            "--text/--no-text",
            help="Names, sides of the patient, legend and the note that the picture is for "
            "research only; without them, say so in the caption.",
        ),
    ] = True,
    speed: Annotated[
        float | None,
        typer.Option(
            "--fps",
            min=0.5,
            max=50,
            metavar="N",
            help="Slices a second in an animation.",
            show_default="12",
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Label scheme of LABELS.",
            show_default="as recorded by volseg infer, or by names and values of the files",
        ),
    ] = None,
    reference_labels: Annotated[
        str | None,
        typer.Option(
            "--reference-labels",
            metavar="NAME",
            help="Label scheme of the reference.",
            show_default="as for LABELS",
        ),
    ] = None,
) -> None:
    """Draw a scan with the regions of a label map on top, for a paper or a slide.

    Each region has its colour, the same in all pictures of volseg. The
    patient's right is on the left of axial and coronal slices, whatever the
    orientation of the file. Scan and label maps must lie on the same grid.

    An animation shows all slices with tissue; its file has a megabyte at
    most.

    Examples:
      volseg overlay scans/BraTS-GLI-00001-000 results -o tumour.png
      volseg overlay t1c.nii.gz seg.nii.gz --labels brats2023 -o figure.pdf
      volseg overlay scans/P7 results --channel t1c --montage 3 -o P7.png
      volseg overlay ct.nii.gz lesion.nii.gz --window 0,80 -o ct.png
      volseg overlay scans/P7 results --fill 0.4 --no-text -o P7.pdf
      volseg overlay scans/P7 results --reference scans/P7 -o P7.webp
    """
    from volseg.tasks.overlay import OverlayOptions
    from volseg.tasks.overlay import overlay as run_overlay

    result = run_overlay(
        scan,
        labels_at,
        output,
        OverlayOptions(
            reference=reference,
            labels=labels,
            reference_labels=reference_labels,
            channels=tuple(channels or ()),
            window=_window(window),
            regions=tuple(name.strip() for names in regions or () for name in names.split(",")),
            plane=plane.value,
            slice=number,
            montage=montage,
            outline=outline,
            fill=fill,
            text=text,
            frames_per_second=speed,
        ),
    )
    shown = result.slices if len(result.slices) <= _NAMED else (f"{len(result.slices)} slices",)
    say(f"Shown: {', '.join(shown)} ({result.chosen_by})")
    say(f"Picture: {result.path}")


def _window(given: str | None) -> tuple[float, float] | None:
    try:
        low, high = map(float, given.split(",")) if given else (None, None)
    except ValueError:
        raise ConfigError(
            f"--window is {given!r}", remedy="give two grey values, such as 0,80"
        ) from None
    return None if low is None or high is None else (low, high)
