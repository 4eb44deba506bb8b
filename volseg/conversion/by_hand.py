"""Channels that the user decides by hand, with patterns of series."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from volseg.cases.channels import channel_of
from volseg.conversion.series import Series, SourceFinding
from volseg.errors import ConfigError
from volseg.finding.naming import compiled_glob

_FIT = re.compile(r"[a-z][a-z0-9]*")


@dataclass(frozen=True)
class ByHand:
    """Patterns by channel; several patterns of a channel are alternatives.

    A pattern is compared with description, protocol, number and name of a series: `*` is any text,
    `?` one character, and letter case does not matter.
    """

    patterns: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)

    @classmethod
    def parse(cls, words: Sequence[str]) -> ByHand:
        """Patterns from words `CHANNEL=PATTERN`.

        Raises:
            ConfigError: If a word is not of this form, or a pattern belongs to two channels.

        >>> ByHand.parse(["FLAIR=*dark-fluid*", "adc=12"]).patterns
        {'t2f': ('*dark-fluid*',), 'adc': ('12',)}
        """
        patterns: dict[str, tuple[str, ...]] = {}
        channels: dict[str, str] = {}
        for word in words:
            name, _, pattern = (part.strip() for part in word.partition("="))
            channel = channel_of(name)
            _check(word, channel, pattern)
            if channels.setdefault(pattern.casefold(), channel) != channel:
                raise ConfigError(
                    f"--channel gives {pattern} for {channels[pattern.casefold()]} and {channel}",
                    remedy="give each channel its own pattern",
                )
            patterns[channel] = (*patterns.get(channel, ()), pattern)
        return cls(patterns)

    def fitting(self, channel: str, series: Iterable[Series]) -> list[Series]:
        """Series that a pattern of the channel fits; maps and the like if no scan fits it."""
        globs = [compiled_glob(pattern) for pattern in self.patterns[channel]]
        found = [one for one in series if any(_fits(glob, one) for glob in globs)]
        return [one for one in found if not one.facts.by_hand_only] or found

    def check_used(self, finding: SourceFinding) -> None:
        """Raise ConfigError for a pattern that fits no series at all."""
        for channel, patterns in self.patterns.items():
            for pattern in patterns:
                glob = compiled_glob(pattern)
                if any(_fits(glob, one) for one in finding.series):
                    continue
                out = next((one for one in finding.left_out if glob.fullmatch(one.name)), None)
                why = f", but {out.name}, which is left out: {out.reason}" if out else ""
                raise ConfigError(
                    f"--channel {channel}={pattern} fits no series that can be converted{why}",
                    remedy="give a description or a series number of the table of --dry-run",
                )


def _check(word: str, channel: str, pattern: str) -> None:
    if not pattern.strip("*"):
        wrong = "which fits every series" if pattern else "expected CHANNEL=PATTERN"
        raise ConfigError(
            f"--channel is {word!r}, {wrong}",
            remedy="give a pattern of descriptions or series numbers, such as t1c='*mprage*KM*'",
        )
    if channel == "seg" or not _FIT.fullmatch(channel):
        raise ConfigError(
            f"--channel {word} has the channel {channel!r}, expected letters and digits",
            remedy="give a name such as t1c, ct or adc",
        )


def _fits(glob: re.Pattern[str], series: Series) -> bool:
    facts = series.facts
    number = None if facts.number is None else str(facts.number)
    names = (facts.description, facts.protocol, number, series.name)
    return any(glob.fullmatch(name.strip()) for name in names if name)
