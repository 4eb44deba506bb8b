"""The site of the documentation, made by `make docs`; its reference follows from the code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent))

from generated.pages import filled

from volseg import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "volseg"
author = "The volseg developers"
# The footer of each page.
copyright = f"{author}. For research only, not for clinical use"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

# Quotes stay as they are typed: `'*MPRAGE*'` may be copied into a shell.
smartquotes_action = "De"
# Docstrings write `code` as Markdown does.
default_role = "code"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# Else an attribute that is a property too would be described twice.
napoleon_use_ivar = True

html_theme = "furo"
html_title = "volseg"
html_logo = html_favicon = "_static/logo.svg"
html_static_path = ["_static"]
html_css_files = ["volseg.css"]
html_copy_source = False
html_theme_options = {
    "source_repository": "https://github.com/volseg/volseg/",
    "source_branch": "main",
    "source_directory": "docs/",
    "light_css_variables": {"color-brand-primary": "#1a5fb4", "color-brand-content": "#1a5fb4"},
    "dark_css_variables": {"color-brand-primary": "#8ab8ff", "color-brand-content": "#8ab8ff"},
}


def _fill(app: Sphinx, name: str, source: list[str]) -> None:
    source[0] = filled(source[0], name)


def setup(app: Sphinx) -> None:
    """Let each page be filled in when it is read."""
    app.connect("source-read", _fill)
