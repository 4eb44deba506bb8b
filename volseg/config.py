"""Every option of an experiment: name, type, default, unit and meaning.

A config is strict YAML read into `ExperimentConfig`; `key=value` words override it. All mistakes
are reported at once. Nothing here imports torch, so a config is checked in a blink.
"""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from volseg.errors import ConfigError
from volseg.labels import LABEL_SCHEMES, LabelScheme, get_scheme

CHANNELS = ("t1n", "t1c", "t2w", "t2f")

Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
PositiveInt = Annotated[int, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]


class Section(BaseModel):
    """A part of a config: frozen, and strict about unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataConfig(Section):
    """Which cases, which channels, and how they are cut."""

    data_list: Path = Field(description="JSON data list, relative to the current folder")
    data_root: Path | None = Field(None, description="folder of the images; default: as listed")
    fold: Annotated[int, Field(ge=0)] | None = Field(
        0, description="fold to validate on; null trains on every case"
    )
    channels: tuple[str, ...] = Field(CHANNELS, min_length=1, description="inputs, in this order")
    spacing_mm: tuple[Positive, ...] = Field(
        (1.0, 1.0, 1.0),
        min_length=3,
        max_length=3,
        description="spacing the network works at, in mm",
    )
    patch_size: tuple[PositiveInt, ...] = Field(
        (128, 128, 128), min_length=2, max_length=3, description="voxels of a training patch"
    )
    batch_size: PositiveInt = Field(2, description="patches a step and process")
    batches_per_epoch: PositiveInt = Field(250, description="steps an epoch")
    foreground_share: Probability = Field(
        0.5, description="share of patches centred on a voxel of a region drawn at random"
    )
    workers: Annotated[int, Field(ge=0)] | None = Field(
        None, description="loader processes; null: one less than the cores, 8 at most"
    )
    cache_dir: str | None = Field(
        None,
        description="folder of decoded cases; environment variables are expanded; "
        "null: 'cache' beside the run folder",
    )

    @model_validator(mode="after")
    def _channels_differ(self) -> DataConfig:
        if len(set(self.channels)) != len(self.channels):
            raise ValueError(f"channels {list(self.channels)} repeat; name each once")
        return self


class AugmentationConfig(Section):
    """Random changes of a training patch: the probability of each, and how strong it may be."""

    flip: Probability = Field(0.5, description="of each axis")
    rotate: Probability = Field(0.2, description="of a rotation about every axis")
    rotate_degrees: NonNegative = Field(20.0, description="largest angle")
    scale: Probability = Field(0.2, description="of a change of size")
    scale_range: tuple[Positive, Positive] = Field((0.8, 1.25), description="smallest, largest")
    intensity_scale: Probability = Field(0.3, description="of a factor for each channel")
    intensity_shift: Probability = Field(0.3, description="of an offset for each channel")
    intensity_range: NonNegative = Field(0.15, description="largest change, in standard deviations")
    noise: Probability = Field(0.1, description="of Gaussian noise")
    noise_std: NonNegative = Field(0.1, description="largest standard deviation of the noise")
    blur: Probability = Field(0.1, description="of Gaussian blur")
    blur_sigma: tuple[Positive, Positive] = Field((0.5, 1.0), description="range, in voxels")
    contrast: Probability = Field(0.15, description="of a stretch about the mean")
    contrast_range: tuple[Positive, Positive] = Field((0.75, 1.25), description="range of factors")
    low_resolution: Probability = Field(0.1, description="of down- and upsampling")
    low_resolution_range: tuple[Positive, Positive] = Field((0.5, 1.0), description="range of zoom")
    gamma: Probability = Field(0.15, description="of a gamma curve")
    gamma_range: tuple[Positive, Positive] = Field((0.7, 1.5), description="range of exponents")
    channel_dropout: Probability = Field(
        0.0, description="of each channel being replaced by zeros; one always stays"
    )


class NetworkSection(Section):
    """Options that every network has. `divisor`: patch sizes must be its multiples."""

    name: str
    deep_supervision: bool = Field(False, description="losses at coarser levels as well")

    @property
    def divisor(self) -> int:
        """Sides of a patch must be multiples of this number."""
        raise NotImplementedError


class _Levels(NetworkSection):
    widths: tuple[PositiveInt, ...] = Field(
        (32, 64, 128, 256, 320), min_length=2, description="features of each level, finest first"
    )
    dropout: Probability = 0.0

    @property
    def divisor(self) -> int:
        return 2 ** (len(self.widths) - 1)


class UNetConfig(_Levels):
    """Residual U-Net of MONAI."""

    name: Literal["unet"] = "unet"
    deep_supervision: Literal[False] = False
    residual_units: Annotated[int, Field(ge=0)] = Field(2, description="convolutions a level")


class DynUNetConfig(_Levels):
    """U-Net as nnU-Net builds it, with deep supervision."""

    name: Literal["dynunet"] = "dynunet"
    deep_supervision: bool = True
    widths: tuple[PositiveInt, ...] = Field((32, 64, 128, 256, 320, 320), min_length=3)
    residual: bool = Field(False, description="residual blocks")


class SegResNetConfig(NetworkSection):
    """Residual encoder and light decoder; winner of BraTS 2018."""

    name: Literal["segresnet"] = "segresnet"
    width: PositiveInt = Field(16, description="features of the finest level; a multiple of 8")
    blocks_down: tuple[PositiveInt, ...] = Field((1, 2, 2, 4), min_length=2)
    blocks_up: tuple[PositiveInt, ...] = Field((1, 1, 1), min_length=1)
    dropout: Probability = 0.0
    deep_supervision: Literal[False] = False

    @model_validator(mode="after")
    def _levels_match(self) -> SegResNetConfig:
        if len(self.blocks_up) != len(self.blocks_down) - 1:
            raise ValueError(
                f"blocks_up needs {len(self.blocks_down) - 1} numbers, one less than blocks_down, "
                f"got {len(self.blocks_up)}"
            )
        if self.width % 8:
            raise ValueError(f"width must be a multiple of 8, got {self.width}")
        return self

    @property
    def divisor(self) -> int:
        return 2 ** (len(self.blocks_down) - 1)


class AttentionUNetConfig(_Levels):
    """U-Net with attention gates on its skip connections."""

    name: Literal["attention_unet"] = "attention_unet"
    deep_supervision: Literal[False] = False


class SwinUNETRConfig(NetworkSection):
    """Swin transformer encoder, convolutional decoder."""

    name: Literal["swin_unetr"] = "swin_unetr"
    width: PositiveInt = Field(48, description="features of the first level; a multiple of 12")
    depths: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (2, 2, 2, 2)
    dropout: Probability = 0.0
    checkpointing: bool = Field(False, description="less memory, more time")
    deep_supervision: Literal[False] = False

    @model_validator(mode="after")
    def _width(self) -> SwinUNETRConfig:
        if self.width % 12:
            raise ValueError(f"width must be a multiple of 12, got {self.width}")
        return self

    @property
    def divisor(self) -> int:
        return 32


NetworkConfig = Annotated[
    UNetConfig | DynUNetConfig | SegResNetConfig | AttentionUNetConfig | SwinUNETRConfig,
    Field(discriminator="name"),
]

_NETWORK_SECTIONS: Mapping[str, type[NetworkSection]] = {
    section.model_fields["name"].default: section
    for section in get_args(get_args(NetworkConfig)[0])
}


class LossConfig(Section):
    """Weights of the terms of the loss; each is a mean over regions, on sigmoid outputs."""

    dice: NonNegative = 1.0
    bce: NonNegative = 1.0
    focal: NonNegative = 0.0
    focal_gamma: NonNegative = 2.0
    batch_dice: bool = Field(True, description="one Dice over the batch instead of one a patch")

    @model_validator(mode="after")
    def _some_term(self) -> LossConfig:
        if not (self.dice or self.bce or self.focal):
            raise ValueError("dice, bce and focal are all 0; give one a weight")
        return self


def _seconds(text: object) -> object:
    """`MM:SS`, `HH:MM:SS` or `D-HH:MM:SS`, as SLURM writes time, or seconds, as seconds.

    YAML itself reads an unquoted 12:00:00 as the number of seconds, and this agrees with it.
    """
    if not isinstance(text, str):
        return text
    found = re.fullmatch(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+)", text.strip())
    if found is None:
        raise ValueError(f"a time is HH:MM:SS or D-HH:MM:SS, got {text!r}")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _devices(value: object) -> object:
    if value == "auto" or (isinstance(value, int) and value > 0):
        return value
    raise ValueError(f"give 'auto' or a whole number above 0, got {value!r}")


class TrainingConfig(Section):
    """How long, how fast, on what."""

    max_epochs: PositiveInt = 300
    max_time: Annotated[PositiveInt, BeforeValidator(_seconds)] | None = Field(
        None, description="HH:MM:SS or D-HH:MM:SS; the run ends in good order before it"
    )
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Positive = 1e-3
    weight_decay: NonNegative = 1e-4
    momentum: Probability = Field(0.99, description="of sgd, with Nesterov's method")
    schedule: Literal["poly", "cosine", "constant"] = "cosine"
    warmup_epochs: NonNegative = Field(0.0, description="linear increase from near 0, in epochs")
    gradient_clip: NonNegative = Field(12.0, description="largest norm of the gradient; 0: none")
    precision: Literal["32", "16-mixed", "bf16-mixed", "auto"] = Field(
        "auto", description="auto: bf16-mixed where the GPU has it, 16-mixed on others, 32 on CPU"
    )
    ema: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="decay a step of the moving average of the weights; 0: none"
    )
    early_stopping: PositiveInt | None = Field(
        None, description="stop after this many validations without a better mean Dice"
    )
    validate_every: PositiveInt = Field(1, description="epochs between validations")
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    devices: Annotated[PositiveInt | Literal["auto"], BeforeValidator(_devices)] = "auto"
    nodes: PositiveInt = 1
    seed: Annotated[int, Field(ge=0)] = 0


class InferenceConfig(Section):
    """Sliding window and clean-up; `volseg infer` can override each."""

    window_size: tuple[PositiveInt, ...] | None = Field(
        None, min_length=2, max_length=3, description="voxels; null: the patch size"
    )
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5
    blending: Literal["gaussian", "constant"] = "gaussian"
    window_batch: PositiveInt = Field(1, description="windows a forward pass")
    tta: bool = Field(False, description="mean over mirrored copies")
    threshold: Annotated[float, Field(gt=0, lt=1)] = Field(0.5, description="of a probability")
    min_component_mm3: Mapping[str, NonNegative] = Field(
        default_factory=dict, description="smaller components of a region are removed"
    )


def _scheme(value: object) -> LabelScheme:
    """A label scheme by name, or written out as `{name, labels, regions}`."""
    try:
        if isinstance(value, str):
            return get_scheme(value)
        if isinstance(value, Mapping):
            return _custom_scheme(value)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    if isinstance(value, LabelScheme):
        return value
    raise ValueError(f"give the name of a label scheme, or write one out, got {value!r}")


def _custom_scheme(value: Mapping[str, Any]) -> LabelScheme:
    if not {"labels", "regions"} <= set(value) <= {"name", "labels", "regions"}:
        raise ConfigError("a custom label scheme has labels, regions and, if liked, name")
    try:
        labels = {int(k): str(v) for k, v in value["labels"].items()}
        regions = {str(k): tuple(int(x) for x in v) for k, v in value["regions"].items()}
    except (TypeError, ValueError, AttributeError):
        raise ConfigError(
            "labels maps integers to names, regions maps names to lists of integers"
        ) from None
    return LabelScheme(str(value.get("name", "custom")), labels, regions)


class ExperimentConfig(Section):
    """Everything that `volseg fit` needs to know."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    labels: Annotated[LabelScheme, BeforeValidator(_scheme)] = Field(
        description="label scheme: a name, or labels and regions written out"
    )
    data: DataConfig
    augmentation: AugmentationConfig = AugmentationConfig()
    network: NetworkConfig = UNetConfig()
    loss: LossConfig = LossConfig()
    training: TrainingConfig = TrainingConfig()
    inference: InferenceConfig = InferenceConfig()

    @property
    def spatial_dims(self) -> int:
        """2 for a network of slices, 3 for one of volumes."""
        return len(self.data.patch_size)

    @property
    def window_size(self) -> tuple[int, ...]:
        """Window of inference in voxels, the patch size unless set."""
        return self.inference.window_size or self.data.patch_size

    @model_validator(mode="after")
    def _consistent(self) -> ExperimentConfig:
        problems = [_misfit("data.patch_size", self.data.patch_size, self.network)]
        window = self.inference.window_size
        if window and len(window) != self.spatial_dims:
            problems.append(
                f"inference.window_size has {len(window)} sides and data.patch_size "
                f"{self.spatial_dims}; give both the same"
            )
        elif window:
            problems.append(_misfit("inference.window_size", window, self.network))
        unknown = set(self.inference.min_component_mm3) - set(self.labels.regions)
        if unknown:
            problems.append(
                f"inference.min_component_mm3 names {sorted(unknown)}, but the regions of "
                f"{self.labels.name} are {list(self.labels.regions)}"
            )
        if any(problems):
            raise ValueError("\n".join(filter(None, problems)))
        return self

    def to_dict(self) -> dict[str, Any]:
        """Plain data for YAML or JSON; `ExperimentConfig.from_dict` reads it back."""
        plain = self.model_dump(mode="json", exclude={"labels"})
        return {"labels": _written(self.labels), **plain}

    @classmethod
    def from_dict(cls, options: Mapping[str, Any], where: str = "config") -> ExperimentConfig:
        """Validated config; ConfigError lists every mistake, with `where` as its heading."""
        try:
            return cls.model_validate(options)
        except ValidationError as error:
            lines = [line for detail in error.errors() for line in _explain(detail, cls)]
            raise ConfigError("\n  ".join([f"{where} is not a valid config:", *lines])) from None


