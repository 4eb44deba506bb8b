"""Words of series descriptions and protocols: contrast, contrast agent, and what is no channel."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from volseg.finding.name_words import AGENT_WORDS, BETWEEN, NEGATION, Words, agent

#: What is known of a contrast agent: given, none, contradicting words, or no word.
Agent = Literal["given", "none", "both"] | None

_SHORTHAND = (
    # Chinese and Japanese: enhanced, after and before contrast, plain, water suppressed.
    (r"\u589e[\u5f3a\u5f37]|\u5f37\u5316|\u9020\u5f71\u5f8c", " gd "),
    (r"\u5e73[\u626b\u6383]|\u9020\u5f71\u524d|\u5358\u7d14", " nativ "),
    (r"\u538b\u6c34|\u58d3\u6c34|\u9ed1\u6c34", " flair "),
    (r"\u5f25\u6563|\u64f4\u6563|\u62e1\u6563", " dwi "),
    (r"\bgado\w+", " gado "),
    (r"\bnon?[-_ ]?con\b", " noncon "),
    (r"\bvoor (?=contrast|gado|gd\b)", " pre "),
    (r"\b(?:po|p\.?) ?k\.? ?l\b\.?", " kontrast "),
    (r"\+ ?/ ?-|\bw/wo?\b|\bw\+wo\b|\bw ?& ?wo?\b", " with without "),
    (r"\bw/o\b|\bs/c\b", " without "),
    (r"\bw/(?=\w)|\bc/c\b", " with "),
    (r"\bn(?:\.|ach)? ?km\b", " post km "),
    (r"\bv(?:\.|or)? ?km\b", " pre km "),
    (r"\bo(?:\.|hne)? ?km\b", " without km "),
    (r"\bt2 ?(?:\*|-?star)", " t2 gre "),
    (r"\+ ?(?=(?:c|ce|gd|gad|gado|km|contrast)\b)", " +"),
    (r"dark[-_ ]?fluid", " flair "),
    (r"\b(?:fat|fett|fet|graisse)[-_ ]?(?:sat|suppr|unterdr)\w*", " fs "),
    (r"\b(?:out[-_ ]?(?:of[-_ ]?)?|opp(?:osed)?[-_ ]?)phase\b", " opp "),
    (r"\bdouble[-_ ]inversion\b", " dir "),
    (r"\b(?:mp2rage.*)\bt1 images?\b", " t1map "),
    (r"\bfield[-_ ]?map\w*|\bgre_field\w*", " fieldmap "),
    (r"\bproton[-_ ]?density\b", " pd "),
)
# Letters and words that manufacturers put directly before and after T1 and T2.
_GLUED = re.compile(
    r"(?P<before>s|e|w|ce?|gd|pre|post|ax|sag|cor|tra|2d|3d)?(?P<kind>t[12])(?:wi?|weighted)?"
    r"(?P<after>3d|2d|tse|fse|se|ir|tfe|ffe|fs|mprage|space|spc|vibe|flash|flair|cube|vista"
    r"|map|rho|ce?|gd|gad|gado|km|n|pre|post)?"
)
# fmt: off
_BY_KIND: Mapping[str, str] = {
    "T1": "t1 mprage mp2rage bravo spgr fspgr tfl3d thrive vibe lava tfe3d irfspgr",
    "T2": "t2",
    "FLAIR": "flair fla t2f flair3d 3dflair t2flair flairt2 darkfluid",
    "PD": "pd pdw dp",
}
_GIVEN = frozenset((
    "kontrast", "kontrastmittel", "contraste", "contrasto", "contrastmiddel", "kontrastem", "mdc",
    "gadovist", "gadavist", "dotarem", "clariscan", "magnevist", "multihance", "prohance",
    "omniscan", "gadoterate", "gadobutrol", "poscontraste", "postkontrast", "ivc", "enh",
    "delayed", "injection", "inj", "injected", "injecte", "nach",
    "apres", "dopo", "despues", "depois", "efter", "gadolinio", "civ",
))
_NONE = frozenset((
    "nativ", "nativo", "nativa", "natif", "plain", "basal", "sans", "sin", "senza", "ohne", "sem",
    "zonder", "utan", "uden", "uten", "bez", "avant", "antes", "prima", "vor", "noncon",
))
_WITH = frozenset(("with", "mit", "avec", "con", "met", "med", "com"))
_LEFT_OUT: Mapping[str, str] = {
    "diffusion": "dwi isodwi edwi dw diff diffusion diffusie diffusione difusion dti adc eadc dadc "
    "fa trace tracew colfa resolve ivim dki b1000 b800",
    "echo-planar imaging": "ep2d epi",
    "susceptibility or T2*": "swi swan swip venbold hemo haemo heme qsm susceptibility gre",
    "perfusion": "perf perfusion perfusie pwi dsc dce asl pcasl pasl cbf cbv rcbf rcbv relcbf "
    "relcbv mtt rmtt tmax ttp ktrans twist dyn dynamic permeability",
    "spectroscopy": "mrs mrsi spectro spectroscopy spektroskopie spectroscopie espectroscopia csi "
    "svs",
    "angiography": "tof mra mrv angio angiography angiographie angiografia venography venographie "
    "cemra cta ctv trickst tricks inhance",
    "functional imaging": "bold fmri resting",
    "scout": "scout localizer localiser localisateur localizador lokalizer loc survey topogram "
    "surview scanogram aahead aahscout aascout 3plane planscan",
    "calibration": "calib calibration asset senseref refscan fieldmap b0map b1map tb1tfl shim",
    "balanced steady state": "fiesta ciss trufi truefisp bffe btfe",
    "short inversion time (STIR)": "stir",
    "double inversion": "dir",
    "quantitative map": "map mapping rho t1map t2map magic symri syntac synthetic inv1 inv2",
    "subtraction or projection": "sub subs subtr subtract subtraction subtracted substraction "
    "subtraktion subtraktie soustraction soustr sustraccion sottrazione subtracao mip "
    "minip mpr curved",
    "a processed series": "reformat reformats reformatted fused fusion overlay segmentation",
    "no volume of a scan": "screenshot screensave capture report dose",
    "another part of the body": "spine cspine tspine lspine hws bws lws cervical thoracic lumbar "
    "wirbelsaule wirbelsaeule rachis colonne columna abdomen pelvis liver leber prostate prostata "
    "breast mamma knee knie shoulder schulter hip hufte huefte ankle wrist cardiac neck "
    "hals orbit orbita orbits orbital iac pituitary sella hypophyse hypofyse cavum",
}
_KINDS = {word: kind for kind, words in _BY_KIND.items() for word in words.split()}
_REASONS = {word: reason for reason, words in _LEFT_OUT.items() for word in words.split()}
# Words of a technique, which others make more precise.
_WEAK = frozenset(("ep2d", "ep", "epi", "gre"))
# What "no", "without" and their like deny, other than a contrast agent.
_OTHERS = frozenset((
    "fs", "fat", "sat", "fett", "grasa", "graisse", "spair", "spir", "stir", "motion", "mt", "mtc",
    "mtr", "gap", "flow", "filter", "angulation", "gating", "sense", "asset", "grappa", "asir",
))
# fmt: on
_DIXON = frozenset(("dixon", "mdixon", "flex", "ideal", "lava", "qdixon"))
_TIME = re.compile(r"(?:op|surg|resec|treat|tx|rt|radi|chemo|therap)\w*")


@dataclass(frozen=True)
class SaidWords:
    """What a description or protocol says.

    Attributes:
        kind: `T1`, `T2`, `FLAIR` or `PD`; "" if it says none, `several` if it says two.
        agent: What it says of a contrast agent.
        left_out: What it says the series is, if that is no channel, such as "diffusion".
        fat_suppressed: Whether it says so.
        words: The words of `kind` and `agent`, all of them known words of volseg.
    """

    kind: str = ""
    agent: Agent = None
    left_out: str = ""
    fat_suppressed: bool = False
    words: tuple[str, ...] = ()


def read_words(text: str) -> SaidWords:
    """What the words of a text say.

    >>> read_words("t1_mprage_sag_KM").kind, read_words("t1_mprage_sag_KM").agent
    ('T1', 'given')
    >>> read_words("AX T2 FLAIR").kind, read_words("ep2d_diff_b1000").left_out
    ('FLAIR', 'diffusion')
    """
    words = _words(text)
    kinds = _kinds(words)
    said, agent_words = _agent(words)
    kind_words = [word for word in words if word in _KINDS]
    return SaidWords(
        "several" if len(kinds) > 1 and not BETWEEN.isdisjoint(words) else _one_kind(kinds),
        said,
        _left_out(words, kinds),
        not {"fs", "fatsat", "spir", "spair"}.isdisjoint(words),
        tuple(dict.fromkeys([*kind_words, *agent_words])),
    )


def agent_in_tag(text: str | None) -> Agent:
    """What the DICOM tag of the contrast agent says; many scanners write NONE or NO into it.

    >>> agent_in_tag("Gadovist 7.5 ml"), agent_in_tag("NONE"), agent_in_tag("")
    ('given', 'none', None)
    """
    if text is None or not text.strip(" -_.?"):
        return None
    words = set(_words(text))
    no_agent = {"none", "no", "n", "non", "nein", "keine", "kein", "nil", "0", "without", "na"}
    said, _ = _agent(list(words))
    return "none" if words & no_agent or said == "none" else "given"


def _words(text: str) -> list[str]:
    """Known parts of the words of a text, in lower case and without accents."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(sign for sign in plain if not unicodedata.combining(sign))
    for pattern, words in _SHORTHAND:
        # An underscore is no border of a word for regular expressions.
        plain = re.sub(pattern, words, plain.replace("_", " "))
    found: list[str] = []
    for word in Words(re.sub(r"[,;:/()\[\]&=]", " ", plain)).texts:
        match = _GLUED.fullmatch(word)
        found += [part for part in match.groups() if part] if match else [word]
    return found


