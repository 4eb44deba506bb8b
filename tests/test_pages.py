"""What the pages say must be true: commands parse, snippets hold, paths and links exist."""

from __future__ import annotations

import re

import pytest
import yaml
from hospital import write_study
from pages import DOCS, DOCUMENTS, PAGES, README, ROOT, blocks, commands_in, name_of, parse, text_of
from tiny_models import write_model
from tiny_scans import write_case
from typer.main import get_command

from volseg.cli import app
from volseg.config import ExperimentConfig, load_config
from volseg.phantoms.cohort import make_cohort
from volseg.preparation.brain_mask.limits import LIMITS_ML
from volseg.preparation.options import REFERENCES

REPOSITORY = "https://github.com/volseg/volseg/"
SITE = "https://volseg.github.io/volseg/"
#: Where images of the README are shown from: PyPI has no files of the repository.
IMAGES = "https://raw.githubusercontent.com/volseg/volseg/main/"


def raw(path):
    """Text of a page as it is in the repository."""
    return path.read_text(encoding="utf-8")


def links_of(text):
    """Targets of links and images of a Markdown text."""
    return re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"<(https?://[^>\s]+)>", text)


def experiments_in(path):
    """Configs of the commands of a page, each with the options that follow it."""
    for command in commands_in(path):
        params = parse(command).params
        words = params.get("sources") or [params.get("config"), *(params.get("overrides") or ())]
        overrides = [word for word in words if "=" in str(word)]
        for word in words:
            if str(word).startswith("configs/"):
                # A shell would write out the star.
                yield from ((found, overrides) for found in sorted(ROOT.glob(str(word))))


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_each_command_of_a_page_is_understood(path):
    for command in commands_in(path):
        assert parse(command).params, command


def test_every_command_is_shown_in_the_readme():
    shown = {command.split()[1] for command in commands_in(ROOT / "README.md")}

    # The demo is shown as make demo; compare and the rest are linked to.
    assert set(get_command(app).commands) - {"demo", "compare"} <= shown


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_each_experiment_of_a_page_is_valid(path):
    for config, overrides in experiments_in(path):
        assert isinstance(load_config(config, overrides), ExperimentConfig)


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_each_config_of_a_page_is_valid(path):
    for block in blocks("yaml", text_of(path)):
        options = {"labels": "brats2021"} | yaml.safe_load(block)
        options["data"] = {"data_list": "list.json"} | options.get("data", {})

        assert ExperimentConfig.from_dict(options)


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_each_shell_block_of_a_page_calls_what_there_is(path):
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for block in blocks("bash", raw(path)):
        assert not re.findall(r"^\s*\$ ", block, re.MULTILINE)
        for target in re.findall(r"^make ([\w-]+)", block, re.MULTILINE):
            assert target in targets
        for script in re.findall(r"^(?:\S*/)?python (\S+\.py)", block, re.MULTILINE):
            assert (ROOT / script).is_file()


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_each_path_of_the_project_exists(path):
    text = text_of(path)
    named = re.findall(r"\b(?:configs|data_lists|docker)/[\w./*-]*\w", text)
    links = [
        re.sub("^(blob|tree)/main/", "", link.removeprefix(REPOSITORY))
        for link in links_of(text)
        if link.startswith((REPOSITORY + "blob/", REPOSITORY + "tree/"))
    ]

    assert [p for p in (*named, *links) if not list(ROOT.glob(p))] == []


@pytest.mark.parametrize("path", [p for p in PAGES if DOCS not in p.parents], ids=name_of)
def test_each_link_within_the_repository_leads_to_a_file(path):
    # Those of the pages of the site are checked when it is built.
    links = [re.sub("#.*", "", link) for link in links_of(raw(path))]

    here = [link for link in links if link and not link.startswith(("http://", "https://"))]
    assert [link for link in here if not (path.parent / link).exists()] == []


def test_the_readme_renders_away_from_the_repository():
    assert [link for link in links_of(README) if not re.match(r"https?://", link)] == []
    for image in re.findall(r"!\[[^]]+\]\(([^)]+)\)", README):
        assert image.startswith(IMAGES)
        assert (ROOT / image.removeprefix(IMAGES)).is_file()


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_each_link_to_the_site_leads_to_a_page(path):
    pages = {
        re.sub(r"(index)?(\.html)?(#.*)?$", "", link.removeprefix(SITE))
        for link in links_of(raw(path))
        if link.startswith(SITE)
    }

    assert [page for page in pages if not (DOCS / f"{page or 'index'}.md").is_file()] == []


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 160
    assert README.index("make demo") < README.index("make test") < README.index("volseg split")


STEPS = [
    DOCS / "how-to" / "prepare.md",
    *ROOT.glob("volseg/*/prepare.py"),
    ROOT / "volseg/cli/infer.py",
]


@pytest.mark.parametrize("path", STEPS, ids=name_of)
def test_the_order_of_reference_channels_is_stated_as_in_the_code(path):
    words = " ".join(path.read_text(encoding="utf-8").split())

    assert f"the first of {', '.join(REFERENCES)}" in words


def test_the_limits_of_brain_masks_are_stated_as_in_the_code():
    least, most = (f"{ml:,.0f} ml" for ml in LIMITS_ML)

    assert f"less than {least} or more than {most}" in raw(DOCS / "how-to" / "prepare.md")


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """The current folder, with what the snippets name: a run, new scans, a hospital's folder."""
    for run in ("unet", "any"):
        (tmp_path / "runs" / run).mkdir(parents=True)
        write_model(tmp_path / "runs" / run / "model.safetensors")
    write_case(tmp_path / "new_scans", "BraTS2021_01476")
    make_cohort(tmp_path / "scans", cases=1, shape=(32, 36, 24))
    write_study(tmp_path / "hospital", "A", "first", "20200304")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("path", [p for p in PAGES if blocks("python", raw(p))], ids=name_of)
def test_each_python_snippet_of_a_page_runs(path, workspace):
    names = {}
    for number, block in enumerate(blocks("python", raw(path))):
        exec(compile(block, f"{path.name}, snippet {number}", "exec"), names)


def test_the_example_of_the_readme_writes_a_label_map(workspace):
    (code,) = blocks("python")

    exec(compile(code, "README.md", "exec"), {})

    assert (workspace / "BraTS2021_01476.nii.gz").is_file()
    assert len(code.strip().splitlines()) - code.count("\n\n") <= 5
