"""Options of a preparation that decide its result, and where cases are brought to."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from volseg.cases.channels import channel_among, channel_of
from volseg.cases.sources import fingerprint
from volseg.errors import ConfigError, RegistrationError
from volseg.preparation.own_masks import is_masks_folder
from volseg.preparation.templates import Template, mni152, mni152_path, template_of
from volseg.words import reason

#: Word for the atlas MNI152.
MNI = "mni"
#: Channels that the others are registered to, the first that a case has: the contrast with most
#: anatomy and, in the clinic, the finest voxels.
REFERENCES = ("t1c", "t1n", "t2f", "t2w", "ct")
#: Size of the voxels, in mm, of cases that are not brought to an atlas.
SPACING_MM = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class StepOptions:
    """What is done to each case.

    Attributes:
        to: Channel that the others are registered to, an atlas as a NIfTI file, or "mni"; None:
            the first of `REFERENCES` that the case has.
        strip: How the brain is found; see `brain_mask.finding.find_mask`; or a folder of masks.
        n4: Whether bias fields are removed from the images.
        affine: Whether the step to the atlas may also scale and shear.
        spacing_mm: Size of the voxels of the result; None: `SPACING_MM`, or as the atlas.
    """

    to: str | None = None
    strip: str = "auto"
    n4: bool = False
    affine: bool = False
    spacing_mm: tuple[float, float, float] | None = None

    @property
    def atlas(self) -> str | None:
        """The atlas as it was given, or None."""
        return self.to if self.to is not None and _is_atlas(self.to) else None

    @property
    def channel(self) -> str | None:
        """Channel that the user chose as reference, or None."""
        return None if self.to is None or self.atlas is not None else channel_of(self.to)

    def check(self) -> None:
        """Raise ConfigError for options that contradict each other, before any case is read."""
        if self.affine and self.atlas is None:
            raise ConfigError(
                "--affine is for the step to an atlas, but none is given",
                remedy="give one with --to, or leave --affine out",
            )
        if self.spacing_mm is not None and self.atlas is not None:
            raise ConfigError(
                "--spacing is given, but results lie on the grid of the atlas",
                remedy="leave --spacing out, or give an atlas of that spacing",
            )
        if self.spacing_mm is not None and not all(0.2 <= mm <= 10 for mm in self.spacing_mm):
            given = ",".join(f"{mm:g}" for mm in self._given_mm)
            raise ConfigError(
                f"--spacing is {given}, but 0.2 to 10 mm are expected",
                remedy="give the size of a voxel in mm, such as 1",
            )

    @property
    def _given_mm(self) -> tuple[float, ...]:
        """The size of the voxels as a user gives it: one number if all are equal."""
        sizes = self.spacing_mm or ()
        return sizes[:1] if len(set(sizes)) == 1 else sizes

    def recorded(self) -> dict[str, Any]:
        """The options as a record holds them: a channel by our name, an atlas by its content."""
        chosen = asdict(self)
        if is_masks_folder(self.strip):
            chosen["strip"] = str(Path(self.strip).absolute())
        if self.spacing_mm is not None:
            chosen["spacing_mm"] = list(self.spacing_mm)
        if self.channel is not None:
            chosen["to"] = self.channel
        if (digest := digest_of(self.atlas)) is not None:
            chosen["to"] = f"sha256:{digest}"
        return chosen


def _is_atlas(to: str) -> bool:
    # Names of channels have no dots; an atlas of another format is refused by its content.
    return to.lower() == MNI or any(sign in to for sign in "./\\")


def read_atlas(atlas: str) -> Template:
    """The atlas of the user.

    Raises:
        RegistrationError: If the file is missing, damaged, or no image of a head.
    """
    return mni152() if atlas.lower() == MNI else template_of(Path(atlas))


def digest_of(atlas: str | None) -> str | None:
    """SHA-256 of the file of an atlas; None for none.

    Raises:
        RegistrationError: If the file cannot be read.
    """
    if atlas is None:
        return None
    try:
        path = mni152_path() if atlas.lower() == MNI else Path(atlas)
        return str(fingerprint(path)["sha256"])
    except OSError as error:
        raise RegistrationError(
            f"atlas {atlas} cannot be read ({reason(error)})",
            remedy="give a NIfTI file, a channel, or mni",
        ) from None


def reference_of(channels: Collection[str], chosen: str | None) -> str:
    """The channel of a case that the others are registered to.

    Args:
        channels: Channels of the case.
        chosen: Channel that the user chose; None: the first of `REFERENCES`, else of `channels`.

    Raises:
        ConfigError: If the case lacks the chosen channel.
    """
    if chosen is None:
        there = (channel_among(name, channels) for name in REFERENCES)
        return next((name for name in there if name in channels), next(iter(channels)))
    chosen = channel_among(chosen, channels)
    if chosen not in channels:
        raise ConfigError(
            f"no channel {chosen} to register the others to, but only {', '.join(channels)}",
            remedy="choose another with --to, or complete the case",
        )
    return chosen
