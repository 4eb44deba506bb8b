"""Options that have no effect or contradict others; they are reported, never silently ignored."""

from __future__ import annotations

from volseg.config.experiment import ExperimentConfig
from volseg.config.marks import Contradicts, Idle, marked
from volseg.errors import ConfigError


def check_options(config: ExperimentConfig) -> None:
    """Refuse, with ConfigError, options of a training that contradict each other."""
    for option in marked(config, Contradicts):
        if option.is_set and option.mark.when(config):
            raise ConfigError(
                f"{option.key} is {option.value}, but {option.mark.why}",
                remedy=option.mark.remedy,
            )


def idle_options(config: ExperimentConfig) -> list[str]:
    """A sentence for each option that is set but has no effect."""
    sections = {name: getattr(config, name) for name in type(config).model_fields}
    return [
        f"{option.key}={_shown(option.value)} {option.mark.why.format(**sections)}"
        for option in marked(config, Idle)
        if option.is_set and option.mark.when(config)
    ]


def _shown(value: object) -> object:
    return f"{value:g}" if isinstance(value, float) else value
