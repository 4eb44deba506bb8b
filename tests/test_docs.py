"""The site of the documentation: built without a warning, it asks no other host for anything."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys

import pytest
from pages import DOCS, ROOT

from volseg.config.networks import NETWORKS
from volseg.files.writing import (
    CONFIG_FILE,
    CURVES_FILE,
    DATA_LIST_FILE,
    MANIFEST_FILE,
    METRICS_FILE,
    MODEL_FILE,
    SAMPLES_FILE,
    WORST_FILE,
)
from volseg.labels import LABEL_SCHEMES
from volseg.metrics.record import SCORE_FILES
from volseg.runs.checkpoint_files import CHECKPOINTS
from volseg.runs.description import ENVIRONMENT
from volseg.runs.folder import LOGS
from volseg.slurm.script import FOLDER as SCRIPTS_FOLDER


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    words = ["-W", "--keep-going", "-q", "-b", "html", "-d", folder / "doctrees"]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *words, DOCS, folder / "html"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


def page(site, name):
    return (site / f"{name}.html").read_text(encoding="utf-8")


def test_each_page_is_built(site):
    built = {path.relative_to(site).with_suffix("") for path in site.rglob("*.html")}

    assert {path.relative_to(DOCS).with_suffix("") for path in DOCS.rglob("*.md")} <= built


#: What makes a browser ask another host; a link that a reader may follow does not.
ASKING = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed|object)\b[^>]*?"""
    r"""\b(?:src|srcset|data)=["'](?:https?:)?//[^"']+"""
    r"""|<link\b(?=[^>]*\brel=["'](?:stylesheet|preconnect|preload|prefetch|icon|dns-prefetch)\b)"""
    r"""[^>]*?\bhref=["'](?:https?:)?//[^"']+"""
    r"""|@import\s+[^;]*//[^;]+|url\(\s*["']?(?:https?:)?//[^)]+"""
    r"""|\b(?:fetch|import|importScripts)\(\s*["'`](?:https?:)?//[^)]+"""
)


@pytest.mark.parametrize(
    "asking",
    [
        '<script async src="https://a.b/x.js"></script>',
        '<img alt="" src="//a.b/x.png">',
        '<link href="https://a.b/c.css" rel="stylesheet">',
        '<link rel="preconnect" href="https://a.b">',
        '@import "https://a.b/c.css";',
        "font: url(https://a.b/f.woff2)",
        'fetch("https://a.b/c.json")',
    ],
)
def test_what_asks_another_host_is_recognised(asking):
    assert ASKING.search(asking)
    assert not ASKING.search(asking.replace("https:", "").replace("//", ""))


def test_nothing_is_asked_of_another_host(site):
    found = {
        f"{path.relative_to(site)}: {hit}"
        for path in site.rglob("*")
        if path.suffix in {".html", ".css", ".js", ".svg"}
        for hit in ASKING.findall(path.read_text(encoding="utf-8"))
    }
    assert found == set()


def test_the_site_works_below_any_path(site):
    absolute = [
        f"{path.relative_to(site)}: {link}"
        for path in site.rglob("*.html")
        for link in re.findall(r"""\b(?:src|href)=["'](/[^"']*)""", path.read_text("utf-8"))
    ]

    assert absolute == []


def test_the_search_knows_the_pages_without_a_server(site):
    index = (site / "searchindex.js").read_text(encoding="utf-8")

    assert "explanation/preprocessing" in index
    assert index.startswith("Search.setIndex(")


def test_every_option_has_a_meaning():
    from generated.options import sections

    without = [o.key for section in sections() for o in section.options if not o.meaning]

    assert without == []


def test_options_commands_networks_and_schemes_are_those_of_the_code(site):
    from volseg.config.training import TrainingConfig

    for option in TrainingConfig.model_fields:
        assert f"training.{option}<" in page(site, "reference/config")
    for name in NETWORKS:
        assert f">{name}<" in page(site, "reference/networks")
    for name, scheme in LABEL_SCHEMES.items():
        assert f">{name}<" in page(site, "reference/labels")
        assert all(label in page(site, "reference/labels") for label in scheme.labels.values())


def test_help_reads_on_the_site_as_in_a_terminal(site):
    commands = page(site, "reference/commands")

    # Not as emphasis, nor as a long dash.
    assert "t1c='*MPRAGE_GD*'; repeat" in html.unescape(commands)
    assert ">--data-root" in commands
    assert not re.search("\N{EN DASH}[a-z]", commands)


def test_the_page_of_an_included_file_links_to_pages_and_to_the_repository(site):
    contributing = page(site, "development/contributing")

    assert 'href="benchmarks.html"' in contributing
    assert not re.search(r'href="[^"]*\.\./benchmarks/README\.md"', contributing)


def test_the_files_of_a_run_are_those_that_it_writes():
    text = (DOCS / "reference" / "run-folder.md").read_text(encoding="utf-8")
    names = {name.rstrip("/") for name in re.findall(r"`([\w.]+/?)`", text)}

    written = {CONFIG_FILE, DATA_LIST_FILE, METRICS_FILE, MODEL_FILE, CURVES_FILE, SAMPLES_FILE}
    written |= {
        WORST_FILE,
        MANIFEST_FILE,
        *SCORE_FILES,
        CHECKPOINTS,
        ENVIRONMENT,
        LOGS,
        SCRIPTS_FOLDER,
    }
    assert written <= names
