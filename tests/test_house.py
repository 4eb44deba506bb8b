"""The rules of the house that no linter knows; CONTRIBUTING states them for readers."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from itertools import accumulate
from pathlib import Path

import pytest

from volseg import errors

ROOT = Path(__file__).resolve().parents[1]
CONTRIBUTING = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONTRACTS = {
    contract["type"] + "/" + contract["name"].split()[0]: contract
    for contract in PYPROJECT["tool"]["importlinter"]["contracts"]
}


def stated(pattern):
    """Number that CONTRIBUTING gives as a gate."""
    (found,) = re.findall(pattern, CONTRIBUTING)
    return int(found)


def test_no_module_is_longer_than_stated():
    limit = stated(r"\| module \| \d+ lines \| (\d+) \|")
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / "volseg").rglob("*.py")
    }

    assert {path: lines for path, lines in lengths.items() if lines > limit} == {}


def test_the_limits_of_functions_are_those_of_ruff():
    lint = PYPROJECT["tool"]["ruff"]["lint"]

    assert stated(r"\| complexity (\d+), \d+ parameters \|") == lint["mccabe"]["max-complexity"]
    assert stated(r"\| complexity \d+, (\d+) parameters \|") == lint["pylint"]["max-args"]
    assert {"C90", "PL"} <= set(lint["select"])


def test_the_coverage_stated_is_what_make_test_asks_for():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (words,) = re.findall(r"coverage \d+ %, and 99 % for (.*?) \|", CONTRIBUTING)
    (globs,) = re.findall(r"--fail-under 99 --include '(.*?)'", makefile)

    least = PYPROJECT["tool"]["coverage"]["report"]["fail_under"]
    assert stated(r"coverage (\d+) %") == least
    packages = {re.sub(r"^volseg/|(/\*|\.py)$", "", each) for each in globs.split(",")}
    assert packages == set(re.findall(r"`(\w+)`", words))


def test_the_layers_stated_are_those_of_the_contract():
    table = CONTRIBUTING.partition("| layer |")[2].partition("\n\n")[0]
    rows = [set(re.findall(r"`(\w+)`", row.split("|")[1])) for row in table.splitlines()[2:]]
    layers = [
        set(re.findall(r"\w+", layer))
        for layer in CONTRACTS["layers/A"]["layers"]  # one line of pyproject each
    ]

    # A row may hold several layers that follow each other.
    borders = [set(), *accumulate(layers, set.union)]
    assert [row for row in accumulate(rows, set.union) if row not in borders] == []
    assert set().union(*rows) == set().union(*layers)


def test_what_needs_no_torch_is_stated_as_in_the_contract():
    (words,) = re.findall(r"^- (.*?) import no torch", CONTRIBUTING, re.MULTILINE | re.DOTALL)
    modules = CONTRACTS["forbidden/Scoring"]["source_modules"]

    assert set(re.findall(r"`(\w+)`", words)) == {name.removeprefix("volseg.") for name in modules}


def test_the_kind_of_a_case_is_asked_for_in_no_other_room():
    asks = re.compile(r"is_stack|isinstance\([^)]*(Volume|SliceStack)Case\b|spatial_dims *[!=]=")
    asking = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "volseg").rglob("*.py"))
        if path.parent.name != "cases" and asks.search(path.read_text(encoding="utf-8"))
    ]

    # Of a network, a config answers for all.
    assert asking == ["volseg/config/experiment.py"]


@pytest.mark.parametrize("name", ["utils", "util", "helpers", "common", "misc", "core", "base"])
def test_no_module_has_a_name_that_says_nothing(name):
    assert [p for p in (ROOT / "volseg").rglob("*") if p.stem == name] == []


def test_what_tests_share_is_in_modules_that_are_no_tests():
    importing = {
        f"{path.name}: {line}"
        for path in (ROOT / "tests").glob("*.py")
        for line in re.findall(
            r"^\s*(?:from|import) test_\w+.*", path.read_text(encoding="utf-8"), re.MULTILINE
        )
    }

    assert importing == set()


ERRORS = {
    name
    for name, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.VolsegError)
}


def written(expression):
    """Text of a string as it stands in the code, without that of the values in it."""
    parts = expression.values if isinstance(expression, ast.JoinedStr) else [expression]
    values = [part.value for part in parts if isinstance(part, ast.Constant)]
    return "".join(value for value in values if isinstance(value, str))


def test_a_remedy_is_an_argument_of_its_own():
    """Programs and pages show the problem and the remedy apart."""
    calls = {
        f"{path.relative_to(ROOT)}:{call.lineno}": call
        for path in (ROOT / "volseg").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.args
    }
    raised = {line: call for line, call in calls.items() if call.func.id in ERRORS}

    assert len(raised) > 100
    assert [line for line, call in raised.items() if "; " in written(call.args[0])] == []
