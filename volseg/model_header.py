"""The header of a model file, read without torch, and its checks."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError, safe_open

import volseg
from volseg.config import ExperimentConfig
from volseg.errors import ConfigError, ModelError
from volseg.files.documents import check_regular, open_regular, parse_json, validated
from volseg.files.writing import CONFIG_FILE, MODEL_FILE, atomic_write, resume_command
from volseg.labels import LabelScheme
from volseg.words import cut, reason, shown

FORMAT = 1
#: Key of the safetensors header that holds all entries of volseg.
KEY = "volseg"
#: A model with a lower mean Dice finds almost nothing.
LITTLE_DICE = 0.1
_GIVE_MODEL = f"give the {MODEL_FILE} of a run"

# A header of volseg has about 10 kB; safetensors allows 100 MB.
_MOST_CHARACTERS = 2**22
_OTHER_KINDS = {
    b"PK\x03\x04": "a PyTorch checkpoint or another zip archive",
    b"\x80": "a Python pickle",
    b"\x1f\x8b": "a gzip file, such as a NIfTI image",
    b"\x5c\x01\x00\x00": "a NIfTI image",
}


class _Tuning(BaseModel):
    """Entries that volseg reads of the record of `volseg tune`."""

    model_config = ConfigDict(strict=True, extra="ignore")

    score: str
    patients: int
    gain: float
    interval: list[float] = Field(min_length=2, max_length=2)
    before: dict[str, Any]
    after: dict[str, Any]


class _Calibration(BaseModel):
    """Temperature of a region, with figures of held-out patients before and after."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)

    temperature: float
    nll: list[float] = Field(min_length=2, max_length=2)
    ece: list[float] = Field(min_length=2, max_length=2)
    reason: str = ""


class _BeforeCalibration(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    temperature: float | dict[str, float]


class _Calibrations(BaseModel):
    """Entries that volseg reads of the temperatures of `volseg tune`."""

    model_config = ConfigDict(strict=True, extra="ignore")

    patients: int
    before: _BeforeCalibration
    regions: dict[str, _Calibration]


class _Schema(BaseModel):
    """Entries of every header of format 1."""

    model_config = ConfigDict(strict=True, extra="ignore")

    volseg: str
    disclaimer: str
    channels: list[str]
    labels: dict[str, Any]
    spacing_mm: list[float]
    scores: dict[str, Any]
    config: dict[str, Any]
    shared: dict[str, str]
    channels_optional: bool | None = None
    weights_sha256: str | None = None
    tuning: _Tuning | None = None
    calibration: _Calibrations | None = None
    predicted_dice: dict[str, Any] | None = None
    training_data: dict[str, Any] | None = None


@dataclass(frozen=True)
class ModelHeader:
    """A checked header of a model file.

    Attributes:
        file: The model file.
        content: `format`, `volseg` (version), `disclaimer`, `channels`, `labels` (scheme written
            out), `spacing_mm`, `scores`, `config`, `shared` (names of one tensor); `weights_sha256`
            unless an earlier volseg wrote it, `channels_optional` if cases may lack channels,
            `tuning` if `volseg tune` changed the config, `predicted_dice`, the fit of `volseg tune`
            for the predicted Dice of a case, and `training_data` (profile of the training cases)
            unless an earlier volseg wrote the file.
        config: The config.
        tensors: Shape and type of each tensor in the file; types as in safetensors, such as `F32`.
    """

    file: Path
    content: Mapping[str, Any]
    config: ExperimentConfig
    tensors: Mapping[str, tuple[tuple[int, ...], str]]


def read_model_header(path: str | os.PathLike[str]) -> ModelHeader:
    """Read and check the header of a model file, without its weights.

    Args:
        path: Model file, or the folder of the run that holds it.

    Raises:
        ModelError: If the file is missing, damaged, not a model file, newer than this volseg, or
            contradictory.
    """
    file = model_file(path)
    _refuse_other_kinds(file)
    try:
        with safe_open(file, framework="np") as opened:
            metadata = opened.metadata() or {}
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
            tensors = {
                name: (tuple(one.get_shape()), str(one.get_dtype())) for name, one in slices.items()
            }
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{file} is damaged or incomplete, with {file.stat().st_size} bytes ({reason(error)})",
            remedy="copy it again",
            path=file,
        ) from None
    content = _content(file, metadata)
    try:
        config = ExperimentConfig.from_dict(content["config"], where=f"the config in {file}")
    except ConfigError as error:
        raise ModelError(
            f"{error.problem}, so {file.name} was changed or written by another tool",
            remedy="copy the file again, or train again",
            path=file,
        ) from None
    _check_agreement(file, content, config)
    return ModelHeader(file, content, config, tensors)


