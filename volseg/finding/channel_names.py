"""Names of the four contrasts in all data sets: T1, T1 after contrast agent, T2, FLAIR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from volseg.finding.name_words import (
    AGENT_WORDS,
    Reading,
    Words,
    agent,
    agent_anywhere,
    is_loose,
    kind_of,
    moved,
    words_in,
)

# Before T1 these words may also mean the time of the examination.
_OF_TIME = frozenset(("post", "pre"))
_NOT_BEFORE = frozenset(("n", "c", "+"))
_OTHER_IMAGES = frozenset(
    ("swi", "dwi", "adc", "dti", "dsc", "dce", "asl", "pwi", "perf", "map", "star", "bold")
)


def read_channel(words: Words) -> Reading | None:
    """Reading of a name that ends in words of a contrast; None for any other name."""
    last = len(words.texts) - 1
    end = last
    while end >= 0 and words.text(end) in AGENT_WORDS:
        end -= 1
    kind = kind_of(words.text(end))
    if not kind:
        return None
    if kind == "T1":
        return _read_t1(words, end, words.texts[end + 1 :])
    if end < last:
        said = " ".join(words.texts[end + 1 :])
        return Reading(words.whole, problem=f"{kind} and {said!r}, which is not known of it")
    return _read_t2(words, end, kind)


def _read_t2(words: Words, end: int, kind: str) -> Reading:
    """Reading of a name with T2 or FLAIR as the word at `end`."""
    channel = "t2f" if kind == "FLAIR" else "t2w"
    before = words.text(end - 1)
    other_kind = kind_of(before)
    if is_loose(before) or before == "t2w":
        loose = words.texts[end] not in {"t2f", "t2w"}
        if {kind, other_kind} == {"T2", "FLAIR"} and (loose or words.texts[end] == "t2w"):
            return Reading(_image_case(words, end - 1), ("t2f",))
        if other_kind == "T1" and loose:
            return _two_kinds(words, end, channel)
    return _single(words, end, channel)


def _two_kinds(words: Words, end: int, channel: str) -> Reading:
    """Reading of a name with two contrasts, the first of which may also be a time point."""
    said = f"{words.texts[end - 1]} and {words.texts[end]}"
    other = words.before(end), channel
    return Reading(words.whole, problem=f"the name says both {said}", other=other)


def _single(words: Words, end: int, channel: str) -> Reading:
    before = words.text(end - 1)
    if before in _OTHER_IMAGES:
        said = f"{before} and {words.texts[end]}"
        return Reading(words.whole, problem=f"the name says both {said}")
    if image := moved(words, end):
        said = f"{image} and {words.texts[end]}"
        return Reading(words.whole, problem=f"the name says both {said}: one moved onto the other")
    return Reading(_image_case(words, end), (channel,))


def _image_case(words: Words, start: int) -> str:
    """The case before a channel, without the word `brain`, which means a removed skull."""
    stripped = words.text(start - 1) == "brain"
    return words.before(start - 1 if stripped else start)


def _read_t1(words: Words, end: int, after: Sequence[str]) -> Reading:
    """Reading of a name with T1 as the word at `end`, and the words of contrast agent `after`."""
    start = end
    said = [*words_in(words.texts[end]), *after]
    before = words.text(end - 1)
    if kind_of(before) == "T1" and "mprage" in (before + words.texts[end]):
        start -= 1
        said += words_in(before)
    elif is_loose(before) and kind_of(before) in {"T2", "FLAIR"} and is_loose(words.texts[end]):
        return _two_kinds(words, end, agent(said) or "t1n")
    ahead = _words_ahead(words, start, said)
    given = agent([*said, *ahead])
    parts = {agent(part) for part in (words_in(words.texts[end]), after, ahead) if part}
    if given == "" or len(parts - {None}) > 1:
        found = " ".join([*ahead, *words.texts[start:]])
        return Reading(words.whole, problem=f"{found!r} says both with and without contrast agent")
    reading = _single(words, start, given or "t1n")
    if given is None and agent_anywhere(words.texts[: start + 1]) == "t1c":
        doubt = "the name has T1 and, not beside it, a word of contrast agent"
        return reading if reading.problem else replace(reading, doubt=doubt)
    if reading.problem or not ahead:
        return reading
    case = words.before(start - len(ahead))
    if set(ahead) <= _OF_TIME:
        return replace(reading, case=case, other=(words.before(start), "t1n"))
    return replace(reading, case=case)


def _words_ahead(words: Words, start: int, said: Sequence[str]) -> list[str]:
    """Words of contrast agent directly before T1 that belong to it."""
    first = start
    while words.text(first - 1) in AGENT_WORDS - _NOT_BEFORE:
        first -= 1
    ahead = words.texts[first:start]
    # Before T1ce, they mean the time of the examination.
    of_time = set(ahead) <= _OF_TIME and bool(said)
    return [] if of_time or agent(ahead) is None else ahead
