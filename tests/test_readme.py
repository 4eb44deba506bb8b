"""What the documentation says must be true: commands parse, paths exist, tables agree with code."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import sys

import pytest
import yaml
from pages import README, ROOT, blocks, parse
from typer.main import get_command

from volseg.cli import app
from volseg.config import ExperimentConfig, NetworkConfig, SlurmConfig, load_config, read_slurm
from volseg.labels import LABEL_SCHEMES
from volseg.slurm.submission import submit_fit

DOCUMENTS = [
    ROOT / "README.md",
    ROOT / ".github" / "CONTRIBUTING.md",
    ROOT / "docker" / "README.md",
    *sorted((ROOT / "data_lists").glob("*.md")),
    *sorted((ROOT / "configs").glob("*.yaml")),
]


def commands_in(path):
    """Each line `volseg ...` of a Markdown file's shell blocks, or of a config's comments."""
    text = path.read_text(encoding="utf-8")
    lines = "".join(blocks("bash", text)) if path.suffix == ".md" else text
    # What follows after several blanks explains the command.
    return re.findall(r"^(?:#   )?(volseg .*?)(?:   .*)?$", lines, re.MULTILINE)


COMMANDS = [
    pytest.param(command, id=f"{path.name}: {command}")
    for path in DOCUMENTS
    for command in commands_in(path)
]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_documented_command_is_understood(command):
    context = parse(command)

    assert context.params


def test_every_command_is_in_the_readme():
    shown = {shlex.split(command)[1] for command in commands_in(ROOT / "README.md")}

    # The demo is shown as make demo.
    assert shown == set(get_command(app).commands) - {"demo"}


@pytest.mark.parametrize("command", [c for c in COMMANDS if " configs/" in c.values[0]])
def test_each_documented_experiment_is_valid(command):
    params = parse(command).params
    words = params.get("sources") or [params["config"], *(params["overrides"] or [])]
    overrides = [word for word in words if "=" in str(word)]

    for path in words[: len(words) - len(overrides)]:
        # A shell would write out the star.
        for found in sorted(ROOT.glob(str(path))):
            assert isinstance(load_config(found, overrides), ExperimentConfig)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_each_path_of_the_project_exists(path):
    text = path.read_text(encoding="utf-8")
    links = re.findall(r"\]\(((?!https?:)[^)#]+)\)", text)
    named = re.findall(r"\b(?:configs|data_lists|docker)/[\w./*-]*\w", text)

    missing = [p for p in named if not list(ROOT.glob(p))]
    missing += [p for p in links if not (path.parent / p).exists()]
    assert missing == []


def test_the_table_of_label_schemes_is_that_of_the_code():
    rows = re.findall(r"^\| `([\w-]+)`.*?\|(.*)\|(.*)\|(.*)\|(.*)\|(.*)\|$", README, re.MULTILINE)
    schemes = {name: cells for name, *cells in rows if name in LABEL_SCHEMES}

    assert set(schemes) == set(LABEL_SCHEMES)
    for name, (*labels, regions) in schemes.items():
        scheme = LABEL_SCHEMES[name]
        written = {i: label.strip() for i, label in enumerate(labels, start=1) if label.strip()}
        assert written == dict(scheme.labels)
        assert regions.strip() == ", ".join(
            f"{region} = {'+'.join(map(str, values))}" for region, values in scheme.regions.items()
        )


def test_the_custom_label_scheme_is_valid():
    (block,) = [block for block in blocks("yaml") if block.startswith("labels:")]
    options = yaml.safe_load(block) | {"data": {"data_list": "list.json"}}

    config = ExperimentConfig.from_dict(options)

    assert list(config.labels.regions) == ["WT", "TC"]


def test_the_section_for_a_cluster_is_valid():
    (block,) = [block for block in blocks("yaml") if block.startswith("slurm:")]

    slurm = SlurmConfig.model_validate(yaml.safe_load(block)["slurm"])

    assert slurm.sbatch == {"partition": "gpu", "account": "tumours"}


def test_the_batch_script_is_the_one_that_is_written(monkeypatch):
    monkeypatch.chdir(ROOT)
    (command,) = [c for c in commands_in(ROOT / "README.md") if "--slurm nodes=2" in c]
    params = parse(command).params
    config = load_config(params["config"], params["overrides"])
    options = read_slurm(params["slurm"], config.slurm)
    config = config.model_copy(update={"slurm": options})

    written = submit_fit(config, params["run"], dry_run=True).script

    (shown,) = [block for block in blocks("bash") if block.startswith("#!")]
    assert shown == written.replace(sys.executable, "/home/me/volseg/.venv/bin/python").replace(
        str(ROOT), "/home/me/volseg"
    )


def test_every_network_is_named():
    for section in NetworkConfig.__origin__.__args__:
        assert f"`{section.model_fields['name'].default}`" in README


def test_the_python_example_uses_what_there_is():
    from volseg import Predictor
    from volseg.inference.predictor import Prediction

    (code,) = blocks("python")

    used = {n.attr for n in ast.walk(ast.parse(code)) if isinstance(n, ast.Attribute)}
    fields = set(Prediction.__dataclass_fields__)
    assert used == {"predict", "save", "volumes_ml"}
    assert used <= {*dir(Predictor), *dir(Prediction), *fields}
    assert len(code.strip().splitlines()) - code.count("\n\n") <= 5
    inspect.signature(Predictor).bind("runs/unet")
