"""What is looked for in folders: channels, patients, label maps, names."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from volseg.cases.channels import CHANNEL_NAMES
from volseg.config import CHANNELS
from volseg.errors import ConfigError, DataListError
from volseg.finding.naming import Naming


@dataclass(frozen=True)
class Wanted:
    """What is looked for.

    Attributes:
        channels: What images hold, in this order; None: what their layout says.
        required: Channels that must be there; None: all.
        patient: Finds the patient in the name of a file; with a `/`, in its path.
        labelled: Whether an image must have a mask if others beside it have one.
        naming: Which names volumes have that are not known.
    """

    channels: tuple[str, ...] | None = None
    required: tuple[str, ...] | None = None
    patient: re.Pattern[str] | None = None
    labelled: bool = True
    naming: Naming | None = None

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
            DataListError: If a channel has another name here.
        """
        for channel in (*(channels or ()), *(required or ())):
            if CHANNEL_NAMES.get(channel, channel) != channel:
                ours = CHANNEL_NAMES[channel]
                raise DataListError(
                    f"channel {channel!r} is called {ours!r} here", remedy=f"ask for {ours}"
                )
        known = {*CHANNELS, *(channels or ())}
        for channel in naming.channels if naming else ():
            if channel not in known:
                raise ConfigError(
                    f"--name says which files are {channel}, which is not looked for",
                    remedy="name it with --channels too, or leave it out",
                )
        try:
            patient = None if patient_regex is None else re.compile(patient_regex)
        except re.error as error:
            raise ConfigError(
                f"patient regex {patient_regex!r} is no regular expression ({error})",
                remedy="correct it",
            ) from None
        return cls(
            None if channels is None else tuple(channels),
            None if required is None else tuple(required),
            patient,
            labelled,
            naming,
        )


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