def write_changed_header(header: ModelHeader, target: Path, changes: Mapping[str, Any]) -> None:
    """Write a model file with other entries in its header; its weights stay the same bytes.

    Args:
        header: Header of the model file.
        target: File to write, atomically; may be the model file itself.
        changes: Entries to replace or to add.

    Raises:
        OutputError: If the file cannot be written.
    """
    content = {**header.content, **changes}
    with open_regular(header.file) as source, atomic_write(target) as temporary:
        length = int.from_bytes(source.read(8), "little")
        entries = json.loads(source.read(length))
        entries["__metadata__"][KEY] = json.dumps(content)
        text = json.dumps(entries, separators=(",", ":")).encode()
        # safetensors aligns the weights to 8 bytes.
        text += b" " * (-len(text) % 8)
        with temporary.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            shutil.copyfileobj(source, file)


def doubts(scores: Mapping[str, Any], regions: Sequence[str]) -> tuple[str, ...]:
    """Reasons to doubt a model, by the scores of its own validation.

    >>> doubts({"dice/WT": 0.9, "dice/ET": 0.0}, ["WT", "ET"])
    ('finds almost nothing of ET: Dice 0.000 in its validation',)
    """
    dice = {region: scores.get(f"dice/{region}") for region in regions}
    known = {region: value for region, value in dice.items() if isinstance(value, int | float)}
    if not known:
        return ("was not validated, so its quality is unknown",)
    recorded = scores.get("doubts")
    sentences = [str(doubt) for doubt in recorded] if isinstance(recorded, list) else []
    showed = "showed in the validation of its training"
    found = [f"{showed}: {cut(sentence, 200)}" for sentence in sentences]
    little = {
        region: value
        for region, value in known.items()
        if value < LITTLE_DICE and not any(one.startswith(f"{region} ") for one in sentences)
    }
    if little:
        values = ", ".join(f"{value:.3f}" for value in little.values())
        found.append(
            f"finds almost nothing of {', '.join(little)}: Dice {values} in its validation"
        )
    return tuple(found)


def tuning_in_words(tuning: Mapping[str, Any]) -> str:
    """Record of `volseg tune` in a header, in words."""
    low, high = tuning["interval"]
    changed = [
        f"{name} {shown(value)} instead of {shown(tuning['before'].get(name))}"
        for name, value in tuning["after"].items()
        if value != tuning["before"].get(name)
    ]
    return (
        f"{'; '.join(changed)}; mean {cut(tuning['score'], 40)} {tuning['gain']:+.4f} "
        f"({low:+.4f} to {high:+.4f}) in {tuning['patients']} held-out patients"
    )


def describe_scheme(scheme: LabelScheme) -> dict[str, Any]:
    """A label scheme as plain data for JSON, in the form of a config."""
    return {
        "name": scheme.name,
        "labels": {str(value): name for value, name in scheme.labels.items()},
        "regions": {region: list(values) for region, values in scheme.regions.items()},
    }


def model_file(path: str | os.PathLike[str]) -> Path:
    """Model file at `path` or in the run folder `path`; ModelError if there is none."""
    file = given = Path(path)
    try:
        if file.is_dir():
            file = file / MODEL_FILE
        check_regular(file)
    except FileNotFoundError:
        if (given / CONFIG_FILE).is_file():
            raise _no_model_yet(given) from None
        raise ModelError(f"{file} does not exist", remedy=_GIVE_MODEL, path=file) from None
    except OSError as error:
        raise ModelError(
            f"{shown(str(file))} cannot be read ({reason(error)})", remedy=_GIVE_MODEL, path=file
        ) from None
    return file


