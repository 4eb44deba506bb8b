"""The subsets of channels to score: all, or those that the user names."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from volseg.cases.channels import channel_among
from volseg.errors import ConfigError

#: Channels kept, in the order of the model.
Subset = tuple[str, ...]

ALL = "all"
#: More channels have more than 63 subsets.
MOST_CHANNELS = 6
_OPTION = "--channels"


def chosen_subsets(
    words: Sequence[str], channels: Sequence[str], needed: Sequence[str] = ()
) -> tuple[Subset, ...]:
    """Subsets of the channels of a model, each once.

    >>> chosen_subsets(["all"], ["t1c", "t2f"])
    (('t1c',), ('t2f',), ('t1c', 't2f'))
    >>> chosen_subsets(["flair", "t2f,t1c"], ["t1c", "t2f"])
    (('t2f',), ('t1c', 't2f'))

    Args:
        words: `all`, or names of channels joined by commas, a word for each subset.
        channels: Channels of the model, in order.
        needed: Channels without which no case can be segmented; `all` leaves other subsets out.

    Raises:
        ConfigError: If a name is empty or no channel of the model, a needed channel is not named,
            or `all` means more than 63 subsets.
    """
    found: list[Subset] = []
    for word in words or [""]:
        found += _all(channels, needed) if word == ALL else [_named(word, channels, needed)]
    return tuple(dict.fromkeys(found))


def _all(channels: Sequence[str], needed: Sequence[str]) -> Iterator[Subset]:
    if len(channels) > MOST_CHANNELS:
        raise ConfigError(
            f"{_OPTION} {ALL} means {2 ** len(channels) - 1} subsets of {len(channels)} channels, "
            f"but at most {2**MOST_CHANNELS - 1} of {MOST_CHANNELS} channels are scored",
            remedy=f"name the subsets, such as {_OPTION} {','.join(channels[:2])}",
        )
    for size in range(1, len(channels) + 1):
        for subset in itertools.combinations(channels, size):
            if set(needed) <= set(subset):
                yield subset


def _named(word: str, channels: Sequence[str], needed: Sequence[str]) -> Subset:
    written = [name.strip() for name in word.split(",")]
    names = {channel_among(name, channels) for name in written}
    if "" in written:
        amount = "an empty name beside a comma" if any(written) else "no channel"
        raise ConfigError(
            f"{_OPTION} {word!r} holds {amount}",
            remedy=f"name channels such as {','.join(channels[:2])}, or give {_OPTION} {ALL}",
        )
    if unknown := names - set(channels):
        raise ConfigError(
            f"{_OPTION} {word} names {', '.join(sorted(unknown))}, but the channels of the model "
            f"are {' '.join(channels)}",
            remedy=f"name some of them, joined by commas, or give {_OPTION} {ALL}",
        )
    if absent := [name for name in needed if name not in names]:
        raise ConfigError(
            f"{_OPTION} {word} lacks {', '.join(absent)}, which stands in for missing channels of "
            "this model (data.fill_missing)",
            remedy="name it too",
        )
    return tuple(name for name in channels if name in names)
