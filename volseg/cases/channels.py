"""Names of channels: the four contrasts of BraTS in all data sets, and other images."""

from __future__ import annotations

from collections.abc import Iterable

#: Kind of a file that holds a label map instead of a channel.
LABEL = "label map"

#: Names of the four contrasts in BraTS of all years, MSD, nnU-Net, Slicer and BraTS Toolkit.
CHANNEL_NAMES = {
    **dict.fromkeys(("t1", "t1n", "t1w"), "t1n"),
    **dict.fromkeys(("t1c", "t1ce", "t1gd"), "t1c"),
    **dict.fromkeys(("t2", "t2w"), "t2w"),
    **dict.fromkeys(("t2f", "flair", "fla"), "t2f"),
}


def channel_of(name: str) -> str:
    """Our name of a contrast; an unknown name stays, in lower case.

    >>> channel_of("FLAIR"), channel_of("T1gd"), channel_of("ADC")
    ('t2f', 't1c', 'adc')
    """
    return CHANNEL_NAMES.get(name.casefold(), name.casefold())


def channel_among(name: str, channels: Iterable[str]) -> str:
    """The channel of `channels` that a name means, in any letter case; else our name of it.

    >>> channel_among("ct", ["CT", "FLAIR"]), channel_among("t2f", ["CT", "FLAIR"])
    ('CT', 'FLAIR')
    """
    channels = tuple(channels)
    if name in channels:
        return name
    ours = channel_of(name)
    return next((channel for channel in channels if channel_of(channel) == ours), ours)
