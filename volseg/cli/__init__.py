"""The command line: converts words to arguments of a task, and its result to tables.

Each command has a module. Heavy libraries are imported within functions, so that `volseg --help`
is fast.
"""

# Each module adds its command to the app, in the order of `volseg --help`.
from volseg.cli import demo, convert, prepare, split, check  # noqa: F401, I001
from volseg.cli import fit, evaluate, compare, tune  # noqa: F401
from volseg.cli import infer, explain, report, overlay, info  # noqa: F401
from volseg.cli.app import app

__all__ = ["app"]
