"""Channel of a series by all that its source says; doubt where two sources contradict."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from volseg.cases.channels import LABEL
from volseg.conversion.evidence_signal import KINDS, in_words, kind_by_signal, lacks_inversion
from volseg.conversion.evidence_words import Agent, SaidWords, agent_in_tag, read_words
from volseg.conversion.series import Facts, Series
from volseg.finding.name_reading import read_name
from volseg.finding.name_words import BETWEEN, Words, kind_of

_CHANNELS: Mapping[str, tuple[str, ...]] = {"T2": ("t2w",), "FLAIR": ("t2f",)}
_OF_T1 = ("t1n", "t1c")
#: Channel of a modality without contrasts.
_BY_MODALITY: Mapping[str, str] = {"CT": "ct", "PT": "pet"}
_MODALITIES = ("MR", *_BY_MODALITY)
# Body Part Examined of magnetic resonance without a brain.
_OTHER_PARTS = frozenset(
    (
        *("ABDOMEN", "ANKLE", "BREAST", "CSPINE", "ELBOW", "FOOT", "HAND", "HEART", "HIP", "KNEE"),
        *("LIVER", "LSPINE", "PELVIS", "PROSTATE", "SHOULDER", "SPINE", "TSPINE", "WRIST"),
    )
)
# Values of Image Type by which Dixon names its image without fat.
_WATER = frozenset(("WATER", "W"))
# Numbers that archives add to the names of files.
_NUMBER = re.compile(r"(?:[._-]\d{3,})+$")
_SHARP = ("bone", "edge", "lung", "sharp", "detail", "knochen")


@dataclass(frozen=True)
class Evidence:
    """What a series is, by its source.

    Attributes:
        fits: Channels that it may be: one if the evidence is clear, none if it is no channel.
        reasons: The evidence, in known words and numbers only: nothing that identifies.
        doubt: Why several channels fit; "" otherwise.
        left_out: Why no channel fits; "" otherwise.
        agent: What is known of a contrast agent.
        is_named: Whether a name says the contrast, not only parameters.
        fat_suppressed: Whether a name or the scan options say so.
    """

    fits: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    doubt: str = ""
    left_out: str = ""
    agent: Agent = None
    is_named: bool = False
    fat_suppressed: bool = False

    def doubted(self, doubt: str, fits: tuple[str, ...] = _OF_T1) -> Evidence:
        """The same with a doubt between channels."""
        return replace(self, fits=fits, doubt=doubt)

    def __str__(self) -> str:
        return "; ".join(self.reasons)


def evidence_of(series: Series) -> Evidence:
    """Evidence for the channel of a series, without a look at the other series."""
    facts = series.facts
    if reason := _no_channel(facts):
        return Evidence(left_out=reason)
    if series.kind == "image":
        return _of_image(series)
    said = _said(facts)
    if said.left_out:
        return Evidence(left_out=said.left_out)
    if facts.modality in _BY_MODALITY:
        return _of_modality(facts, said)
    return _of_contrast(facts, said)


def _no_channel(facts: Facts) -> str:
    """Why a series is no channel, whatever its contrast; "" if it may be one."""
    if facts.by_hand_only:
        return facts.by_hand_only
    if facts.burned_in:
        return "its pixels hold annotations, perhaps the patient's name"
    if facts.modality == "MR" and (facts.body_part or "").upper() in _OTHER_PARTS:
        return "another part of the body by its tag"
    if facts.volumes > 1:
        return "one of several volumes of a dynamic series"
    if facts.modality and facts.modality not in _MODALITIES:
        return f"modality {facts.modality}, not MR, CT or PT"
    return ""


def _said(facts: Facts) -> SaidWords:
    """What description and protocol say: the protocol counts where it names a sequence itself."""
    described = read_words(facts.description or "")
    protocol = read_words(facts.protocol or "")
    if not protocol.kind and not protocol.left_out:
        return described
    if not described.kind and not described.left_out:
        return replace(protocol, agent=described.agent or protocol.agent)
    if described.left_out or described.agent or described.kind != protocol.kind:
        return described
    words = tuple(dict.fromkeys((*described.words, *protocol.words)))
    return replace(described, agent=protocol.agent, words=words)


def _of_image(series: Series) -> Evidence:
    """Evidence of an image file: its name, as `split` reads it, or words within the name."""
    name = _NUMBER.sub("", series.facts.description or _stem(series.files[0].name))
    read = read_name(name, _BY_MODALITY.values())
    if len(read.contents) == 1 and read.contents[0] != LABEL and not read.doubt:
        (channel,) = read.contents
        return Evidence(read.contents, (f"file name says {channel}",), is_named=True)
    said = read_words(name)
    kinds = _kinds_in(name)
    if not said.left_out and (len({*kinds}) > 1 or (read.problem and len(kinds) > 1)):
        problem = read.problem or f"the name says {' and '.join(dict.fromkeys(kinds))}"
        fits = (channel for kind in kinds for channel in _CHANNELS.get(kind, _OF_T1))
        return Evidence().doubted(problem, tuple(dict.fromkeys(fits)))
    if read.problem and not said.left_out:
        said = replace(said, left_out=read.problem)
    if said.left_out:
        return Evidence(left_out=said.left_out)
    if series.facts.modality in _BY_MODALITY:
        return _of_modality(series.facts, said)
    return _of_contrast(series.facts, said)


def _kinds_in(name: str) -> list[str]:
    """Contrasts that words of a file name mean; a T2 FLAIR is one, a FLAIR."""
    words = Words(name).texts
    kinds = [kind for word in words if (kind := kind_of(word))]
    return ["FLAIR"] if {*kinds} == {"T2", "FLAIR"} and BETWEEN.isdisjoint(words) else kinds


def _stem(name: str) -> str:
    return re.sub(r"\.(?:nii|mha|mhd|nrrd|nhdr|hdr|img|tiff?|png)(?:\.gz)?$", "", name, flags=re.I)


def _of_modality(facts: Facts, said: SaidWords) -> Evidence:
    kernel = (facts.kernel or "").casefold()
    words = f"{kernel} {(facts.description or '').casefold()}"
    if facts.modality == "CT" and (any(word in words for word in _SHARP) or _is_sharp(kernel)):
        return Evidence(left_out="CT with a sharp kernel")
    modality = str(facts.modality)
    return Evidence(
        (_BY_MODALITY[modality],), (f"modality {modality}",), agent=_agent(facts, said)[0]
    )


def _is_sharp(kernel: str) -> bool:
    """Whether a kernel of Siemens is above 59, as in B70s or Hr68; 30 to 40 show the brain."""
    digits = "".join(sign for sign in kernel[:4] if sign.isdigit())
    return kernel[:1] in {"b", "h", "u", "j"} and digits.isdecimal() and 59 < int(digits[:2]) < 100


def _of_contrast(facts: Facts, said: SaidWords) -> Evidence:
    by_signal = kind_by_signal(facts)
    kind, doubt = _combined(said.kind, by_signal, facts)
    if kind not in KINDS:
        return Evidence(left_out=kind or "neither name nor parameters say its contrast")
    reasons = [f"name says {' '.join(said.words)}"] if said.words else []
    reasons += filter(None, [in_words(facts)])
    found = Evidence(
        _CHANNELS.get(kind, _OF_T1),
        tuple(reasons),
        is_named=bool(said.kind),
        fat_suppressed=said.fat_suppressed
        or "FS" in facts.options
        or not _WATER.isdisjoint(facts.image_type[2:]),
    )
    if doubt:
        other = by_signal if by_signal in KINDS and by_signal != kind else "T2"
        others = _CHANNELS.get(other, _OF_T1)
        return found.doubted(doubt, (*found.fits, *others))
    return found if kind != "T1" else _with_agent(found, facts, said)


def _combined(named: str, by_signal: str, facts: Facts) -> tuple[str, str]:
    """Contrast by name and parameters, and why it is in doubt, if it is."""
    if not named or (named, by_signal) in {("T2", "FLAIR"), ("PD", "T2"), ("several", "T2")}:
        return by_signal, ""
    if named == "several":
        return "several contrasts in its name", ""
    if named == "FLAIR":
        is_doubtful = lacks_inversion(facts) or by_signal not in {"", "FLAIR"}
        return named, f"the name says FLAIR, but not {_parameters(facts)}" * is_doubtful
    # The name decides where parameters are missing or at a limit: T1 with a long repetition.
    if by_signal in {"", named} or (named, by_signal) == ("T1", "PD"):
        return named, ""
    if by_signal in KINDS and named in KINDS:
        return named, f"the name says {named}, the {_parameters(facts)} say {by_signal}"
    return (named if named == "PD" else by_signal), ""


def _parameters(facts: Facts) -> str:
    return f"parameters ({text})" if (text := in_words(facts)) else "parameters"


def _with_agent(found: Evidence, facts: Facts, said: SaidWords) -> Evidence:
    """Evidence of a T1 with what is known of a contrast agent."""
    agent, reason = _agent(facts, said)
    with_reason = replace(found, agent=agent, reasons=(*found.reasons, reason))
    if agent == "both":
        return with_reason.doubted(reason)
    return replace(with_reason, fits=("t1c",) if agent == "given" else ("t1n",))


def _agent(facts: Facts, said: SaidWords) -> tuple[Agent, str]:
    """What tag and name say of a contrast agent, and the evidence in words."""
    tag = agent_in_tag(facts.contrast_agent)
    if said.agent == "both":
        return "both", "the name says both with and without contrast agent"
    if tag and said.agent and tag != said.agent:
        named = "an agent" if said.agent == "given" else "none"
        tagged = "an agent" if tag == "given" else "none"
        return "both", f"the name says {named}, the tag of the contrast agent {tagged}"
    if tag == "given":
        return tag, "tag names a contrast agent"
    if tag == "none":
        return tag, "tag says no contrast agent"
    return said.agent, "no tag of a contrast agent"