def _written(scheme: LabelScheme) -> object:
    """What `_scheme` reads back: the name of a shipped scheme, a mapping for others."""
    if LABEL_SCHEMES.get(scheme.name) == scheme:
        return scheme.name
    return {
        "name": scheme.name,
        "labels": dict(scheme.labels),
        "regions": {region: list(values) for region, values in scheme.regions.items()},
    }


def load_config(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Read a YAML config and apply `key=value` overrides such as `training.max_epochs=5`.

    Raises:
        ConfigError: If the file cannot be read or parsed, or any option is wrong; all at once.
    """
    options = _read_yaml(Path(path))
    for word in overrides:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise ConfigError(f"override {word!r} is not of the form section.key=value")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise ConfigError(f"override {word!r}: {text!r} is not a YAML value") from None
        _set(options, key.split("."), value, word)
    return ExperimentConfig.from_dict(options, where=str(path))


def write_config(path: Path, config: ExperimentConfig) -> None:
    """Write every option, defaults included, as YAML."""
    path.write_text(yaml.safe_dump(config.to_dict(), sort_keys=False), encoding="utf-8")


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        options = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); check the path") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        detail = " ".join(str(error).split())
        raise ConfigError(f"{path} is not YAML: {detail}; correct that line") from None
    if not isinstance(options, dict):
        raise ConfigError(f"{path} holds no options; see configs/ for examples")
    return options


def _set(options: dict[str, Any], keys: list[str], value: object, word: str) -> None:
    for key in keys[:-1]:
        inner = options.setdefault(key, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"override {word!r}: {key} is not a section")
        options = inner
    options[keys[-1]] = value


def _misfit(name: str, sizes: tuple[int, ...], network: NetworkSection) -> str | None:
    divisor = network.divisor
    nearest = [max(divisor, math.floor(size / divisor + 0.5) * divisor) for size in sizes]
    # A single voxel at the coarsest level has no spread, so normalisation layers refuse it.
    if max(nearest) == divisor:
        nearest = [2 * divisor] * len(sizes)
    if any(size % divisor for size in sizes):
        found = f"is not a multiple of {divisor}, which {network.name} with these options needs"
    elif max(sizes) == divisor:
        found = f"leaves a single voxel at the coarsest level of {network.name}"
    else:
        return None
    return f"{name}: {list(sizes)} {found}; the nearest is {nearest}"


def _explain(detail: ErrorDetails, root: type[BaseModel]) -> list[str]:
    """One mistake found by pydantic, as lines `place: what was found`."""
    keys = [str(key) for key in detail["loc"]]
    network = None
    if keys[:1] == ["network"] and len(keys) > 1:
        network = keys.pop(1)  # pydantic names the member of the union there
    place = ".".join(keys)
    found = detail["input"]
    match detail["type"]:
        case "extra_forbidden":
            text = f"unknown key; {_hint(keys[-1], _keys_beside(root, keys, network))}"
        case "missing":
            text = "missing; add it"
        case "union_tag_not_found":
            text = f"name is missing; use one of {', '.join(_NETWORK_SECTIONS)}"
        case "union_tag_invalid":
            name = detail["ctx"]["tag"]
            text = f"unknown network {name!r}; {_hint(name, _NETWORK_SECTIONS)}"
        case "model_type" | "model_attributes_type":
            text = f"a section holds lines of `option: value`, got {found!r}"
        case "path_type":
            text = f"give a path, got {found!r}"
        case "value_error":
            text = detail["msg"].removeprefix("Value error, ")
        case _:
            text = detail["msg"].replace("tuple", "list").replace("Tuple", "List")
            text = text[0].lower() + text[1:]
            text += "" if isinstance(found, Mapping | list | tuple) else f", got {found!r}"
    return [f"{place}: {line}" if place else line for line in text.splitlines()]


def _hint(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"


def _keys_beside(root: type[BaseModel], keys: Sequence[str], network: str | None) -> list[str]:
    """Names of the options in the section of the unknown key that `keys` ends with."""
    model: Any = root
    for key in keys[:-1]:
        model = _NETWORK_SECTIONS[network] if network else model.model_fields[key].annotation
    return list(model.model_fields)
