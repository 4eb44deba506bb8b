from __future__ import annotations

import os
import re
import tomllib
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest
from hatchling.build import build_wheel
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import volseg

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONSTRAINTS = [
    line
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
DECLARED = [
    requirement
    for words in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for requirement in map(Requirement, words)
    if requirement.name != "volseg"
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Texts of a wheel built from the checkout, by name, the two folders in it left out."""
    folder = tmp_path_factory.mktemp("wheel")
    before = Path.cwd()
    os.chdir(ROOT)
    try:
        name = build_wheel(str(folder))
    finally:
        os.chdir(before)
    with ZipFile(folder / name) as opened:
        return {n.partition("/")[2]: opened.read(n).decode() for n in opened.namelist()}


@pytest.fixture(scope="module")
def metadata(wheel):
    return Parser().parsestr(wheel["METADATA"])


@pytest.fixture(scope="module")
def allowed(metadata):
    """Versions of each dependency that a plain installation allows."""
    found = map(Requirement, metadata.get_all("Requires-Dist"))
    return {r.name: r.specifier for r in found if r.marker is None}


@pytest.mark.parametrize("version", ["2.6.2", "2.6.3"])
def test_stolen_releases_of_lightning_are_excluded(version, allowed):
    assert version not in allowed["pytorch-lightning"]
    assert "2.6.1" in allowed["pytorch-lightning"]
    assert "2.6.4" in allowed["pytorch-lightning"]


@pytest.mark.parametrize("version", ["2.9.0", "2.9.1"])
def test_torch_with_slow_convolutions_is_excluded(version, allowed):
    assert version not in allowed["torch"]
    assert "2.8.0" in allowed["torch"]
    assert "2.10.0" in allowed["torch"]


def test_pythons_are_those_of_the_documentation(metadata):
    assert set(metadata["Requires-Python"].split(",")) == {">=3.11", "<3.14"}
    assert "Python 3.11, 3.12 or 3.13" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "(3, 11) <= found < (3, 14)" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_one_version_everywhere(metadata):
    assert metadata["Version"] == volseg.__version__


def test_constraints_are_exact_and_serve_cpu_and_cuda():
    for line in CONSTRAINTS:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*", line), line
    names = [canonicalize_name(line.partition("==")[0]) for line in CONSTRAINTS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("requirement", DECLARED, ids=lambda requirement: requirement.name)
def test_each_dependency_has_a_pin_that_is_allowed(requirement):
    pins = {
        canonicalize_name(name): Version(version)
        for name, _, version in (line.partition("==") for line in CONSTRAINTS)
    }

    assert pins[canonicalize_name(requirement.name)] in requirement.specifier


def test_each_dependency_has_a_lowest_version():
    without = [r.name for r in DECLARED if not any(s.operator == ">=" for s in r.specifier)]

    # Stubs follow the package they describe.
    assert without == ["types-PyYAML"]


def test_the_wheel_holds_the_package_its_types_its_licence_and_nothing_else(wheel):
    package = {p.relative_to(ROOT / "volseg").as_posix() for p in ROOT.glob("volseg/**/*.py")}

    assert package | {"py.typed", "licenses/LICENSE", "METADATA"} <= set(wheel)
    assert not [name for name in wheel if name.startswith(("test", "configs"))]
    assert wheel["licenses/LICENSE"].startswith("MIT License")


def test_the_wheel_brings_the_command(wheel):
    assert wheel["entry_points.txt"].split("\n")[:2] == [
        "[console_scripts]",
        "volseg = volseg.__main__:main",
    ]
