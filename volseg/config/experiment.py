"""An experiment: all sections of a config, read from YAML and overridden by `key=value` words."""

from __future__ import annotations

import copy
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from volseg.config.data import AugmentationConfig, DataConfig
from volseg.config.marks import Inference, Resume, marked
from volseg.config.mistakes import explain
from volseg.config.networks import NetworkConfig
from volseg.config.networks.section import NetworkSection
from volseg.config.networks.unet import UNetConfig
from volseg.config.preprocessing import PreprocessingConfig
from volseg.config.section import Section
from volseg.config.slurm import SlurmConfig
from volseg.config.training import InferenceConfig, LossConfig, TrainingConfig
from volseg.config.yaml_file import read_word, read_yaml
from volseg.errors import ConfigError
from volseg.labels import LABEL_SCHEMES, LabelScheme, get_scheme
from volseg.words import cut, listed, shown


def _scheme(value: object) -> LabelScheme:
    """A label scheme from its name, or from a mapping `{name, labels, regions}`."""
    try:
        if isinstance(value, str):
            return get_scheme(value)
        if isinstance(value, Mapping):
            return _custom_scheme(value)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    if isinstance(value, LabelScheme):
        return value
    raise ValueError(
        f"give the name of a label scheme, or its labels and regions, got {shown(value)}"
    )


def _custom_scheme(value: Mapping[str, Any]) -> LabelScheme:
    if not {"labels", "regions"} <= set(value) <= {"name", "labels", "regions"}:
        raise ConfigError("a custom label scheme has the keys labels, regions and optionally name")
    try:
        labels = {_integer(k): str(v) for k, v in value["labels"].items()}
        regions = {str(k): tuple(map(_integer, v)) for k, v in value["regions"].items()}
    except (TypeError, ValueError, AttributeError):
        raise ConfigError(
            "labels maps integers to names, regions maps names to lists of integers"
        ) from None
    return LabelScheme(str(value.get("name", "custom")), labels, regions)


def _integer(value: object) -> int:
    """An integer, also from a text, as keys in JSON are."""
    if type(value) is int or (isinstance(value, str) and re.fullmatch("[0-9]+", value)):
        return int(value)
    raise ValueError(f"{shown(value)} is no integer")


class ExperimentConfig(Section):
    """All options of an experiment."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    labels: Annotated[LabelScheme, BeforeValidator(_scheme)] = Field(
        description="label scheme: its name, or a mapping of labels and regions"
    )
    data: DataConfig
    augmentation: AugmentationConfig = AugmentationConfig()
    network: NetworkConfig = UNetConfig()
    loss: LossConfig = LossConfig()
    training: TrainingConfig = TrainingConfig()
    inference: InferenceConfig = InferenceConfig()
    slurm: Annotated[SlurmConfig, Resume.FREE] = SlurmConfig()

    @property
    def spatial_dims(self) -> int:
        """2 for a network of slices, 3 for a network of volumes."""
        return len(self.data.patch_size)

    @property
    def by_slice(self) -> bool:
        """Whether the network is 2D, so that each slice is segmented and scored by itself."""
        return self.spatial_dims == 2

    @property
    def preprocessing(self) -> PreprocessingConfig:
        """The options that determine how a case is preprocessed."""
        return self.data.preprocessing

    @property
    def window_size(self) -> tuple[int, ...]:
        """Window of inference in voxels; the patch size unless set."""
        return self.inference.window_size or self.data.patch_size

    @model_validator(mode="after")
    def _consistent(self) -> ExperimentConfig:
        problems = [_misfit("data.patch_size", self.data.patch_size, self.network)]
        window = self.inference.window_size
        if window and len(window) != self.spatial_dims:
            problems.append(
                f"inference.window_size has {len(window)} sides and data.patch_size "
                f"{self.spatial_dims}; give both the same number of sides"
            )
        elif window:
            problems.append(_misfit("inference.window_size", window, self.network))
        for option in marked(self, Inference):
            names_regions = option.mark is Inference.NAMES_REGIONS and not isinstance(
                option.value, float
            )
            unknown = set(option.value) - set(self.labels.regions) if names_regions else set()
            if unknown:
                problems.append(
                    f"{option.key} names {sorted(unknown)}, but the regions of "
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
        """Validated config; ConfigError lists every mistake, with `where` in the heading."""
        try:
            return cls.model_validate(options)
        except ValidationError as error:
            lines = [line for detail in error.errors() for line in explain(detail, cls)]
            raise ConfigError(listed(f"{where} is not a valid config:", lines)) from None


def _written(scheme: LabelScheme) -> object:
    """A scheme as `_scheme` reads it: the name of a shipped scheme, or a mapping."""
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
        ConfigError: If the file cannot be read or parsed, or options are wrong; it lists them all.
    """
    options = read_yaml(Path(path))
    if isinstance(options.get("training"), list):
        raise ConfigError(
            f"{path} is a data list, but a config (.yaml) is expected",
            remedy=f"name the list after a config: volseg fit CONFIG data.data_list={path}",
        )
    return overridden(options, overrides, where=str(path))


def overridden(
    options: Mapping[str, Any], overrides: Sequence[str], where: str = "config"
) -> ExperimentConfig:
    """Config of plain options with `key=value` overrides; ConfigError as `load_config`."""
    changed = copy.deepcopy(dict(options))
    for word in overrides:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise ConfigError(
                f"override {shown(word)} is not of the form section.key=value",
                remedy="write it as training.max_epochs=5",
            )
        _set(changed, key.split("."), read_word(text, word), word)
    return ExperimentConfig.from_dict(changed, where=where)


def write_config(path: Path, config: ExperimentConfig) -> None:
    """Write every option, including defaults, as YAML."""
    path.write_text(yaml.safe_dump(config.to_dict(), sort_keys=False), encoding="utf-8")


def _set(options: dict[str, Any], keys: list[str], value: object, word: str) -> None:
    for key in keys[:-1]:
        inner = options.setdefault(key, {})
        if not isinstance(inner, dict):
            raise ConfigError(
                f"override {shown(word)}: {cut(key, 40)} is not a section",
                remedy="name an option of a section, as training.max_epochs=5",
            )
        options = inner
    options[keys[-1]] = value


def _misfit(name: str, sizes: tuple[int, ...], network: NetworkSection) -> str | None:
    divisor = network.divisor
    nearest = [max(divisor, math.floor(size / divisor + 0.5) * divisor) for size in sizes]
    # A single voxel at the coarsest level has no variance, so normalisation layers refuse it.
    if max(nearest) == divisor:
        nearest = [2 * divisor] * len(sizes)
    if any(size % divisor for size in sizes):
        found = f"is not a multiple of {divisor}, which {network.name} with these options needs"
    elif max(sizes) == divisor:
        found = f"leaves a single voxel at the coarsest level of {network.name}"
    else:
        return None
    return f"{name}: {list(sizes)} {found}; the nearest is {nearest}"
