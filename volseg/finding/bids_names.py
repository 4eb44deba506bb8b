"""File names of BIDS: entities and a suffix, such as `sub-01_ses-2_ce-gadolinium_T1w`."""

from __future__ import annotations

import re
from collections.abc import Collection

from volseg.cases.channels import LABEL, channel_of
from volseg.finding.label_names import BY_HAND, LABELS, MASKS, TUMOUR
from volseg.finding.name_words import Reading, agent, kind_of, words_in
from volseg.images.file_names import stem

_BIDS = re.compile(
    r"(?P<subject>sub-[a-z0-9]+)(?P<entities>(?:_[a-z]+-[a-z0-9+]+)*)_(?P<suffix>[a-z0-9]+)",
    re.IGNORECASE,
)
_IN_ENTITY = re.compile(r"(?P<pre>pre|no|non)?(?P<agent>post|contrast|gado?|gd(?![a-z])|^ce$)")
_NO_AGENT = frozenset(("none", "no", "pre", "without", "false", "0"))


def is_bids(name: str) -> bool:
    """Whether a file has a BIDS name, which alone decides about the contrast agent."""
    return _BIDS.fullmatch(stem(name)) is not None


def read_bids(whole: str, channels: Collection[str]) -> Reading | None:
    """Reading of a BIDS name; None if the name is not from BIDS.

    Args:
        whole: Name without ending.
        channels: Contrasts to look for, besides the four of BraTS.
    """
    name = _BIDS.fullmatch(whole)
    if name is None:
        return None
    entities = dict(re.findall(r"_([a-z]+)-([a-z0-9+]+)", name["entities"].casefold()))
    session = re.search(r"_ses-[a-z0-9+]+", name["entities"], re.IGNORECASE)
    case_id = name["subject"] + (session[0] if session else "")
    suffix = name["suffix"].casefold()
    if LABELS.fullmatch(suffix) or MASKS.fullmatch(suffix):
        return _bids_label(case_id, suffix, entities)
    if problem := _bids_problem(suffix, entities):
        return Reading(case_id, problem=problem)
    channel = channel_of(suffix)
    match kind_of(suffix):
        case "T1":
            return Reading(
                case_id, (agent([*_entity_words(entities), *words_in(suffix)]) or "t1n",)
            )
        case "T2":
            channel = "t2w"
        case "FLAIR":
            channel = "t2f"
        case _:
            return Reading(case_id, (channel,) if channel in map(channel_of, channels) else ())
    return Reading(case_id, (channel,))


def _bids_problem(suffix: str, entities: dict[str, str]) -> str:
    """Why the channel of a BIDS name is not clear; "" if it is."""
    if entities.get("part", "mag") != "mag":
        return f"the {entities['part']} of an image, not its magnitude"
    kind = kind_of(suffix)
    said = " ".join(entities[name] for name in ("acq", "desc", "rec", "mod") if name in entities)
    if kind in {"T1", "T2"} and ("flair" in said or "star" in said):
        return f"the name says both {said} and {suffix}"
    given, own = _entity_words(entities), words_in(suffix)
    if kind in {"T2", "FLAIR"} and agent(given) == "t1c":
        return f"{kind} after contrast agent"
    contradict = agent(given) == "" or (own and given and agent(own) != agent(given))
    return "the name says both with and without contrast agent" if contradict else ""


def _entity_words(entities: dict[str, str]) -> list[str]:
    """Words of contrast agent in the entities of a BIDS name."""
    said = []
    if "ce" in entities:
        said.append("pre" if entities["ce"] in _NO_AGENT else "ce")
    for name in ("acq", "desc", "rec"):
        for match in _IN_ENTITY.finditer(entities.get(name, "")):
            said.append("pre" if match["pre"] else "ce")
        if entities.get(name) in {"pre", "native"}:
            said.append("pre")
    # Both words, so that `agent` reads a contradiction.
    return ["pre", "post"] if {"pre", "ce"} <= set(said) else said


def _bids_label(case: str, suffix: str, entities: dict[str, str]) -> Reading:
    of_what = [entities[name] for name in ("label", "desc", "seg", "atlas") if name in entities]
    named = LABELS.fullmatch(suffix) or MASKS.fullmatch(suffix)
    tumour = any(TUMOUR.search(value) for value in of_what) or bool(named and named["tumour"])
    if tumour or (LABELS.fullmatch(suffix) and set(of_what) <= BY_HAND):
        return Reading(case, (LABEL,))
    said = f" ({', '.join(of_what)})" if of_what else ""
    return Reading(case, problem=f"a {suffix}{said}, but the name does not mention the tumour")
