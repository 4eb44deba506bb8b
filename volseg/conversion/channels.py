"""Which series of a study becomes which channel: by hand, by evidence, or refused."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from volseg.cases.channels import LABEL
from volseg.config import CHANNELS
from volseg.conversion.by_hand import ByHand
from volseg.conversion.evidence import Evidence, evidence_of
from volseg.conversion.evidence_words import agent_in_tag, read_words
from volseg.conversion.series import Facts, LeftOut, Series

_EXTENT_MM = 100.0
# A size is clearly smaller if it is at most this share of the other.
_CLEARLY = 0.9
# Times without days that differ by more are those before and after a midnight.
_MOST_OF_STUDY = datetime.timedelta(hours=12)
_BY_HAND = Evidence(reasons=("by hand",))


@dataclass(frozen=True)
class Chosen:
    """The series of a channel.

    Attributes:
        series: The series.
        evidence: Why it is this channel; nothing in it identifies.
        better: Why it was chosen among several that fit; "" if it was the only one.
        instead: Channels that its own evidence says, if it is another channel by hand.
    """

    series: Series
    evidence: Evidence
    better: str = ""
    instead: tuple[str, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """The evidence, and the reason of a choice."""
        chosen = (f"chosen of several: {self.better}",) if self.better else ()
        return (*self.evidence.reasons, *chosen)


@dataclass(frozen=True)
class Refused:
    """A channel that a study does not get, since its evidence is not clear.

    Attributes:
        channel: The channel.
        problem: Why, with the names of the series.
        remedy: What the user can do.
    """

    channel: str
    problem: str
    remedy: str

    @property
    def sentence(self) -> str:
        """Problem and remedy."""
        return f"{self.channel} is refused: {self.problem}; {self.remedy}"


@dataclass(frozen=True)
class Assignment:
    """Channels of a study.

    Attributes:
        channels: Series by channel, those of BraTS first; `cases.channels.LABEL` is a label map.
        refused: Channels without clear evidence.
        left_out: Other series, with reasons.
        by_evidence: Channels with patterns by hand of which none fits a series of the study.
    """

    channels: Mapping[str, Chosen]
    refused: tuple[Refused, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    by_evidence: tuple[str, ...] = ()


def assign(series: Sequence[Series], by_hand: ByHand) -> Assignment:
    """Assign the series of a study to channels.

    Patterns by hand come first; where none fits, the evidence of the series decides. If several
    series fit a channel, the first criterion of `CRITERIA` that separates them decides; if none
    does, or if the evidence of the only candidate contradicts itself, the channel is refused.

    Args:
        series: The series of one study.
        by_hand: Patterns of the user.
    """
    return _Assigning(series, by_hand).assigned()


class _Assigning:
    """The assignment of one study, step by step."""

    def __init__(self, series: Sequence[Series], by_hand: ByHand) -> None:
        self.by_hand = by_hand
        self.channels: dict[str, Chosen] = {}
        self.refused: dict[str, Refused] = {}
        self.left_out: list[LeftOut] = []
        self.labels = [one for one in series if one.facts.is_label]
        self.images = [one for one in series if not one.facts.is_label]

    def assigned(self) -> Assignment:
        by_evidence = self._take_by_hand()
        self._take_by_evidence()
        if len(self.labels) == 1:
            self.channels[LABEL] = Chosen(self.labels[0], Evidence(reasons=("a label map",)))
        elif self.labels:
            names = _listed(self.labels)
            remedy = "leave the case one label map"
            self.refused[LABEL] = Refused(LABEL, f"{names} are label maps", remedy)
        order = sorted(self.channels, key=_place)
        return Assignment(
            {channel: self.channels[channel] for channel in order},
            tuple(self.refused.values()),
            tuple(self.left_out),
            by_evidence,
        )

    def _take_by_hand(self) -> tuple[str, ...]:
        """Take the series of patterns; returns the channels whose patterns fit none."""
        without, taken = [], dict[str, str]()
        for channel in self.by_hand.patterns:
            found = self.by_hand.fitting(channel, self.images)
            if not found:
                without.append(channel)
            elif len(found) > 1:
                problem = f"--channel {channel} fits {_listed(found)}"
                self._refuse(channel, problem, _remedy(channel, found))
            elif other := taken.get(found[0].name):
                problem = f"--channel gives {found[0].name} to {other} too"
                self._refuse(channel, problem, "give each channel its own pattern")
            else:
                taken[found[0].name] = channel
                instead = _says_instead(channel, evidence_of(found[0]))
                self.channels[channel] = Chosen(found[0], _BY_HAND, instead=instead)
        self.images = [one for one in self.images if one.name not in taken]
        return tuple(without)

    def _take_by_evidence(self) -> None:
        found = [(one, evidence_of(one)) for one in self.images]
        # A T1 with contrast agent by hand shows the time of the agent too.
        chosen = self.channels.get("t1c")
        by_hand = [(chosen.series, Evidence(agent="given"))] if chosen else []
        found = with_order([*found, *by_hand])[: len(found)]
        clear: dict[str, list[tuple[Series, Evidence]]] = defaultdict(list)
        doubtful = []
        for one, evidence in found:
            if len(evidence.fits) == 1:
                clear[evidence.fits[0]].append((one, evidence))
            elif evidence.fits:
                doubtful.append((one, evidence))
            else:
                self.left_out.append(LeftOut(one.name, evidence.left_out, one.patient.key))
        for channel, candidates in clear.items():
            self._choose(channel, candidates)
        for one, evidence in doubtful:
            self._doubt(one, evidence)

    def _choose(self, channel: str, candidates: Sequence[tuple[Series, Evidence]]) -> None:
        if channel in self.channels or channel in self.refused:
            for one, _ in candidates:
                reason = f"fits {channel}, which --channel decides"
                self.left_out.append(LeftOut(one.name, reason, one.patient.key))
            return
        series = [one for one, _ in candidates]
        best = next((c for c in candidates if _reasons(c, candidates) is not None), None)
        if best is None or _is_agent_unknown(channel, candidates):
            silent = _is_agent_unknown(channel, candidates)
            why = "and none says whether a contrast agent was given" if silent else "equally well"
            problem = f"{_listed(series)} fit it {why}"
            self._refuse(channel, problem, _remedy(channel, series))
            return
        better = _reasons(best, candidates) or ""
        self.channels[channel] = Chosen(*best, better)
        for one in series:
            if one is not best[0]:
                reason = f"fits {channel}, but another series {better}"
                self.left_out.append(LeftOut(one.name, reason, one.patient.key))

    def _doubt(self, one: Series, evidence: Evidence) -> None:
        open_ = [channel for channel in evidence.fits if channel not in self.channels]
        if not open_:
            reason = f"{evidence.doubt}; other series are clear"
            self.left_out.append(LeftOut(one.name, reason, one.patient.key))
        for channel in open_:
            problem = f"{one.name} is the only candidate, but {evidence.doubt}"
            self._refuse(channel, problem, _remedy(channel, [one]))

    def _refuse(self, channel: str, problem: str, remedy: str) -> None:
        self.refused.setdefault(channel, Refused(channel, problem, remedy))


def _says_instead(channel: str, evidence: Evidence) -> tuple[str, ...]:
    """Channels of the evidence of a series, if it clearly is not what the user chose it for."""
    # A modality alone does not contradict a name of the user, such as cta for CT.
    is_clear = evidence.is_named or channel in CHANNELS
    if not is_clear or channel in evidence.fits:
        return ()
    # A T1 that is silent on contrast agent may have it.
    is_silent = evidence.fits == ("t1n",) and channel == "t1c" and evidence.agent is None
    return () if is_silent else evidence.fits


def with_order(found: Sequence[tuple[Series, Evidence]]) -> list[tuple[Series, Evidence]]:
    """Evidence with what the study says: a T1 after a series with contrast agent may have it too.

    A T1 whose tag and name are silent is without agent if the description of the study is, and in
    doubt if it was acquired after a series with agent.
    """
    # Days count if all are known, such as those of a study over two days.
    is_dated = all(one.facts.acquired_on for one, _ in found)
    times = [_began(one.facts, is_dated=is_dated) for one, _ in found]
    # Perfusion, or a FLAIR after it, shows the time of the agent too.
    given = [
        time
        for time, (one, of) in zip(times, found, strict=True)
        if "given" in {of.agent, agent_in_tag(one.facts.contrast_agent)}
    ]
    known = [time for time in given if time is not None]
    return [
        (one, _in_order(one, evidence, is_after=_is_after(time, known, is_dated=is_dated)))
        for time, (one, evidence) in zip(times, found, strict=True)
    ]


def _is_after(
    time: datetime.datetime | None, given: Sequence[datetime.datetime], *, is_dated: bool
) -> bool:
    """Whether a series began after one with contrast agent; without days perhaps past midnight."""
    if time is None:
        return False
    return any(time > one or (not is_dated and one - time > _MOST_OF_STUDY) for one in given)


def _began(facts: Facts, *, is_dated: bool) -> datetime.datetime | None:
    """When an acquisition began, with or without its day."""
    if facts.acquired is None:
        return None
    day = facts.acquired_on if is_dated else None
    return datetime.datetime.combine(day or datetime.date.min, facts.acquired)


def _in_order(one: Series, evidence: Evidence, *, is_after: bool) -> Evidence:
    if evidence.fits != ("t1n",) or evidence.agent is not None:
        return evidence
    if is_after:
        return evidence.doubted(
            "it was acquired after a series with contrast agent and does not say whether it has any"
        )
    if read_words(one.study.description or "").agent == "none":
        reasons = (*evidence.reasons, "description of the study says no contrast agent")
        return Evidence(
            evidence.fits, reasons, "", "", "none", evidence.is_named, evidence.fat_suppressed
        )
    return evidence


def _is_agent_unknown(channel: str, candidates: Sequence[tuple[Series, Evidence]]) -> bool:
    """Whether several T1 are silent on contrast agent: one of them may be T1 after it."""
    silent = [evidence for _, evidence in candidates if evidence.agent is None]
    return channel == "t1n" and len(silent) > 1 and len(silent) == len(candidates)


Candidate = tuple[Series, Evidence]


def _smaller(size: Callable[[Series], float]) -> Callable[[Candidate, Candidate], bool]:
    return lambda one, other: size(one[0]) <= _CLEARLY * size(other[0])


def _covers(one: Candidate) -> bool:
    grid = one[0].grid
    extents = (n * mm for n, mm in zip(grid.shape, grid.spacing_mm, strict=True))
    return min(extents) >= _EXTENT_MM


def _is_axial(one: Candidate) -> bool:
    grid = one[0].grid
    return max(grid.spacing_mm) == grid.spacing_mm[grid.axial_axis]


#: Reasons to prefer one of two series of a channel, in their order.
CRITERIA: Mapping[str, Callable[[Candidate, Candidate], bool]] = {
    f"covers {_EXTENT_MM:g} mm along each axis": lambda a, b: _covers(a) > _covers(b),
    "has the contrast in its name": lambda a, b: a[1].is_named > b[1].is_named,
    "has thinner slices": _smaller(lambda one: max(one.grid.spacing_mm)),
    "has smaller voxels": _smaller(lambda one: one.grid.voxel_ml),
    "needs fewer assumptions": lambda a, b: len(a[0].notes) < len(b[0].notes),
    "has no fat suppression": lambda a, b: a[1].fat_suppressed < b[1].fat_suppressed,
    "is axial": lambda a, b: _is_axial(a) > _is_axial(b),
}


def _reasons(one: Candidate, candidates: Iterable[Candidate]) -> str | None:
    """Why a candidate is better than each other one; None if it is not."""
    reasons = []
    for other in candidates:
        if other[0] is one[0]:
            continue
        first = next((why for why, is_better in CRITERIA.items() if is_better(one, other)), None)
        worse = next((why for why, is_better in CRITERIA.items() if is_better(other, one)), None)
        names = list(CRITERIA)
        if first is None or (worse is not None and names.index(worse) < names.index(first)):
            return None
        reasons.append(first)
    return " and ".join(dict.fromkeys(reasons))


def _listed(series: Sequence[Series]) -> str:
    return " and ".join(one.name for one in series)


def _remedy(channel: str, series: Sequence[Series]) -> str:
    numbers = [one.facts.number for one in series]
    number = numbers[0] if len(set(numbers)) == len(numbers) else None
    example = f", such as --channel {channel}={number}" if number is not None else ""
    return f"choose with --channel {channel}=PATTERN{example}"


def _place(channel: str) -> tuple[int, str]:
    if channel == LABEL:
        return len(CHANNELS) + 1, channel
    return CHANNELS.index(channel) if channel in CHANNELS else len(CHANNELS), channel