def _no_model_yet(run: Path) -> ModelError:
    if folds := sorted(run.glob(f"fold*/{MODEL_FILE}")):
        return ModelError(
            f"{run} holds the runs of folds, but one run is expected",
            remedy=f"give a single run, such as {folds[0].parent}, or several, each with -m",
            path=run,
        )
    return ModelError(
        f"the run in {run} has no model yet, as it did not reach its first validation",
        remedy=f"if it was stopped, resume it with: {resume_command(run)}",
        path=run,
    )


def _refuse_other_kinds(file: Path) -> None:
    try:
        with open_regular(file) as stream:
            start = stream.read(9)
    except OSError as error:
        raise ModelError(
            f"{file} cannot be read ({reason(error)})", remedy="check it", path=file
        ) from None
    # A safetensors file begins with eight bytes (length of the header), then the JSON header.
    if start[8:] == b"{":
        return
    kinds = [kind for magic, kind in _OTHER_KINDS.items() if start.startswith(magic)]
    kind = kinds[0] if kinds else "a file of another kind" if start else "empty"
    raise ModelError(f"{file} is not a model of volseg but {kind}", remedy=_GIVE_MODEL, path=file)


def _content(file: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """Entries of volseg in the header; ModelError if they are not valid."""
    if KEY not in metadata:
        raise ModelError(
            f"{file} is a safetensors file, but not one of volseg", remedy=_GIVE_MODEL, path=file
        )
    try:
        if len(metadata[KEY]) > _MOST_CHARACTERS:
            raise ValueError(f"it has {len(metadata[KEY])} characters")
        content = parse_json(metadata[KEY])
        found = content.get("format") if isinstance(content, dict) else None
        if not isinstance(found, int) or isinstance(found, bool) or found < 1:
            raise ValueError(f"its format is {shown(found)}, expected {FORMAT}")
    except ValueError as error:
        raise _no_header(file, reason(error)) from None
    if found > FORMAT:
        author = cut(str(content.get("volseg")), 40)
        raise ModelError(
            f"{file} has format {found}, written by volseg {author}, but volseg "
            f"{volseg.__version__} reads formats up to {FORMAT}",
            remedy="update volseg",
            path=file,
        )
    try:
        return dict(validated(_Schema, content))
    except ValueError as error:
        raise _no_header(file, str(error)) from None


def _no_header(file: Path, why: str) -> ModelError:
    return ModelError(
        f"the header of {file} is not as volseg writes it ({why})",
        remedy=f"copy the file again, or {_GIVE_MODEL}",
        path=file,
    )


def _check_agreement(file: Path, content: Mapping[str, Any], config: ExperimentConfig) -> None:
    """Raise ModelError if the config contradicts other entries of the header."""
    stated: dict[str, tuple[Any, str, Any]] = {
        "labels": (_in_order(content["labels"]), "labels", describe_scheme(config.labels)),
        "channels": (content["channels"], "data.channels", list(config.data.channels)),
        "spacing_mm": (content["spacing_mm"], "data.spacing_mm", list(config.data.spacing_mm)),
    }
    # Models of earlier versions do not state it.
    if (optional := content.get("channels_optional")) is not None:
        wanted = config.data.channels_optional
        stated["channels_optional"] = (optional, "data.channel_dropout > 0", wanted)
    for name, (found, option, wanted) in stated.items():
        if found != (_in_order(wanted) if isinstance(wanted, dict) else wanted):
            raise ModelError(
                f"{file} contradicts itself: {name} is {shown(content[name])}, but config.{option} "
                f"is {shown(wanted)}",
                remedy="copy the file again, or train again",
                path=file,
            )


def _in_order(scheme: Mapping[str, Any]) -> Any:
    """A scheme with its regions as a list, since their order is that of the output channels."""
    regions = scheme.get("regions")
    return {**scheme, "regions": list(regions.items()) if isinstance(regions, dict) else regions}
