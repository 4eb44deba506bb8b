"""Values in messages: quoted, cut to one line, listed, counted."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Sequence

_LISTED = 10
# A file may hold anything in the wrong place, so quotes are limited.
_QUOTED = reprlib.Repr()
_QUOTED.maxlevel, _QUOTED.maxlist, _QUOTED.maxtuple, _QUOTED.maxdict = 4, 12, 12, 8
_QUOTED.maxstring = _QUOTED.maxother = _QUOTED.maxlong = 100


def reason(error: BaseException) -> str:
    """Message of an exception, cut to one line; for an OSError, the system's message."""
    said = error.strerror if isinstance(error, OSError) else None
    return cut(said or str(error) or type(error).__name__, 200)


def cut(text: str, most: int) -> str:
    r"""A text as one line of at most `most` characters.

    >>> cut("a   long\ntext", 8)
    'a lon...'
    """
    line = " ".join(text[: 4 * most].split())
    return line if len(line) <= most and len(text) <= 4 * most else f"{line[: most - 3]}..."


def shown(value: object) -> str:
    """A value as a message quotes it: its `repr`, on one line of at most 100 characters.

    >>> shown([1, "two", {"three": 3.5}])
    "[1, 'two', {'three': 3.5}]"
    """
    return cut(_QUOTED.repr(value), 100)


def listed(heading: str, problems: Sequence[str]) -> str:
    """A heading, the first 10 problems, each on a line, and the number of further problems."""
    left = len(problems) - _LISTED
    lines = [*problems[:_LISTED], *([f"and {left} more"] if left > 0 else [])]
    return "\n  ".join([heading, *lines])


def grouped(reasons: Iterable[tuple[str, str]], what: str = "case") -> list[tuple[str, str]]:
    """Names and their reasons; names that share a reason become one entry with their number.

    >>> grouped([("a", "no t1c"), ("b", "empty"), ("c", "no t1c")])
    [('2 cases: a, c', 'no t1c'), ('b', 'empty')]
    """
    names: dict[str, list[str]] = {}
    for name, reason in reasons:
        names.setdefault(reason, []).append(name)
    return [(_numbered(found, what), reason) for reason, found in names.items()]


def some_of(names: Sequence[str], most: int = 5) -> str:
    """The first few names, and the number of further names.

    >>> some_of(["a", "b"]), some_of(["a", "b", "c"], most=1)
    ('a, b', 'a and 2 more')
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def _numbered(names: Sequence[str], what: str) -> str:
    if len(names) == 1:
        return names[0]
    return f"{len(names)} {what}s: {some_of(names, _LISTED)}"


def case_problems(reasons: Iterable[tuple[str, str]]) -> list[str]:
    """A sentence for each reason in `(case_id, reason)`; cases that share a reason are counted.

    >>> case_problems([("a", "no t1c"), ("b", "empty"), ("c", "no t1c")])
    ['2 cases, such as a: no t1c', 'case b: empty']
    """
    cases: dict[str, list[str]] = {}
    for case_id, reason in reasons:
        cases.setdefault(reason, []).append(case_id)
    return [
        f"case {found[0]}: {reason}"
        if len(found) == 1
        else f"{len(found)} cases, such as {found[0]}: {reason}"
        for reason, found in cases.items()
    ]


def one_of(word: str, known: Sequence[str]) -> str:
    """The remedy for a word that is not known: the nearest known word, and all of them.

    >>> one_of("salency", ["grad-cam", "saliency"])
    "did you mean 'saliency'? use one of grad-cam, saliency"
    """
    names = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), names, n=1)
    meant = f"did you mean {names[close[0]]!r}? " if close else ""
    return f"{meant}use one of {', '.join(known)}"


def number_of(number: int, noun: str) -> str:
    """A number with its noun, in singular or plural.

    >>> number_of(1, "patient"), number_of(5, "patient")
    ('1 patient', '5 patients')
    """
    return f"{number} {noun}{'s' * (number != 1)}"


def volume_in_ml(volume_ml: float) -> str:
    """A volume with two decimals; a volume that these would make 0 is `<0.01`.

    >>> volume_in_ml(20.104), volume_in_ml(0.003), volume_in_ml(0.0)
    ('20.10', '<0.01', '0.00')
    """
    return "<0.01" if 0 < volume_ml < 0.005 else f"{volume_ml:.2f}"


def cases_in_words(number: int) -> str:
    """A number of cases.

    >>> cases_in_words(1), cases_in_words(2)
    ('1 case', '2 cases')
    """
    return number_of(number, "case")
