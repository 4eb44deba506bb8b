"""What is looked for in folders: channels, patients, label maps, names."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath

from volseg.cases.case import Case
from volseg.cases.channels import channel_of
from volseg.config import CHANNELS
from volseg.errors import ConfigError, DataListError
from volseg.finding.naming import Naming


@dataclass(frozen=True)
class Wanted:
    """What is looked for.

    Attributes:
        channels: What images hold, in this order and by our names; None: what their layout says.
        required: Channels that must be there, by our names; None: all.
        patient: Finds the patient in the name of a file; with a `/`, in its path.
        labelled: Whether an image must have a mask if others beside it have one.
        naming: Which names volumes have that are not known.
        spelling: Channels as the caller spells them, by our names.
    """

    channels: tuple[str, ...] | None = None
    required: tuple[str, ...] | None = None
    patient: re.Pattern[str] | None = None
    labelled: bool = True
    naming: Naming | None = None
    spelling: Mapping[str, str] = field(default_factory=dict, hash=False)

    def spelled(self, case: Case) -> Case:
        """A case with its channels as the caller spells them."""
        return replace(case, channels=tuple(self.spelling.get(c, c) for c in case.channels))

    def patient_of(self, path: PurePath) -> str | None:
        """Patient of a file by its name, or its path, if `patient` finds one."""
        if self.patient is None:
            return None
        by_path = "/" in self.patient.pattern
        match = self.patient.search(path.as_posix() if by_path else path.name)
        if match is None:
            return None
        named = "patient" in match.re.groupindex
        return match["patient"] if named else match[1 if match.re.groups else 0]

    @classmethod
    def of(
        cls,
        channels: Sequence[str] | None,
        required: Sequence[str] | None,
        patient_regex: str | None,
        naming: Naming | None,
        *,
        labelled: bool = True,
    ) -> Wanted:
        """What the user asks for; arguments as `find_cases` takes them.

        Raises:
            ConfigError: If `patient_regex` is no regular expression, or `naming` names a channel
                that is not looked for.
            DataListError: If two channels have one meaning.
        """
        spelling = _spelling([*(channels or ()), *(required or ())])
        naming = naming and naming.by_our_names()
        known = {*CHANNELS, *spelling}
        for channel in naming.channels if naming else ():
            if channel not in known:
                choice = (
                    "name it with --channels too" if labelled else f"use {' or '.join(spelling)}"
                )
                raise ConfigError(
                    f"--name says which files are {channel}, which is not looked for",
                    remedy=f"{choice}, or leave it out",
                )
        try:
            patient = None if patient_regex is None else re.compile(patient_regex)
        except re.error as error:
            raise ConfigError(
                f"patient regex {patient_regex!r} is no regular expression ({error})",
                remedy="correct it",
            ) from None
        return cls(
            None if channels is None else tuple(map(channel_of, channels)),
            None if required is None else tuple(map(channel_of, required)),
            patient,
            labelled,
            naming,
            spelling,
        )


def _spelling(channels: Iterable[str]) -> dict[str, str]:
    """Channels as they are spelled, by our names; DataListError if two have one meaning."""
    spelling: dict[str, str] = {}
    for channel in channels:
        first = spelling.setdefault(channel_of(channel), channel)
        if first != channel:
            raise DataListError(f"{first} and {channel} are one channel", remedy="name it once")
    return spelling


def missing_channels(
    held: Collection[str], channels: Sequence[str], required: Sequence[str] | None
) -> list[str]:
    """Channels that a case lacks: of `required`, or of all if that is None or it has none at all.

    >>> missing_channels(["t1n"], ["t1n", "t2f"], None), missing_channels(["t1n"], ["t2f"], [])
    (['t2f'], ['t2f'])
    """
    needed = channels if required is None or set(held).isdisjoint(channels) else required
    return [channel for channel in needed if channel not in held]


def lacking(channels: Sequence[str]) -> str:
    """That a case lacks channels, as the reason why it is left out."""
    return f"missing channel {', '.join(channels)}; complete the case"
