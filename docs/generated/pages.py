"""Pages filled in with what follows from the code, when they are read.

A page says where: `<!-- generated: options -->` stands for a table of this package, and
`<!-- include: docker/README.md -->` for a file of the repository, whose links are kept alive.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from generated import facts
from generated.commands import commands
from generated.facts import REPOSITORY, ROOT
from generated.job import job_script
from generated.options import options, slurm_options
from generated.public_names import api

#: Files of the repository that are pages of the site as well.
PAGES = {
    ".github/CONTRIBUTING.md": "development/contributing.md",
    ".github/SECURITY.md": "development/security.md",
    "CHANGELOG.md": "development/changelog.md",
    "benchmarks/README.md": "development/benchmarks.md",
    "data_lists/README.md": "reference/data-lists.md",
    "docker/README.md": "how-to/containers.md",
}
_INCLUDE, _GENERATE = (
    re.compile(rf"^<!-- {word}: (\S+) -->$", re.MULTILINE) for word in ("include", "generated")
)


def filled(text: str, page: str) -> str:
    """A page with all that it leaves to the code; KeyError if it asks for what is not here."""
    text = _INCLUDE.sub(lambda found: _included(found[1], page), text)
    return _GENERATE.sub(lambda found: PARTS[found[1]](), text)


def _included(name: str, page: str) -> str:
    """Text of a file, its links leading to pages of the site, or to the repository."""
    folder = (ROOT / name).parent
    up = "../" * page.count("/")

    def moved(found: re.Match[str]) -> str:
        path, hash_, anchor = found[1].partition("#")
        target = (folder / path).resolve().relative_to(ROOT).as_posix()
        if target.startswith("docs/"):
            target = up + target.removeprefix("docs/")
        else:
            target = up + PAGES[target] if target in PAGES else REPOSITORY + target
        return f"]({target}{hash_}{anchor})"

    return re.sub(r"\]\((?!https?:|#)([^)\s]+)\)", moved, (ROOT / name).read_text(encoding="utf-8"))


PARTS: dict[str, Callable[[], str]] = {
    "api": api,
    "channels": facts.channels,
    "commands": commands,
    "configs": facts.configs,
    "empty-masks": facts.empty_masks,
    "exit-codes": facts.exit_codes,
    "job-script": job_script,
    "label-schemes": facts.label_schemes,
    "layouts": facts.layouts,
    "networks": facts.networks,
    "options": options,
    "protocol-scores": facts.protocol_scores,
    "protocols": facts.protocols,
    "scores": facts.scores,
    "slurm-options": slurm_options,
}
