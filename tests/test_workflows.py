"""What GitHub reads and what runs before a commit: workflows, forms, citation, hooks."""

from __future__ import annotations

import re
import shlex

import pytest
import yaml
from linters import PACKAGES, PROJECT, ROOT, lint
from packaging.specifiers import SpecifierSet

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
CHOOSER = GITHUB / "ISSUE_TEMPLATE" / "config.yml"
FORMS = sorted(set(CHOOSER.parent.glob("*.yml")) - {CHOOSER})
HOOKS = ROOT / ".pre-commit-config.yaml"


def read(path):
    # YAML 1.1 takes the key `on` for true.
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def steps(path):
    return [step for job in read(path)["jobs"].values() for step in job.get("steps", [])]


def test_the_workflows_are_clean():
    assert lint("actionlint", "-no-color", *WORKFLOWS) == (0, "")


@pytest.mark.parametrize(
    ("schema", "paths"),
    [
        ("vendor.github-workflows", WORKFLOWS),
        ("custom.github-workflows-require-timeout", WORKFLOWS),
        ("vendor.github-issue-forms", FORMS),
        ("vendor.github-issue-config", [CHOOSER]),
        ("vendor.dependabot", [GITHUB / "dependabot.yml"]),
        ("vendor.citation-file-format", [ROOT / "CITATION.cff"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_file_follows_its_schema(schema, paths):
    code, said = lint("check-jsonschema", "--builtin-schema", schema, *paths)

    assert paths
    assert code == 0, said


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_of_others_are_pinned_by_their_commit(path):
    for used in (step["uses"] for step in steps(path) if "uses" in step):
        ours = used.startswith("actions/")
        assert re.fullmatch(r"[\w/-]+@v\d+" if ours else r"[\w/-]+@[0-9a-f]{40}", used), used


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_only_read_unless_a_job_says_so(path):
    assert read(path)["permissions"] == {"contents": "read"}
    for step in steps(path):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_tests_run_on_every_python_that_volseg_allows():
    matrix = read(GITHUB / "workflows" / "test.yml")["jobs"]["test"]["strategy"]["matrix"]
    allowed = SpecifierSet(PROJECT["requires-python"])

    assert matrix["python"] == [f"3.{n}" for n in range(40) if f"3.{n}.0" in allowed]


def test_the_hooks_are_valid_and_call_what_is_installed():
    entries = [shlex.split(hook["entry"]) for r in read(HOOKS)["repos"] for hook in r["hooks"]]
    installed = {re.match(r"[\w-]+", words)[0] for words in PROJECT["optional-dependencies"]["dev"]}

    assert lint("pre-commit", "validate-config", HOOKS) == (0, "")
    for program, *_ in entries:
        name = program.removeprefix(".venv/bin/")
        assert PACKAGES.get(name, name) in installed
