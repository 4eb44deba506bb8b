"""Evidence for the channel of a series from the values of its header."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from volseg.conversion.dicom.header import Values, flat
from volseg.conversion.series import Facts

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# Enhanced files name pulse sequences otherwise than classic files.
_PULSES = {"SPIN": ("SE",), "GRADIENT": ("GR",), "BOTH": ("SE", "GR")}


def facts_of(values: Values, b_value: float | None = None) -> Facts:
    """Facts of a frame, classic or enhanced."""
    burned = values.text("BurnedInAnnotation")
    return Facts(
        modality=values.text("Modality"),
        number=values.whole("SeriesNumber"),
        description=values.text("SeriesDescription"),
        protocol=values.text("ProtocolName"),
        scanning_sequence=_pulses(values),
        variant=_upper(values, "SequenceVariant"),
        options=_upper(values, "ScanOptions"),
        acquisition_contrast=values.text("AcquisitionContrast"),
        image_type=_upper(values, "FrameType") or _upper(values, "ImageType"),
        echo_ms=_first(values, "EffectiveEchoTime", "EchoTime"),
        repetition_ms=values.number("RepetitionTime"),
        inversion_ms=_positive(_first(values, "InversionTimes", "InversionTime")),
        b_value=b_value,
        contrast_agent=_agent(values),
        kernel=values.text("ConvolutionKernel"),
        body_part=values.text("BodyPartExamined"),
        acquired_on=values.date("AcquisitionDate", "AcquisitionDateTime", "SeriesDate"),
        acquired=values.time("AcquisitionTime"),
        burned_in=None if burned is None else burned == "YES",
    )


def _upper(values: Values, keyword: str) -> tuple[str, ...]:
    return tuple(text.upper() for text in values.texts(keyword) if text)


def _first(values: Values, *keywords: str) -> float | None:
    found = (values.number(keyword) for keyword in keywords)
    return next((number for number in found if number is not None), None)


def _positive(number: float | None) -> float | None:
    """None for the 0 that scanners write where there is no inversion."""
    return number or None


def _pulses(values: Values) -> tuple[str, ...]:
    classic = _upper(values, "ScanningSequence")
    if classic:
        return classic
    pulses = _PULSES.get(values.text("EchoPulseSequence") or "", ())
    planar = ("EP",) if values.text("EchoPlanarPulseSequence") == "YES" else ()
    inverted = ("IR",) if values.text("InversionRecovery") == "YES" else ()
    return (*pulses, *planar, *inverted)


def _agent(values: Values) -> str | None:
    """Name of the contrast agent; None if the header states that this frame has none."""
    if values.text("ContrastBolusAgentAdministered") == "NO":
        return None
    named = values.text("ContrastBolusAgent")
    if named:
        return named
    sequence = values.get("ContrastBolusAgentSequence")
    return Values(flat(sequence[0])).text("CodeMeaning") if sequence else None


def b_value_of(ds: Dataset, values: Values) -> float | None:
    """Diffusion weighting in s/mm2, from the standard or from private elements."""
    standard = values.number("DiffusionBValue")
    if standard is not None:
        return standard
    for tag, group in ((0x0019100C, 1), (0x20011003, 1), (0x00431039, 10**9)):
        number = _private_number(ds, tag)
        if number is not None:
            return number % group if group > 1 else number  # GE adds a flag of 10^9
    return None


def _private_number(ds: Dataset, tag: int) -> float | None:
    import struct

    element: Any = ds.get(tag)
    if element is None:
        return None
    value = element.value
    if isinstance(value, bytes) and tag == 0x20011003 and len(value) == 4:
        return float(struct.unpack("<f", value)[0])
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace").split("\\")[0].strip("\0 ")
    return Values({"value": value}).number("value")
