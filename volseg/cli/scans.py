"""Scans as words of a command line: a folder, a data list, one file, or the images of one case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from volseg.cli.options import completed_inference_keys
from volseg.errors import ConfigError

Scans = Annotated[
    Path | None,
    typer.Argument(
        metavar="SCANS",
        help="Folder of cases, one case, one file, or a data list; left out if --t1n, --image "
        "or the like name the files of one case.",
        show_default=False,
    ),
]
InferenceOverrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="inference.key=value",
        help="Options that replace those of the model, such as inference.window_batch=2.",
        autocompletion=completed_inference_keys,
        show_default=False,
    ),
]
Channel = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Image of this channel of one case.", show_default=False),
]
Images = Annotated[
    list[str] | None,
    typer.Option(
        "--image",
        metavar="CHANNEL=FILE",
        help="Image of any channel of one case; or CHANNEL,CHANNEL,...=FILE for a 4D file.",
        show_default=False,
    ),
]


def images_by_channel(
    named: Mapping[str, Path | None], listed: Sequence[str] | None
) -> dict[str, Path]:
    """The image of each channel of one case.

    Args:
        named: Values of the options that are named like channels.
        listed: Words `CHANNEL=FILE`.

    Raises:
        ConfigError: If a word has another form, or a channel has two files.
    """
    images = {channel: file for channel, file in named.items() if file}
    for word in listed or ():
        channel, equals, file = word.partition("=")
        if not (channel and equals and file):
            raise ConfigError(
                f"--image is {word!r}, expected CHANNEL=FILE",
                remedy="give one such as t1c=a.nii.gz",
            )
        if channel in images:
            raise ConfigError(f"{channel} is given twice", remedy="give one file for each channel")
        images[channel] = Path(file)
    return images


def scans_and_overrides(
    scans: Path | None, images: Mapping[str, Path], overrides: Sequence[str] | None, purpose: str
) -> tuple[Path | Mapping[str, Path], list[str]]:
    """The input, a path or the images of one case, and the words that override options.

    Args:
        scans: First argument; with `images`, it may be an override.
        images: Image of each channel of one case.
        overrides: The other arguments.
        purpose: What is done with the scans, such as `segment`.

    Raises:
        ConfigError: If both or none of path and images are given.
    """
    words = list(overrides or ())
    if scans is not None and scans.name.startswith("inference.") and "=" in scans.name and images:
        scans, words = None, [str(scans), *words]
    if scans is not None and images:
        raise ConfigError(
            f"{scans} is given, and so are the images of a case, {', '.join(images)}",
            remedy="give one of the two",
        )
    if scans is None and not images:
        raise ConfigError(
            f"nothing to {purpose} is given",
            remedy="give a folder of scans, a data list, or images of a case by --t1n FILE, ...",
        )
    return images if scans is None else scans, words
