"""Checks of the models of an ensemble, and doubts about their results."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from volseg.config import ExperimentConfig
from volseg.config.marks import Inference, marked
from volseg.errors import LabelError, ModelError
from volseg.finding.wanted import missing_channels
from volseg.labels import LabelScheme
from volseg.model_file import Model
from volseg.words import shown

# Options are called slow if windows take this many times as long as by default.
_SLOW = 8


def doubts_of(models: Sequence[Model]) -> Iterator[str]:
    """Reasons, found in the models, why their results may be unusable."""
    first: dict[str, Model] = {}
    for model in models:
        yield from (f"{model.path} {doubt}" for doubt in model.doubts)
        other = first.setdefault(model.sha256, model)
        if other is not model:
            yield f"{model.path} and {other.path} are the same model, which therefore counts twice"
    used, *others = (options_of_first(model) for model in models)
    for key, applied in used.items():
        for model, options in zip(models[1:], others, strict=True):
            if options[key] != applied:
                yield (
                    f"{key} is {shown(options[key])} in {model.path}, but the value of the "
                    f"first model is used, {shown(applied)}"
                )


def options_of_first(model: Model) -> dict[str, Any]:
    """Options that apply to the mean of several models if this model is the first."""
    marks = marked(model.config, Inference)
    return {one.key: one.value for one in marks if one.mark is Inference.OF_FIRST_MODEL}


def overridden(model: Model, options: Mapping[str, Any]) -> Model:
    """The model with options of section `inference` changed; ConfigError if one is not valid."""
    if not options:
        return model
    config = model.config.to_dict()
    config["inference"] |= options
    words = " ".join(f"inference.{name}={shown(value)}" for name, value in options.items())
    where = f"{model.path} with {words}"
    return replace(model, config=ExperimentConfig.from_dict(config, where))


def slow_options(models: Sequence[Model]) -> list[str]:
    """A sentence if the windows take many times as long as by default."""
    most = max(
        ((1 - config.inference.overlap) ** -config.spatial_dims) / 2**config.spatial_dims
        for config in (model.config for model in models)
    )
    return [
        f"the windows overlap so far that they take {most:.0f} times as long as at an overlap "
        "of 0.5"
    ] * (most >= _SLOW)


def missing_for(models: Sequence[Model], held: Collection[str]) -> list[str]:
    """Channels that any of the models needs and a case with the channels `held` lacks."""
    lacks = dict.fromkeys(
        name
        for model in models
        for name in missing_channels(held, model.config.data.channels, needed_by(model))
    )
    return list(lacks)


def needed_by(model: Model) -> tuple[str, ...]:
    """Channels that no case for a model may lack; none if each of them may be missing."""
    data = model.config.data
    return data.channels if data.required_channels is None else data.required_channels


def remedy_for_missing(models: Sequence[Model]) -> str:
    """What helps if a case lacks channels that the models need."""
    strict = [str(model.path) for model in models if not model.config.data.channels_optional]
    if 0 < len(strict) < len(models):
        return (
            f"leave out {', '.join(strict)}, trained without data.channel_dropout unlike the others"
        )
    return "use a model that needs fewer channels, such as one trained with data.channel_dropout"


def check_same_regions(models: Sequence[Model]) -> None:
    """Refuse, with ModelError, models whose regions have different names."""
    first = models[0]
    for model in models[1:]:
        if set(model.config.labels.regions) != set(first.config.labels.regions):
            raise ModelError(
                f"{model.path} has the regions {' '.join(model.config.labels.regions)}, but "
                f"{first.path} has {' '.join(first.config.labels.regions)}",
                remedy="an ensemble needs models of the same regions",
            )


def check_regions_of_scheme(scheme: LabelScheme, trained: LabelScheme) -> None:
    """Refuse, with LabelError, to write a scheme with a region that the model lacks."""
    missing = [region for region in scheme.regions if region not in trained.regions]
    if missing:
        raise LabelError(
            f"label scheme {scheme.name!r} needs {' '.join(scheme.regions)}, but the model, of "
            f"scheme {trained.name!r}, gives {' '.join(trained.regions)}",
            remedy="choose another scheme",
        )
