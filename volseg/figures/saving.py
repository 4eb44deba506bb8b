"""Figures as arrays and files, and the words that pictures of cases bear."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from volseg import DISCLAIMER
from volseg.files.ownership import PICTURE_SOFTWARE
from volseg.files.writing import atomic_write

logger = logging.getLogger(__name__)

#: Room for the heading, and for legend and disclaimer.
TOP_INCHES, BOTTOM_INCHES = 0.55, 0.6


def figure_array(figure: Figure) -> npt.NDArray[np.uint8]:
    """The drawn figure as an RGB array (H, W, 3), 0 to 255."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def save_figure(figure: Figure, path: Path) -> None:
    """Write the figure, whole or not at all; the format follows the name (.png, .svg, .pdf).

    Raises:
        OutputError: If the file cannot be written.
    """
    FigureCanvasAgg(figure)
    with atomic_write(path) as temporary:
        ending = path.suffix[1:]
        about = {"Software": PICTURE_SOFTWARE} if ending == "png" else None
        colour = figure.get_facecolor()
        figure.savefig(temporary, format=ending, facecolor=colour, metadata=about)


@contextlib.contextmanager
def optional_picture(path: Path) -> Iterator[None]:
    """What stops the drawing of `path` in this block is logged: no run is to fail by a picture."""
    try:
        yield
    except Exception as error:
        logger.warning("%s was not drawn: %s", path, error)


def words(figure: Figure, title: str) -> None:
    """Heading and disclaimer."""
    inches = figure.get_figheight()
    figure.text(0.5, 1 - 0.08 / inches, title, color="white", fontsize=11, ha="center", va="top")
    figure.text(0.5, 0.05 / inches, DISCLAIMER, color="#BBBBBB", fontsize=7, ha="center")


def legend(figure: Figure, colours: Mapping[str, str], styles: Collection[str]) -> None:
    """What colours and styles of lines mean, below the panels."""
    lines = [Line2D([], [], color=colour, label=region) for region, colour in colours.items()]
    known: Mapping[Literal["dashed", "solid"], str] = {"dashed": "reference", "solid": "prediction"}
    for style, name in known.items():
        if style in styles:
            lines.append(Line2D([], [], color="white", linestyle=style, label=name))
    if lines:
        figure.legend(
            handles=lines,
            loc="lower center",
            bbox_to_anchor=(0.5, 0.2 / figure.get_figheight()),
            ncols=len(lines),
            fontsize=8,
            frameon=False,
            labelcolor="white",
        )
