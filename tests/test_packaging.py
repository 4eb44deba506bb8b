from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml
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


def call(*words, cwd, **changes):
    """What a command prints, away from this checkout; fails if the command does."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=env | changes,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Folder of an sdist of the checkout, and of a wheel that is built from the sdist."""
    folder = tmp_path_factory.mktemp("built")
    call(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    """Texts of the wheel, by name, the two folders in it left out."""
    (path,) = built.glob("*.whl")
    with ZipFile(path) as opened:
        return {n.partition("/")[2]: opened.read(n).decode() for n in opened.namelist()}


@pytest.fixture(scope="module")
def sdist(built):
    """Names of the files of the sdist, its folder left out."""
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as opened:
        return {name.partition("/")[2] for name in opened.getnames()}


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
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    assert metadata["Version"] == volseg.__version__
    assert citation["version"] == volseg.__version__
    assert re.findall(r"^## \[(.*?)\]", changes, re.MULTILINE)[0] in (
        volseg.__version__,
        "Unreleased",
    )


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
    assert {f"reporting/templates/{name}" for name in ("page.html.j2", "report.css")} <= set(wheel)
    assert not [name for name in wheel if name.startswith(("test", "configs"))]
    assert wheel["licenses/LICENSE"].startswith("MIT License")
    network = "preparation/brain_mask/LICENSE.hd_bet"
    assert "Apache License" in wheel[f"licenses/volseg/{network}"]


def test_the_wheel_brings_the_command(wheel):
    assert wheel["entry_points.txt"].split("\n")[:2] == [
        "[console_scripts]",
        "volseg = volseg.__main__:main",
    ]


def test_the_sdist_holds_the_repository_and_nothing_else(sdist):
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout, so that nobody knows which files belong to it")
    listed = call("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    ours = {name for name in listed.splitlines() if (ROOT / name).exists()}

    assert sdist ^ ours == {"PKG-INFO"}


@pytest.mark.parametrize("kind", ["whl", "tar.gz"])
def test_what_is_built_can_be_installed_and_called(built, kind, tmp_path):
    (path,) = built.glob(f"*.{kind}")
    # The dependencies are those of this environment, whose volseg comes second.
    venv.create(tmp_path / "env", with_pip=False)
    scheme = {"base": str(tmp_path / "env"), "platbase": str(tmp_path / "env")}
    site, programs = (Path(sysconfig.get_path(n, "venv", scheme)) for n in ("purelib", "scripts"))
    (site / "outer.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    python = programs / Path(sys.executable).name
    offline = ("--no-index", "--no-deps", "--no-build-isolation", "--quiet")

    call(python, "-m", "pip", "install", "--ignore-installed", *offline, path, cwd=tmp_path)

    version = call(programs / "volseg", "--version", cwd=tmp_path)
    assert version.strip() == f"volseg {volseg.__version__}"
    assert "infer" in call(programs / "volseg", "--help", cwd=tmp_path)
    package = call(python, "-c", "import volseg; print(volseg.__file__)", cwd=tmp_path)
    assert Path(package.strip()) == site / "volseg" / "__init__.py"
    assert (site / "volseg" / "py.typed").exists()
    assert list(site.glob("volseg-*.dist-info/licenses/LICENSE"))


def test_pypi_shows_where_everything_is(metadata):
    urls = dict(words.split(", ") for words in metadata.get_all("Project-URL"))

    assert set(urls) == {"Documentation", "Repository", "Changelog", "Issues"}
    assert all(url.startswith("https://") for url in urls.values())
