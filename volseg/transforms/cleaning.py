"""Cleaned channels of a scan: background 0, no single voxels far outside the others.

A scan whose background is 0 stays unchanged, to the bit and without a copy. Notes report each
change.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

import numpy as np

from volseg.config import PreprocessingConfig
from volseg.images.background import (
    UNCERTAIN,
    Background,
    Mask,
    Volume,
    background_note,
    background_of,
    subsampled,
    tissue_of,
)
from volseg.images.source_values import SourceValues
from volseg.ranks import in_threads
from volseg.transforms.intensity import check_range, far_outside
from volseg.transforms.windowing import clipped_to_percentiles, in_window


@dataclass(frozen=True, eq=False)
class Channel:
    """A channel whose background is 0.

    Attributes:
        values: Grey values (I, J, K).
        tissue: Mask of tissue; None: voxels that are not 0.
        within: Mask of tissue in any channel, if `data.background` defines tissue; else None.
        notes: Findings and changes, a clause each.
        span: Values that become 0 and 1, if intensities are brought to that range and the channel
            has a window; else None.
        source: What the file holds; None for a channel with a window, and without tissue.
    """

    values: Volume
    tissue: Mask | None = None
    within: Mask | None = None
    notes: Sequence[str] = ()
    span: tuple[float, float] | None = None
    source: SourceValues | None = None

    def mask(self) -> Mask:
        """Mask of the tissue of this channel, (I, J, K)."""
        return np.asarray(self.values != 0) if self.tissue is None else self.tissue

    def cut(self, box: tuple[slice, ...]) -> Channel:
        """The part in a box; 0 outside `within`, if that is set."""
        values, tissue = self.values[box], None if self.tissue is None else self.tissue[box]
        if self.within is not None:
            within = self.within[box]
            values, tissue = values * within, None if tissue is None else tissue & within
        return Channel(values, tissue, span=self.span)


def cleaned(
    array: Volume, options: PreprocessingConfig, missing: Container[str] = ()
) -> list[Channel]:
    """The channels of a scan (C, I, J, K), each with a background of 0.

    Args:
        array: The channels.
        options: Their names and the ranges of their grey values.
        missing: Channels that hold the values of `options.fill_missing`.

    Raises:
        ImageError: If grey values do not lie in the range that the options state.
    """
    # A channel that stands in for others brings its range along.
    held = [options.fill_missing if c in missing else c for c in options.channels]

    def clean(volume: Volume, name: str, held: str) -> tuple[Channel, float | None]:
        if held in options.windows:
            return _windowed(volume, name, options.windows[held]), None
        channel, limit = _cleaned(volume, name, options)
        if held in options.clip_percentiles:
            tissue = channel.mask()
            values = clipped_to_percentiles(channel.values, tissue, options.clip_percentiles[held])
            channel = replace(channel, values=values, tissue=tissue)
        return channel, limit

    found = in_threads(clean, array, options.channels, held)
    channels = [channel for channel, _ in found]
    if not options.background:
        return channels
    within = np.zeros(array.shape[1:], np.bool_)
    for channel, limit in found:
        within |= channel.mask() if limit is None else channel.values > limit
    if not within.any():
        within = ~within
    return [replace(channel, within=within) for channel in channels]


def _windowed(volume: Volume, name: str, window: tuple[float, float]) -> Channel:
    values, tissue = in_window(volume, window, name)
    return Channel(values, tissue, span=(0.0, window[1] - window[0]))


def _cleaned(volume: Volume, name: str, options: PreprocessingConfig) -> tuple[Channel, float]:
    """A cleaned channel, and the largest value that is background by `options.background`."""
    background = background_of(volume)
    limit = float(options.background * np.percentile(volume, 99.5)) if options.background else 0.0
    stated = options.background > 0 and background.value <= limit
    channel = Channel(volume)
    if not (background.is_plain or stated):
        channel = _with_background_0(volume, background, options)
    elif not (background.is_certain or stated):
        channel = Channel(volume, notes=(UNCERTAIN,))
    sample = subsampled(volume)
    inside = sample > limit if stated else subsampled(channel.mask())
    source = SourceValues.of(sample, inside, background, counts=not stated)
    channel = replace(channel, source=source)
    channel = _without_far_voxels(channel)
    if options.intensity_range is not None:
        odd = check_range(channel.values, channel.mask(), options.intensity_range, name)
        channel = replace(channel, notes=(*channel.notes, *odd))
    return channel, limit


def _with_background_0(
    volume: Volume, background: Background, options: PreprocessingConfig
) -> Channel:
    tissue = tissue_of(volume, background)
    values = volume.astype(np.float32)
    # With a stated range, grey values are absolute.
    if options.intensity_range is None:
        values -= np.float32(background.value)
    values *= tissue
    return Channel(values, tissue, notes=(background_note(background),))


def _without_far_voxels(channel: Channel) -> Channel:
    found = far_outside(channel.values, channel.tissue)
    if found is None:
        return channel
    places = np.nonzero(found.mask)
    outliers = channel.values[places]
    furthest = outliers[np.argmax(abs(outliers.astype(np.float64)))]
    note = f"{found.count} of its voxels, up to {furthest:.6g}, lie far outside the others: "
    if not found.are_few:
        share = f"{found.share:.1%} of the tissue"
        note += f"{share}, so they stay and darken the rest; look at the scan"
        return replace(channel, notes=(*channel.notes, note))
    values = channel.values.copy(order="K")
    values[places] = np.clip(outliers, found.low, found.high)
    note += f"clipped to the range of 96 % of them, {found.low:.6g} to {found.high:.6g}"
    return replace(channel, values=values, notes=(*channel.notes, note))


def joined_notes(names: Sequence[str], channels: Sequence[Channel]) -> list[str]:
    """The notes on all channels, each note once, with the names of its channels."""
    about: dict[str, list[str]] = {}
    for name, channel in zip(names, channels, strict=False):
        for note in channel.notes:
            about.setdefault(note, []).append(name)
    return [f"{', '.join(channels_of)}: {note}" for note, channels_of in about.items()]
