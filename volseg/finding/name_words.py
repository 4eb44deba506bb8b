"""The words of a file name: contrasts, contrast agent, and what a name was read as."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# A sign before or after the agent says whether it was given: T1 +C, T1 C-.
_TOKEN = re.compile(
    r"\+[a-z]*|(?<=[_\s])-(?:c|ce|gd|gad|km|cm)(?![^_.\-\s])"
    r"|(?:t1w?)?(?:c|ce|gd|gad|gado|contrast|km|cm)-(?![^_.\s])|[^_.\-\s+]+",
    re.IGNORECASE,
)
_T1 = re.compile(
    r"(?P<before>c|ce|gd|gad|post|pre)?(?:t1(?:wi?)?(?:mprage)?|mprage)"
    r"(?P<after>n|(?:c|ce|gd|gad|gado|km|cm)-"
    r"|c|ce|gd|gad|gado|gadolinium|post|postgd|postcontrast|contrast|pre|precontrast|cm|km)?"
)
_T2 = re.compile(r"t2(?:wi?)?")
_FLAIR = re.compile(r"t2f|fla|flair|t2(?:wi?)?flair|flairt2w?")
# fmt: off
# What says that there is a contrast agent, that there is none, and what is said around it.
_AFTER_CONTRAST = frozenset((
    "c", "ce", "gd", "gad", "gado", "gadolinium", "post", "postgd", "postcontrast", "contrast",
    "enhanced", "cm", "km", "gbca", "+", "+c", "+ce", "+gd", "+gad", "+contrast", "+km", "+cm",
))
# fmt: on
# fmt: off
_NATIVE = frozenset((
    "n", "pre", "precontrast", "pregd", "prece", "native", "noncontrast", "nonenhanced",
    "unenhanced", "nocontrast", "nogd", "nogad", "noce", "wocontrast", "-c", "-ce", "-gd", "-gad",
    "-km", "-cm", "c-", "ce-", "gd-", "gad-", "gado-", "contrast-", "km-", "cm-",
))
# fmt: on
_NEGATION = frozenset(("no", "non", "without", "wo", "before"))
_AROUND = frozenset(("with", "agent"))
AGENT_WORDS = _AFTER_CONTRAST | _NATIVE | _NEGATION | _AROUND
# These mean an agent anywhere in the name; "post" does, unless a time or a number follows.
_APART = _AFTER_CONTRAST - {"c", "cm", "km", "+", "post", "enhanced"}
_NO_TIME_AFTER = re.compile(r"[a-z]\w*")
_AFTER_TIME = re.compile(r"(?:op|surg|resec|treat|tx|rt|radi|chemo|therap|mortem)\w*")


@dataclass(frozen=True)
class Reading:
    """The case and the content of a file, read from its name.

    Attributes:
        case: The case; empty if the file is called by its content alone.
        contents: A channel, `LABEL`, or nothing if the name does not say.
        problem: Why `contents` is empty, where the reason is not just that no word is known.
        other: Another case and content that the same words may mean: `P7_post_T1` may be T1 after
            contrast of P7, or T1 without it of the examination P7_post.
        doubt: Why this may be T1 after contrast, unless that lies beside it: `Gd_7_T1`.
    """

    case: str
    contents: tuple[str, ...] = ()
    problem: str = ""
    other: tuple[str, str] | None = None
    doubt: str = ""


class Words:
    """The words of a name, in lower case, and the text before each."""

    def __init__(self, whole: str) -> None:
        matches = list(_TOKEN.finditer(whole))
        self.whole = whole
        self.texts = [match[0].casefold() for match in matches]
        self._starts = [match.start() for match in matches]

    def before(self, index: int) -> str:
        """The name up to a word, without the separators at its end."""
        return self.whole[: self._starts[index]].rstrip("_.- ") if self.texts else ""

    def text(self, index: int) -> str:
        """A word; "" before the first."""
        return self.texts[index] if index >= 0 else ""


def kind_of(word: str) -> str:
    """`T1`, `T2`, `FLAIR` or nothing."""
    for kind, known in (("T1", _T1), ("FLAIR", _FLAIR), ("T2", _T2)):
        if known.fullmatch(word):
            return kind
    return ""


def is_loose(word: str) -> bool:
    """Whether a word may also be the end of the name of an examination, as time point T2."""
    return word in {"t1", "t2", "flair", "fla", "t1w", "mprage"}


def agent(words: Iterable[str]) -> str | None:
    """`t1c` or `t1n` by words of contrast agent; "" if they contradict, None without such."""
    words = set(words)
    if {"pre", "post"} <= words:
        return ""
    if not words.isdisjoint(_NATIVE | _NEGATION):
        return "t1n"
    return "t1c" if not words.isdisjoint(_AFTER_CONTRAST) else None


def words_in(word: str) -> list[str]:
    """What a word such as T1ce says of the contrast agent."""
    match = _T1.fullmatch(word)
    return [part for part in match.groups() if part] if match else []


def agent_apart(words: Sequence[str]) -> str | None:
    """What words that need not be beside T1 say of the contrast agent, as `agent` does."""
    found = [word for word in words if word in _APART | _NATIVE | _NEGATION]
    for word, after in itertools.pairwise(words):
        if word == "post" and _NO_TIME_AFTER.fullmatch(after) and not _AFTER_TIME.fullmatch(after):
            found.append(word)
    return agent(found)
