"""Contrast of a series by its sequence: echo, repetition and inversion time, and its variants."""

from __future__ import annotations

from collections.abc import Mapping

from volseg.conversion.series import Facts

# Acquisition Contrast of enhanced MR (DICOM C.8.13.1).
_STATED: Mapping[str, str] = {
    "T1": "T1",
    "T2": "T2",
    "FLUID_ATTENUATED": "FLAIR",
    "PROTON_DENSITY": "PD",
    "T2_STAR": "susceptibility or T2*",
    "STIR": "short inversion time (STIR)",
    "DIFFUSION": "diffusion",
    "PERFUSION": "perfusion",
    "TIME_OF_FLIGHT": "angiography",
    "FLOW_ENCODED": "angiography",
    "TAGGING": "another contrast",
}
#: Contrasts that are channels; any other result of `kind_by_signal` is the reason to leave it out.
KINDS = ("T1", "T2", "FLAIR")

# Limits in ms, wide enough for 1 to 7 tesla, and between the values that scanners use.
_SHORT_ECHO, _LONG_ECHO = 40, 60
_GRADIENT_SHORT_ECHO, _GRADIENT_LONG_ECHO = 8, 12
_SHORT_REPETITION, _LONG_REPETITION = 1500, 1800
_FAT_INVERSION, _FLUID_INVERSION = 350, 1400


def kind_by_signal(facts: Facts) -> str:
    """`T1`, `T2`, `FLAIR`, `PD`, another contrast in words, or "" if the parameters do not say.

    Fluid is dark after a long inversion time, fat after a short one; T1 needs a short echo time, T2
    a long one. [1]

    >>> kind_by_signal(Facts(echo_ms=100, repetition_ms=9000, inversion_ms=2500))
    'FLAIR'
    >>> kind_by_signal(Facts(scanning_sequence=("GR", "IR"), echo_ms=2.5, inversion_ms=900))
    'T1'

    References:
        [1] Bernstein, King and Zhou, "Handbook of MRI Pulse Sequences", 2004, chapters 14 to 16.
    """
    if facts.b_value:
        return "diffusion"
    if stated := _STATED.get(facts.acquisition_contrast or ""):
        return stated
    if "EP" in facts.scanning_sequence:
        return "echo-planar imaging"
    if facts.echo_ms is None:
        return ""
    if "GR" in facts.scanning_sequence and "SE" not in facts.scanning_sequence:
        return _of_gradient_echo(facts, facts.echo_ms)
    return _of_spin_echo(facts, facts.echo_ms)


def in_words(facts: Facts) -> str:
    """The parameters that `kind_by_signal` reads, for the evidence; "" if there are none.

    >>> in_words(Facts(scanning_sequence=("GR", "IR"), echo_ms=2.52, inversion_ms=900))
    'GR/IR, TE 2.52, TI 900 ms'
    """
    times = {"TE": facts.echo_ms, "TR": facts.repetition_ms, "TI": facts.inversion_ms}
    known = ", ".join(f"{name} {value:g}" for name, value in times.items() if value is not None)
    kinds = "/".join(one for one in facts.scanning_sequence if one.isalnum() and len(one) <= 3)
    return ", ".join(filter(None, (kinds, f"{known} ms" if known else "")))


def lacks_inversion(facts: Facts) -> bool:
    """Whether the parameters are known and show no inversion, which a FLAIR needs."""
    known = facts.echo_ms is not None and facts.repetition_ms is not None
    inverts = facts.inversion_ms or "IR" in facts.scanning_sequence
    return known and not inverts and facts.acquisition_contrast is None


def _of_gradient_echo(facts: Facts, echo_ms: float) -> str:
    if echo_ms >= _GRADIENT_LONG_ECHO:
        return "susceptibility or T2*"
    # A steady state that is not spoiled mixes T1 and T2, unless an inversion prepares it.
    mixed = "SS" in facts.variant and not {"SP", "MP"} & {*facts.variant} and not facts.inversion_ms
    return "T1" if echo_ms <= _GRADIENT_SHORT_ECHO and not mixed else ""


def _of_spin_echo(facts: Facts, echo_ms: float) -> str:
    if facts.inversion_ms:
        return _of_inversion(facts.inversion_ms, echo_ms)
    repetition_ms = facts.repetition_ms
    if echo_ms >= _LONG_ECHO:
        return "T2" if repetition_ms is None or repetition_ms >= _SHORT_REPETITION else ""
    if echo_ms > _SHORT_ECHO or repetition_ms is None:
        return ""
    if repetition_ms <= _SHORT_REPETITION:
        return "T1"
    return "PD" if repetition_ms >= _LONG_REPETITION else ""


def _of_inversion(inversion_ms: float, echo_ms: float) -> str:
    if inversion_ms <= _FAT_INVERSION:
        return "short inversion time (STIR)"
    if inversion_ms >= _FLUID_INVERSION:
        return "FLAIR" if echo_ms >= _LONG_ECHO else ""
    return "T1" if echo_ms <= _SHORT_ECHO else ""
