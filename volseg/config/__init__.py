"""Every option of an experiment: name, type, default, unit and meaning.

A config is strict YAML read into `ExperimentConfig`; `key=value` words override it. All mistakes
are reported at once. This package imports no torch, so a config is checked quickly.
"""

from volseg.config.data import AugmentationConfig, DataConfig
from volseg.config.experiment import ExperimentConfig, load_config, overridden, write_config
from volseg.config.idle import check_options, idle_options
from volseg.config.networks import NetworkConfig
from volseg.config.networks.section import NetworkSection
from volseg.config.preprocessing import CHANNELS, PreprocessingConfig
from volseg.config.section import Section
from volseg.config.slurm import SlurmConfig, read_slurm
from volseg.config.training import InferenceConfig, LossConfig, TrainingConfig

__all__ = [
    "CHANNELS",
    "AugmentationConfig",
    "DataConfig",
    "ExperimentConfig",
    "InferenceConfig",
    "LossConfig",
    "NetworkConfig",
    "NetworkSection",
    "PreprocessingConfig",
    "Section",
    "SlurmConfig",
    "TrainingConfig",
    "check_options",
    "idle_options",
    "load_config",
    "overridden",
    "read_slurm",
    "write_config",
]
