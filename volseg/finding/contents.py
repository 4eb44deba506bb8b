"""What the name of a NIfTI file says: of which case it is, and which channel or label map."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from volseg.cases.channels import CHANNEL_NAMES, LABEL, channel_of
from volseg.cases.layouts import misnamed_label_map
from volseg.images.file_names import stem

UNKNOWN = "the name ends in no known channel (such as t1n, t1c, t2w, t2f) and not in seg"

_NUMBERED = re.compile(r"(?P<case>.+)_(?P<number>\d{4})")
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
# What says that there is a contrast agent, that there is none, and what is said around it.
# fmt: off
_AFTER_CONTRAST = frozenset((
    "c", "ce", "gd", "gad", "gado", "gadolinium", "post", "postgd", "postcontrast", "contrast",
    "enhanced", "cm", "km", "gbca", "+", "+c", "+ce", "+gd", "+gad", "+contrast", "+km", "+cm",
))
_NATIVE = frozenset((
    "n", "pre", "precontrast", "pregd", "prece", "native", "noncontrast", "nonenhanced",
    "unenhanced", "nocontrast", "nogd", "nogad", "noce", "wocontrast", "-c", "-ce", "-gd", "-gad",
    "-km", "-cm", "c-", "ce-", "gd-", "gad-", "gado-", "contrast-", "km-", "cm-",
))
# fmt: on
_NEGATION = frozenset(("no", "non", "without", "wo", "before"))
_AROUND = frozenset(("with", "agent"))
_WORDS = _AFTER_CONTRAST | _NATIVE | _NEGATION | _AROUND
# These tell of an agent wherever they stand; "post" does, unless a time or a number follows.
_APART = _AFTER_CONTRAST - {"c", "cm", "km", "+", "post", "enhanced"}
_NO_TIME_AFTER = re.compile(r"[a-z]\w*")
_AFTER_TIME = re.compile(r"(?:op|surg|resec|treat|tx|rt|radi|chemo|therap|mortem)\w*")
# Before T1 these may as well say when the patient was examined.
_OF_TIME = frozenset(("post", "pre"))
_NOT_BEFORE = frozenset(("n", "c", "+"))
_NO_AGENT = frozenset(("none", "no", "pre", "without", "false", "0"))
_OTHER_IMAGES = frozenset(
    ("swi", "dwi", "adc", "dti", "dsc", "dce", "asl", "pwi", "perf", "map", "star", "bold")
)

_LABELS = re.compile(
    r"(?P<tumour>tumou?rs?|lesions?|glioma|gbm)?"
    r"(?:d?seg|segm|segs|segmentations?|labels?|labelmap|gtv|gt|groundtruth)"
)
_MASKS = re.compile(r"(?P<tumour>tumou?rs?|lesions?|glioma|gbm)?(?:mask|roi)")
_TUMOUR = re.compile(r"tumou?rs?|lesions?|glioma|gbm")
_BY_HAND = frozenset(("final", "manual", "manually", "expert", "corrected"))
# fmt: off
_NOT_THE_TUMOUR = frozenset((
    "brain", "parenchyma", "tissue", "wm", "gm", "csf", "aseg", "aparc", "vessel", "vessels",
    "ventricle", "ventricles", "skull", "head", "auto", "automated", "automatic", "approx", "pred",
    "prediction", "predicted",
))
# fmt: on

_BIDS = re.compile(
    r"(?P<subject>sub-[a-z0-9]+)(?P<entities>(?:_[a-z]+-[a-z0-9+]+)*)_(?P<suffix>[a-z0-9]+)",
    re.IGNORECASE,
)
_IN_ENTITY = re.compile(r"(?P<pre>pre|no|non)?(?P<agent>post|contrast|gado?|gd(?![a-z])|^ce$)")


@dataclass(frozen=True)
class Reading:
    """What a name says.

    Attributes:
        case: The case; empty if the file is called by its content alone.
        contents: A channel, `LABEL`, or nothing if the name does not say.
        problem: Why it does not, if there is more to say than that no word is known.
        other: Another case and content that the same words may mean: `P7_post_T1` may be T1 after
            contrast of P7, or T1 without it of the examination P7_post.
        doubt: Why this may be T1 after contrast, unless that lies beside it: `Gd_7_T1`.
    """

    case: str
    contents: tuple[str, ...] = ()
    problem: str = ""
    other: tuple[str, str] | None = None
    doubt: str = ""


def read_name(name: str, channels: Collection[str]) -> Reading:
    """Case and content of a NIfTI file by its name.

    Known are the names of BraTS, BIDS and the public cohorts. Words that say whether there is a
    contrast agent may stand on either side of T1.

    Args:
        name: File name.
        channels: Contrasts that are looked for; they may be others than the four we know.

    >>> read = read_name("BraTS-GLI-00002-000-t1c.nii.gz", ())
    >>> read.case, read.contents
    ('BraTS-GLI-00002-000', ('t1c',))
    >>> read_name("sub-01_ses-2_ce-gadolinium_T1w.nii", ()).contents
    ('t1c',)
    """
    whole = stem(name)
    if case := misnamed_label_map(whole):
        return Reading(case, (LABEL,))
    if match := _BIDS.fullmatch(whole):
        return _read_bids(match, channels)
    words = _Words(whole)
    if not words.texts:
        return Reading(whole)
    if reading := _read_label(words) or _read_channel(words):
        return reading
    channel = channel_of(words.texts[-1])
    if channel in channels or words.texts[-1] in CHANNEL_NAMES:
        return Reading(words.before(len(words.texts) - 1), (channel,))
    return Reading(whole)


def read_numbered_name(name: str) -> tuple[str, int] | None:
    """Case and channel number of a file named as nnU-Net does, or None.

    >>> read_numbered_name("BraTS2021_00000_0003.nii.gz")
    ('BraTS2021_00000', 3)
    """
    match = _NUMBERED.fullmatch(stem(name))
    return (match["case"], int(match["number"])) if match else None


def read_folder(name: str, read: Reading) -> Reading:
    """What a file that is read as T1 without contrast agent is, by the name of its folder.

    >>> read_folder("postcontrast", Reading("", ("t1n",))).doubt
    "T1 in a folder 'postcontrast', a word of contrast agent"
    """
    if read.contents != ("t1n",) or read.other is not None or read.doubt:
        return read
    of_folder = read_name(name, ())
    if of_folder.contents == ("t1c",) and not of_folder.case:
        return Reading(read.case, ("t1c",))
    words = _Words(name).texts
    if words != ["post"] and _agent_apart(words) != "t1c":
        return read
    return replace(read, doubt=f"T1 in a folder {name!r}, a word of contrast agent")


def _agent_apart(words: Sequence[str]) -> str | None:
    """What words that need not be beside T1 say of the contrast agent, as `_agent` does."""
    told = [word for word in words if word in _APART | _NATIVE | _NEGATION]
    for word, after in itertools.pairwise(words):
        if word == "post" and _NO_TIME_AFTER.fullmatch(after) and not _AFTER_TIME.fullmatch(after):
            told.append(word)
    return _agent(told)


def is_bids(name: str) -> bool:
    """Whether a file is named as BIDS does, so that its name says all of the contrast agent."""
    return _BIDS.fullmatch(stem(name)) is not None


class _Words:
    """The words of a name, in lower case, and what stands before them."""

    def __init__(self, whole: str) -> None:
        matches = list(_TOKEN.finditer(whole))
        self.whole = whole
        self.texts = [match[0].casefold() for match in matches]
        self._starts = [match.start() for match in matches]

    def before(self, index: int) -> str:
        """The name up to a word, without the signs that part them."""
        return self.whole[: self._starts[index]].rstrip("_.- ") if self.texts else ""

    def text(self, index: int) -> str:
        return self.texts[index] if index >= 0 else ""


def _kind(word: str) -> str:
    """`T1`, `T2`, `FLAIR` or nothing."""
    for kind, known in (("T1", _T1), ("FLAIR", _FLAIR), ("T2", _T2)):
        if known.fullmatch(word):
            return kind
    return ""


def _is_loose(word: str) -> bool:
    """Whether a word may also be the end of the name of an examination, as time point T2."""
    return word in {"t1", "t2", "flair", "fla", "t1w", "mprage"}


def _agent(words: Iterable[str]) -> str | None:
    """`t1c` or `t1n` as words say it; "" if they contradict themselves, None if they say none."""
    words = set(words)
    if {"pre", "post"} <= words:
        return ""
    if not words.isdisjoint(_NATIVE | _NEGATION):
        return "t1n"
    return "t1c" if not words.isdisjoint(_AFTER_CONTRAST) else None


def _in_word(word: str) -> list[str]:
    """What a word such as T1ce says of the contrast agent."""
    match = _T1.fullmatch(word)
    return [part for part in match.groups() if part] if match else []


def _read_channel(words: _Words) -> Reading | None:
    last = len(words.texts) - 1
    end = last
    while end >= 0 and words.text(end) in _WORDS:
        end -= 1
    kind = _kind(words.text(end))
    if not kind:
        return None
    if kind == "T1":
        return _read_t1(words, end, words.texts[end + 1 :])
    if end < last:
        said = " ".join(words.texts[end + 1 :])
        return Reading(words.whole, problem=f"{kind} and {said!r}, which is not known of it")
    return _read_t2(words, end, kind)


def _read_t2(words: _Words, end: int, kind: str) -> Reading:
    """T2 or FLAIR, the last word being at `end`."""
    channel = "t2f" if kind == "FLAIR" else "t2w"
    before = words.text(end - 1)
    other_kind = _kind(before)
    if _is_loose(before) or before == "t2w":
        loose = words.texts[end] not in {"t2f", "t2w"}
        if {kind, other_kind} == {"T2", "FLAIR"} and (loose or words.texts[end] == "t2w"):
            return Reading(_image_case(words, end - 1), ("t2f",))
        if other_kind == "T1" and loose:
            return _two_kinds(words, end, channel)
    return _single(words, end, channel)


def _two_kinds(words: _Words, end: int, channel: str) -> Reading:
    """Words of two contrasts, the first of which may also be a time point."""
    said = f"{words.texts[end - 1]} and {words.texts[end]}"
    other = words.before(end), channel
    return Reading(words.whole, problem=f"the name says both {said}", other=other)


def _single(words: _Words, end: int, channel: str) -> Reading:
    before = words.text(end - 1)
    if before in _OTHER_IMAGES:
        said = f"{before} and {words.texts[end]}"
        return Reading(words.whole, problem=f"the name says both {said}")
    return Reading(_image_case(words, end), (channel,))


def _image_case(words: _Words, start: int) -> str:
    """The case before a channel; `brain` says that the skull was removed."""
    stripped = words.text(start - 1) == "brain"
    return words.before(start - 1 if stripped else start)


def _read_t1(words: _Words, end: int, after: Sequence[str]) -> Reading:
    """T1, its word being at `end`, words of contrast agent after it."""
    start = end
    said = [*_in_word(words.texts[end]), *after]
    before = words.text(end - 1)
    if _kind(before) == "T1" and "mprage" in (before + words.texts[end]):
        start -= 1
        said += _in_word(before)
    elif _is_loose(before) and _kind(before) in {"T2", "FLAIR"} and _is_loose(words.texts[end]):
        return _two_kinds(words, end, _agent(said) or "t1n")
    ahead = _words_ahead(words, start, said)
    agent = _agent([*said, *ahead])
    parts = {_agent(part) for part in (_in_word(words.texts[end]), after, ahead) if part}
    if agent == "" or len(parts - {None}) > 1:
        found = " ".join([*ahead, *words.texts[start:]])
        return Reading(words.whole, problem=f"{found!r} says both with and without contrast agent")
    reading = _single(words, start, agent or "t1n")
    if agent is None and _agent_apart(words.texts[: start + 1]) == "t1c":
        doubt = "the name says T1 and, apart from it, a word of contrast agent"
        return reading if reading.problem else replace(reading, doubt=doubt)
    if reading.problem or not ahead:
        return reading
    case = words.before(start - len(ahead))
    if set(ahead) <= _OF_TIME:
        return replace(reading, case=case, other=(words.before(start), "t1n"))
    return replace(reading, case=case)


def _words_ahead(words: _Words, start: int, said: Sequence[str]) -> list[str]:
    """Words of contrast agent that stand before T1 and belong to it."""
    first = start
    while words.text(first - 1) in _WORDS - _NOT_BEFORE:
        first -= 1
    ahead = words.texts[first:start]
    # Of T1ce, they say when the patient was examined.
    of_time = set(ahead) <= _OF_TIME and bool(said)
    return [] if of_time or _agent(ahead) is None else ahead


def _read_label(words: _Words) -> Reading | None:
    end = len(words.texts) - 1
    last = words.texts[end]
    if last == "manuallycorrected" and words.text(end - 1) == "glistrboost":
        return Reading(words.before(end - 1), (LABEL,))
    match = _LABELS.fullmatch(last) or _MASKS.fullmatch(last)
    if match is None:
        return None
    tumour, start = bool(match["tumour"]), end
    while start > 0 and (_TUMOUR.fullmatch(words.text(start - 1)) or _is_by_hand(words, start)):
        start -= 1
        tumour |= words.texts[start] not in _BY_HAND
    if _MASKS.fullmatch(last) and not tumour:
        return Reading(words.whole, problem="a mask, but the name does not say that of the tumour")
    before = words.text(start - 1)
    if before in _NOT_THE_TUMOUR:
        return Reading(words.whole, problem=f"a segmentation, but of or by {before!r}")
    if _kind(before) and not tumour:
        problem = f"a segmentation, but of {before!r}, which need not be that of the tumour"
        return Reading(words.whole, problem=problem, other=(words.before(start), LABEL))
    # What was drawn on one of the channels is that of the case.
    return Reading(words.before(start - bool(_kind(before) and tumour)), (LABEL,))


def _is_by_hand(words: _Words, start: int) -> bool:
    return words.text(start - 1) in _BY_HAND


def _read_bids(name: re.Match[str], channels: Collection[str]) -> Reading:
    entities = dict(re.findall(r"_([a-z]+)-([a-z0-9+]+)", name["entities"].casefold()))
    session = re.search(r"_ses-[a-z0-9+]+", name["entities"], re.IGNORECASE)
    case_id = name["subject"] + (session[0] if session else "")
    suffix = name["suffix"].casefold()
    if _LABELS.fullmatch(suffix) or _MASKS.fullmatch(suffix):
        return _bids_label(case_id, suffix, entities)
    if problem := _bids_problem(suffix, entities):
        return Reading(case_id, problem=problem)
    channel = channel_of(suffix)
    match _kind(suffix):
        case "T1":
            return Reading(
                case_id, (_agent([*_entity_words(entities), *_in_word(suffix)]) or "t1n",)
            )
        case "T2":
            channel = "t2w"
        case "FLAIR":
            channel = "t2f"
        case _:
            return Reading(case_id, (channel,) if channel in channels else ())
    return Reading(case_id, (channel,))


def _bids_problem(suffix: str, entities: dict[str, str]) -> str:
    """Why a BIDS name does not say which channel it is, if it seems to be one."""
    if entities.get("part", "mag") != "mag":
        return f"the {entities['part']} of an image, not its magnitude"
    kind = _kind(suffix)
    told = " ".join(entities[name] for name in ("acq", "desc", "rec", "mod") if name in entities)
    if kind in {"T1", "T2"} and ("flair" in told or "star" in told):
        return f"the name says both {told} and {suffix}"
    said, own = _entity_words(entities), _in_word(suffix)
    if kind in {"T2", "FLAIR"} and _agent(said) == "t1c":
        return f"{kind} after contrast agent"
    contradict = _agent(said) == "" or (own and said and _agent(own) != _agent(said))
    return "the name says both with and without contrast agent" if contradict else ""


def _entity_words(entities: dict[str, str]) -> list[str]:
    """What the entities of a BIDS name say of a contrast agent."""
    said = []
    if "ce" in entities:
        said.append("pre" if entities["ce"] in _NO_AGENT else "ce")
    for name in ("acq", "desc", "rec"):
        for match in _IN_ENTITY.finditer(entities.get(name, "")):
            said.append("pre" if match["pre"] else "ce")
        if entities.get(name) in {"pre", "native"}:
            said.append("pre")
    # A contradiction, as words of one name would be.
    return ["pre", "post"] if {"pre", "ce"} <= set(said) else said


def _bids_label(case: str, suffix: str, entities: dict[str, str]) -> Reading:
    of_what = [entities[name] for name in ("label", "desc", "seg", "atlas") if name in entities]
    named = _LABELS.fullmatch(suffix) or _MASKS.fullmatch(suffix)
    tumour = any(_TUMOUR.search(value) for value in of_what) or bool(named and named["tumour"])
    if tumour or (_LABELS.fullmatch(suffix) and set(of_what) <= _BY_HAND):
        return Reading(case, (LABEL,))
    said = f" ({', '.join(of_what)})" if of_what else ""
    return Reading(case, problem=f"a {suffix}{said}, but the name does not say that of the tumour")
