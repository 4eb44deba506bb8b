"""Commands, options and keys under other names: each is answered with what to write."""

import pytest
from typer.testing import CliRunner

from volseg.cli import app
from volseg.cli.near_misses import _COMMANDS, _OPTIONS
from volseg.config import ExperimentConfig, SlurmConfig
from volseg.config.keys import _SYNONYMS, full_key, option_defaults


def said(*words):
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    return done.stderr.rstrip("\n")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("train", "volseg fit, which trains a network"),
        ("predict", "volseg infer, which segments scans"),
        ("Segment", "volseg infer"),
        ("plot", "volseg overlay, which draws a scan with the regions"),
        (
            "heatmap",
            "volseg explain, which shows which parts of a scan the prediction of each region rests",
        ),
        ("test", "volseg evaluate, which scores predictions"),
        ("plan", "volseg check, which tries an experiment"),
        ("infr", "volseg infer"),
        ("calibrate", "volseg tune, which chooses threshold and components"),
        ("submit", "volseg fit --slurm, or volseg infer --slurm"),
        ("help", "volseg --help"),
        ("version", "volseg --version"),
        (
            "xyzzy",
            "one of demo, convert, prepare, split, check, fit, evaluate, compare, tune, infer, "
            "explain, report, overlay, info",
        ),
    ],
)
def test_an_unknown_command_is_answered_with_the_one_that_is_meant(word, meant):
    assert said(word, "x").startswith(f"Error: volseg has no command {word!r}; use {meant}")


def test_all_commands_are_described_and_no_other_name_is_one_of_them():
    names = {command.name for command in app.registered_commands}
    names |= {command.callback.__name__ for command in app.registered_commands}

    assert set(_COMMANDS) == names - {None}
    others = [name for _, names in _COMMANDS.values() for name in names.split()]
    assert len(set(others)) == len(others)
    assert not set(others) & set(_COMMANDS)


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["fit", "c.yaml", "--epochs", "3"], "--epochs; write training.max_epochs=3"),
        (["fit", "--batch-size=4", "c.yaml"], "--batch-size; write data.batch_size=4"),
        (["check", "--data-list", "a b.json"], "--data-list; write data.data_list='a b.json'"),
        (["fit", "c.yaml", "--lr"], "--lr; write training.learning_rate=VALUE"),
        (["infer", "s", "--window-batch", "2"], "--window-batch; write inference.window_batch=2"),
        (["infer", "s", "--lr", "2"], "--lr; see volseg infer --help"),
        (["infer", "s", "--overlp", "0.3"], "--overlp; use --overlap"),
        (["infer", "s", "--weights", "m"], "--weights; use --model"),
        (["split", "d", "--output-dir", "x"], "--output-dir; use --output"),
        (["evaluate", "a", "b", "--xyzzy"], "--xyzzy; see volseg evaluate --help"),
    ],
)
def test_an_unknown_option_is_answered_with_what_to_write(words, remedy):
    assert said(*words) == f"Error: volseg {words[0]} has no option {remedy}"


def test_an_option_without_its_value_is_still_said_to_need_one():
    assert "requires an argument" in said("fit", "c.yaml", "--folds")


def test_a_key_without_its_section_gets_the_section():
    assert full_key("data_list", ExperimentConfig) == "data.data_list"
    assert full_key("batchsize", ExperimentConfig) == "data.batch_size"
    assert full_key("gpus", SlurmConfig) is None
    assert full_key("xyzzy", ExperimentConfig) is None


def test_other_names_of_options_lead_to_options_that_exist():
    keys = {*option_defaults(ExperimentConfig), "network.name"}
    assert set(_SYNONYMS.values()) <= keys

    pages = "".join(CliRunner().invoke(app, [name, "--help"]).stdout for name in _COMMANDS)
    assert [other for other in _OPTIONS.values() if other not in pages] == []


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("fi", ["fit"]),
        ("fit --resu", ["--resume"]),
        ("fit c.yaml training.max_e", ["training.max_epochs=300"]),
        ("check c.yaml data.data_l", ["data.data_list="]),
        ("infer scans inference.tt", ["inference.tta=false"]),
        ("infer scans training.", []),
    ],
)
def test_a_shell_completes_commands_options_and_keys(words, completed):
    environment = {
        "_VOLSEG_COMPLETE": "complete_bash",
        "COMP_WORDS": f"volseg {words}",
        "COMP_CWORD": str(len(words.split())),
    }

    done = CliRunner().invoke(app, [], env=environment, prog_name="volseg")

    assert done.stdout.split() == completed
