"""Sections `loss`, `training` and `inference`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from volseg.config.marks import Contradicts, Idle, Inference, Resume, SetByJob
from volseg.config.section import (
    Float,
    NonNegative,
    NonNegativeInt,
    Positive,
    PositiveInt,
    Probability,
    Section,
    Share,
)
from volseg.words import shown


class LossConfig(Section):
    """Weights of the terms of the loss; each term is a mean over regions, on sigmoid outputs."""

    dice: NonNegative = Field(1.0, description="weight of the Dice loss")
    bce: NonNegative = Field(1.0, description="weight of the binary cross-entropy")
    focal: NonNegative = Field(0.0, description="weight of the focal loss")
    focal_gamma: Annotated[
        NonNegative,
        Idle(
            lambda config: not config.loss.focal,
            "is an option of the focal loss, whose weight is 0",
        ),
    ] = Field(2.0, description="exponent of the focal loss; larger: easy voxels count less")
    batch_dice: bool = Field(
        True, description="one Dice over the whole batch instead of one for each patch"
    )

    @model_validator(mode="after")
    def _some_term(self) -> LossConfig:
        if not (self.dice or self.bce or self.focal):
            raise ValueError("dice, bce and focal are all 0; give one a weight")
        return self


def _seconds(text: object) -> object:
    """Seconds of a text `MM:SS`, `HH:MM:SS` or `D-HH:MM:SS`; a number is already in seconds.

    YAML reads an unquoted 12:00:00 as the same number of seconds.
    """
    if not isinstance(text, str):
        return text
    found = re.fullmatch(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+)", text.strip())
    if found is None:
        raise ValueError(f"a time is HH:MM:SS or D-HH:MM:SS, got {shown(text)}")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _devices(value: object) -> object:
    if value == "auto" or (type(value) is int and value > 0):
        return value
    raise ValueError(f"give 'auto' or a whole number above 0, got {shown(value)}")


def _word(value: object) -> object:
    # YAML reads an unquoted 32 as a number.
    return "32" if type(value) is int and value == 32 else value


class TrainingConfig(Section):
    """Duration, optimizer, precision and devices of a training."""

    max_epochs: Annotated[PositiveInt, Resume.LIMIT] = Field(
        300, description="epochs of data.batches_per_epoch steps"
    )
    max_time: Annotated[Annotated[PositiveInt, BeforeValidator(_seconds)] | None, Resume.LIMIT] = (
        Field(
            None,
            description="time limit as HH:MM:SS or D-HH:MM:SS; training ends before it",
        )
    )
    optimizer: Literal["adamw", "adam", "sgd"] = Field("adamw", description="optimizer of PyTorch")
    learning_rate: Positive = Field(1e-3, description="learning rate after the warm-up")
    weight_decay: NonNegative = Field(1e-4, description="weight decay of the optimizer")
    momentum: Annotated[
        Probability,
        Idle(
            lambda config: config.training.optimizer != "sgd",
            "is for sgd, and training.optimizer is {training.optimizer}",
        ),
    ] = Field(0.99, description="momentum of sgd, with Nesterov's method")
    schedule: Literal["poly", "cosine", "constant"] = Field(
        "cosine", description="decay of the learning rate to 0 over max_epochs; constant: no decay"
    )
    warmup_epochs: Annotated[
        NonNegative,
        Idle(
            lambda config: config.training.warmup_epochs >= config.training.max_epochs,
            "covers the whole training of {training.max_epochs} epochs, so the learning rate "
            "only rises",
        ),
    ] = Field(0.0, description="epochs in which the learning rate rises linearly from near 0")
    gradient_clip: NonNegative = Field(
        12.0, description="largest norm of the gradient; 0: no clipping"
    )
    precision: Annotated[
        Literal["32", "16-mixed", "bf16-mixed", "auto"], BeforeValidator(_word)
    ] = Field(
        "auto",
        description="auto: bf16-mixed on a GPU that supports it, 16-mixed on other GPUs, 32 on CPU",
    )
    ema: Share = Field(
        0.0, description="decay per step of the moving average of the weights; 0: no average"
    )
    early_stopping: Annotated[
        PositiveInt | None,
        Resume.LIMIT,
        Contradicts(
            lambda config: config.data.fold is None,
            "data.fold is null, so there is no validation",
            "set a fold, or training.early_stopping=null",
        ),
    ] = Field(None, description="stop after this many validations without a better mean Dice")
    validate_every: Annotated[
        PositiveInt,
        Resume.LIMIT,
        Idle(
            lambda config: config.training.validate_every > config.training.max_epochs,
            "is more than {training.max_epochs} epochs, so only the last epoch is validated",
        ),
        Idle(lambda config: config.data.fold is None, "has no effect, as data.fold is null"),
    ] = Field(1, description="epochs between validations")
    accelerator: Annotated[Literal["auto", "cpu", "gpu", "mps"], Resume.FREE] = Field(
        "auto", description="auto: a GPU if there is one, else the CPU"
    )
    devices: Annotated[
        PositiveInt | Literal["auto"],
        BeforeValidator(_devices),
        Resume.FREE,
        SetByJob("processes"),
    ] = Field(
        "auto",
        description="processes on each node, one device each; auto: every GPU, or one CPU",
    )
    nodes: Annotated[PositiveInt, Resume.FREE, SetByJob("nodes")] = Field(
        1, description="machines that train together"
    )
    seed: NonNegativeInt = Field(0, description="seed of weights, patches and augmentation")


#: Largest overlap of neighbouring windows; with it, 1000 windows cover a voxel of a volume.
MOST_OVERLAP = 0.9


def checked_overlap(overlap: float) -> float:
    """The overlap of windows if it is in the allowed range; else ValueError."""
    if not 0 <= overlap <= MOST_OVERLAP:
        why = ""
        if MOST_OVERLAP < overlap < 1:
            windows = f"{(1 - overlap) ** -3:,.0f} windows"
            why = f", since a voxel of a volume would lie in {windows}, and in 8 at 0.5"
        raise ValueError(
            f"overlap is {overlap}; it must be at least 0 and at most {MOST_OVERLAP}{why}"
        )
    return overlap


DEFAULT_THRESHOLD = 0.5
Threshold = Annotated[Float, Field(gt=0, lt=1)]
DEFAULT_TEMPERATURE = 1.0
#: Temperatures outside this range make all probabilities 0.5, or 0 and 1.
TEMPERATURES = (0.1, 10.0)
Temperature = Annotated[Float, Field(ge=TEMPERATURES[0], le=TEMPERATURES[1])]


def _number_or_by_region(number: Any) -> WrapValidator:
    """Validator of a number, or of a mapping of regions to numbers."""
    one: TypeAdapter[Any] = TypeAdapter(number)
    by_region: TypeAdapter[Any] = TypeAdapter(Mapping[str, number])

    def validate(value: Any, _: ValidatorFunctionWrapHandler) -> object:
        # The errors of a union would name both forms.
        return (by_region if isinstance(value, Mapping) else one).validate_python(value)

    return WrapValidator(validate)


class InferenceConfig(Section):
    """Sliding window and postprocessing; `volseg infer` can override each option."""

    window_size: tuple[PositiveInt, ...] | None = Field(
        None, min_length=2, max_length=3, description="voxels; null: the patch size"
    )
    overlap: Annotated[Float, AfterValidator(checked_overlap)] = Field(
        0.5, description=f"share of a window that its neighbour covers, at most {MOST_OVERLAP}"
    )
    blending: Literal["gaussian", "constant"] = Field(
        "gaussian", description="weights of overlapping windows: more at the centre, or all equal"
    )
    window_batch: Annotated[PositiveInt, Resume.FREE] = Field(
        1, description="windows in each forward pass"
    )
    precision: Annotated[Literal["auto", "32", "bf16"], BeforeValidator(_word)] = Field(
        "auto",
        description="auto: as in training; bf16: faster on a CPU that supports it, 32 on any other "
        "CPU",
    )
    tta: bool = Field(False, description="average over mirrored copies of the scan")
    threshold: Annotated[
        Threshold | Mapping[str, Threshold],
        _number_or_by_region(Threshold),
        Inference.OF_FIRST_MODEL,
        Inference.NAMES_REGIONS,
    ] = Field(
        DEFAULT_THRESHOLD,
        description="smallest probability of a voxel in a region: a number, or a number by region "
        f"({DEFAULT_THRESHOLD} for regions without an entry)",
    )
    temperature: Annotated[
        Temperature | Mapping[str, Temperature],
        _number_or_by_region(Temperature),
        Inference.OF_FIRST_MODEL,
        Inference.NAMES_REGIONS,
    ] = Field(
        DEFAULT_TEMPERATURE,
        description="number that divides the logits of the written probabilities, for a better "
        "calibration: a number, or a number by region "
        f"({DEFAULT_TEMPERATURE:g} for regions without an entry). Label maps stay the same, since "
        "`threshold` is of the probabilities before; `volseg tune` fits it",
    )
    min_component_mm3: Annotated[
        Mapping[str, NonNegative], Inference.OF_FIRST_MODEL, Inference.NAMES_REGIONS
    ] = Field(
        default_factory=dict,
        description="smallest component to keep, by region; smaller components are removed",
    )
    largest_component: Annotated[
        tuple[str, ...], Inference.OF_FIRST_MODEL, Inference.NAMES_REGIONS
    ] = Field((), description="regions of which only the largest component is kept")
    min_region_mm3: Annotated[
        Mapping[str, NonNegative], Inference.OF_FIRST_MODEL, Inference.NAMES_REGIONS
    ] = Field(
        default_factory=dict,
        description="smallest total volume of a region in a case, by region; the voxels of a "
        "smaller region take the label of the region around it",
    )

    def threshold_of(self, region: str) -> float:
        """Smallest probability of a voxel in a region."""
        if isinstance(self.threshold, Mapping):
            return self.threshold.get(region, DEFAULT_THRESHOLD)
        return self.threshold

    def temperature_of(self, region: str) -> float:
        """Number that divides the logits of the written probabilities of a region."""
        if isinstance(self.temperature, Mapping):
            return self.temperature.get(region, DEFAULT_TEMPERATURE)
        return self.temperature