def _kinds(words: Iterable[str]) -> set[str]:
    return {_KINDS[word] for word in words if word in _KINDS}


def _one_kind(kinds: set[str]) -> str:
    """The contrast of several words: a T1 may be a FLAIR by name, with a short inversion time."""
    for names, kind in (({"T1", "FLAIR"}, "T1"), ({"T2", "FLAIR"}, "FLAIR"), ({"PD", "T2"}, "PD")):
        if kinds == names:
            return kind
    return "several" if len(kinds) > 1 else next(iter(kinds), "")


def _agent(words: list[str]) -> tuple[Agent, list[str]]:
    """What words say of a contrast agent, and those of them that do."""
    ours = [word for n, word in enumerate(words) if _is_of_agent(words, n)]
    none, given = _NONE & {*ours}, _GIVEN & {*ours}
    of_names = agent([word for word in ours if word not in _NONE | _GIVEN | _WITH])
    without = bool(none) or of_names == "t1n"
    if of_names == "" or (without and not _WITH.isdisjoint(words)):
        return "both", ours
    if without:
        return "none", ours
    return ("given" if given or of_names == "t1c" else None), ours


def _is_of_agent(words: list[str], n: int) -> bool:
    word, after = words[n], words[n + 1] if n + 1 < len(words) else ""
    before = words[n - 1] if n else ""
    if after in _OTHERS and word in _NONE | NEGATION:  # T1 POST no FS
        return False
    if word in {"post", "pre", "nach", "vor", "after", "before"}:
        return not _TIME.fullmatch(after)
    if word in {"+", "c", "n"}:  # T1 + C, T1 C+, but not T1 + FS
        return before in _KINDS and (word != "+" or not after or after in AGENT_WORDS)
    return word in _NONE | _GIVEN | (AGENT_WORDS - {"with", "agent"})


def _left_out(words: list[str], kinds: set[str]) -> str:
    if reason := _of_dixon(words):
        return reason
    cores = [re.sub(r"(?<=.)[23]d$", "", word) for word in words]
    found = [word for word in (*cores, *words) if word in _REASONS]
    # A gradient echo is no T2*, unless it is called T2; T1 is measured with gradient echoes too.
    found = [word for word in found if word != "gre" or kinds == {"T2"}]
    if kinds == {"T2"} and not {"ffe", "fl2d", "flash"}.isdisjoint(words):
        return _REASONS["gre"]
    found.sort(key=_WEAK.__contains__)
    return _REASONS[found[0]] if found else ""


def _of_dixon(words: list[str]) -> str:
    """What an image of the Dixon method is, unless water or in phase; "" for other images."""
    ours = {*words}
    if "opp" in ours or (_DIXON & ours and {"op", "out"} & ours):
        return "opposed phase of Dixon"
    return "fat image of Dixon" if _DIXON & ours and {"f", "fat"} & ours else ""
