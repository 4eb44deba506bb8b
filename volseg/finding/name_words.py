"""Words of a file name: contrasts and contrast agent, and the reading of a name."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# A sign before or after the agent means that it was given or not: T1 +C, T1 C-.
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
# Words for a contrast agent, for none, and words around them.
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
NEGATION = frozenset(("no", "non", "without", "wo", "before"))
_AROUND = frozenset(("with", "agent"))
#: Words between an image and the image onto whose grid it was moved: FLAIR_to_T1.
BETWEEN = frozenset(
    ("to", "in", "on", "onto", "reg", "registered", "coreg", "coregistered", "aligned")
)
# BIDS names so the grid of another image; the sequence SPACE is followed by other words.
_SPACE = re.compile(r"space-t[12]w(?![a-z0-9])", re.IGNORECASE)
AGENT_WORDS = _AFTER_CONTRAST | _NATIVE | NEGATION | _AROUND
# These mean an agent anywhere in the name; "post" does, unless a time or a number follows.
_ANYWHERE = _AFTER_CONTRAST - {"c", "cm", "km", "+", "post", "enhanced"}
_NO_TIME_AFTER = re.compile(r"[a-z]\w*")
_AFTER_TIME = re.compile(r"(?:op|surg|resec|treat|tx|rt|radi|chemo|therap|mortem)\w*")


@dataclass(frozen=True)
class Reading:
    """Case and content of a file, read from its name.

    Attributes:
        case: Id of the case; empty if the name has only the content.
        contents: Channels or `LABEL`; empty if the name does not say.
        problem: Why `contents` is empty, unless the name just has no known word.
        other: Second case and content that the same words may mean: `P7_post_T1` may be T1 after
            contrast agent of P7, or T1 without agent of the examination P7_post.
        doubt: Why a T1 may be T1 after contrast agent, unless that is another file: `Gd_7_T1`.
    """

    case: str
    contents: tuple[str, ...] = ()
    problem: str = ""
    other: tuple[str, str] | None = None
    doubt: str = ""


class Words:
    """Words of a name in lower case, with the text before each word."""

    def __init__(self, whole: str) -> None:
        matches = list(_TOKEN.finditer(whole))
        self.whole = whole
        self.texts = [match[0].casefold() for match in matches]
        self._starts = [match.start() for match in matches]

    def before(self, index: int) -> str:
        """Text of the name before a word, without separators at the end."""
        return self.whole[: self._starts[index]].rstrip("_.- ") if self.texts else ""

    def text(self, index: int) -> str:
        """Word at an index; "" for a negative index."""
        return self.texts[index] if index >= 0 else ""


def kind_of(word: str) -> str:
    """Contrast that a word means: `T1`, `T2`, `FLAIR`, or "" if none."""
    for kind, known in (("T1", _T1), ("FLAIR", _FLAIR), ("T2", _T2)):
        if known.fullmatch(word):
            return kind
    return ""


def is_loose(word: str) -> bool:
    """Whether a word of a contrast may also end the name of an examination, as time point T2."""
    return word in {"t1", "t2", "flair", "fla", "t1w", "mprage"}


def agent(words: Iterable[str]) -> str | None:
    """`t1c` or `t1n` by words of contrast agent; "" if they contradict, None without any."""
    words = set(words)
    if {"pre", "post"} <= words:
        return ""
    if not words.isdisjoint(_NATIVE | NEGATION):
        return "t1n"
    return "t1c" if not words.isdisjoint(_AFTER_CONTRAST) else None


def moved(words: Words, end: int) -> str:
    """Word of the contrast that was moved onto the contrast at `end`; "" if none was.

    >>> moved(Words("P1_FLAIR_brain_to_T1"), 4), moved(Words("P1_reg_T1"), 2)
    ('flair', '')
    """
    if words.text(end - 1) not in BETWEEN and not _SPACE.search(words.whole):
        return ""
    return next((word for word in reversed(words.texts[: end - 1]) if kind_of(word)), "")


def words_in(word: str) -> list[str]:
    """Words of contrast agent within a word such as T1ce."""
    match = _T1.fullmatch(word)
    return [part for part in match.groups() if part] if match else []


def agent_anywhere(words: Sequence[str]) -> str | None:
    """Result of `agent` for words that mean an agent anywhere in a name, not only beside T1."""
    found = [word for word in words if word in _ANYWHERE | _NATIVE | NEGATION]
    for word, after in itertools.pairwise(words):
        if word == "post" and _NO_TIME_AFTER.fullmatch(after) and not _AFTER_TIME.fullmatch(after):
            found.append(word)
    return agent(found)
