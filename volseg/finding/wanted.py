"""Channels, patients, label maps and names to look for in folders."""

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
    """Channels, patients, label maps and names to look for.

    Attributes:
        channels: Our names of the channels of images, in this order; None: from their layout.
        required: Our names of the channels that each case must have; None: all.
        patient: Pattern of the patient in the name of a file; with a `/`, in its path.
        labelled: Whether an image must have a mask if other images beside it have masks.
        naming: Names of volumes that volseg does not know.
        spelling: Spelling of channels by the caller, by our names.
    """

    channels: tuple[str, ...] | None = None
    required: tuple[str, ...] | None = None
    patient: re.Pattern[str] | None = None
    labelled: bool = True
    naming: Naming | None = None
    spelling: Mapping[str, str] = field(default_factory=dict, hash=False)

    def spelled(self, case: Case) -> Case:
        """The case, with its channels spelled as the caller does."""
        return replace(case, channels=tuple(self.spelling.get(c, c) for c in case.channels))

    def patient_of(self, path: PurePath) -> str | None:
        """Patient of a file by its name or path; None if the pattern does not match."""
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
        """Checked options of the user; see `find_cases` for the arguments.

        Raises:
            ConfigError: If `patient_regex` is no regular expression, or `naming` names a channel
                that is not looked for.
            DataListError: If two names mean the same channel.
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
                    f"--name names files of {channel}, which is not looked for",
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
    """Given names of channels by our names; DataListError if two mean the same channel."""
    spelling: dict[str, str] = {}
    for channel in channels:
        first = spelling.setdefault(channel_of(channel), channel)
        if first != channel:
            raise DataListError(
                f"{first} and {channel} are the same channel", remedy="name it once"
            )
    return spelling


def missing_channels(
    held: Collection[str], channels: Sequence[str], required: Sequence[str] | None
) -> list[str]:
    """Missing channels of `required`; of all, if `required` is None or the case has no channel.

    >>> missing_channels(["t1n"], ["t1n", "t2f"], None), missing_channels(["t1n"], ["t2f"], [])
    (['t2f'], ['t2f'])
    """
    needed = channels if required is None or set(held).isdisjoint(channels) else required
    return [channel for channel in needed if channel not in held]


def lacking(channels: Sequence[str]) -> str:
    """Reason to leave out a case that lacks channels."""
    return f"missing channel{'s' * (len(channels) > 1)} {', '.join(channels)}; complete the case"
