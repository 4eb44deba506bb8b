"""Marks on the fields of options: which may change on resume, contradict others, or are idle."""

import pytest

from volseg.config import ExperimentConfig, check_options, idle_options
from volseg.config.marks import Contradicts, Idle, Inference, Resume, SetByJob, marked
from volseg.errors import ConfigError


@pytest.fixture
def config():
    return ExperimentConfig.from_dict({"labels": "brats2023", "data": {"data_list": "list.json"}})


def _keys(config, kind, mark=None):
    return {option.key for option in marked(config, kind) if mark in (None, option.mark)}


# Written out by hand: an option that joins them changes what a run promises.
def test_these_options_may_change_when_a_run_is_resumed(config):
    limits = {f"training.{name}" for name in ("max_epochs", "max_time", "early_stopping")}
    limits.add("training.validate_every")

    assert _keys(config, Resume, Resume.LIMIT) == limits
    assert _keys(config, Resume, Resume.FREE) == {
        *("data.data_list", "data.data_root", "data.workers", "data.cache_dir"),
        *("training.accelerator", "training.devices", "training.nodes"),
        *("inference.window_batch", "slurm"),
    }


def test_a_job_sets_devices_and_nodes(config):
    sources = {option.key: option.mark.source for option in marked(config, SetByJob)}

    assert sources == {"training.devices": "processes", "training.nodes": "nodes"}


def test_these_options_are_idle_or_contradict_others(config):
    assert _keys(config, Contradicts) >= {"training.early_stopping"}
    assert _keys(config, Idle) >= {
        *("loss.focal_gamma", "training.momentum"),
        *("training.warmup_epochs", "training.validate_every"),
    }


def test_of_several_models_the_first_decides_on_what_follows_the_mean(config):
    decoding = {
        *("inference.threshold", "inference.temperature", "inference.min_component_mm3"),
        *("inference.largest_component", "inference.min_region_mm3"),
    }

    assert _keys(config, Inference, Inference.NAMES_REGIONS) == decoding
    assert _keys(config, Inference, Inference.OF_FIRST_MODEL) == decoding


def test_an_option_at_its_default_is_never_idle(config):
    assert not config.loss.focal
    assert idle_options(config) == []


def test_an_idle_option_is_named_with_the_one_that_makes_it_so(config):
    training = config.training.model_copy(update={"validate_every": 400})

    assert idle_options(config.model_copy(update={"training": training})) == [
        "training.validate_every=400 is more than 300 epochs, so only the last epoch is validated"
    ]


def test_early_stopping_without_a_fold_is_refused_with_its_remedy(config):
    training = config.training.model_copy(update={"early_stopping": 3})
    data = config.data.model_copy(update={"fold": None})

    check_options(config.model_copy(update={"training": training}))
    with pytest.raises(ConfigError, match=r"early_stopping is 3, but data\.fold is null") as error:
        check_options(config.model_copy(update={"training": training, "data": data}))
    assert error.value.remedy == "set a fold, or training.early_stopping=null"
