"""The command line: words become the arguments of a task, its result becomes tables.

One file a command. Nothing heavy is imported at the top, so that `volseg --help` answers at once.
"""

# Each adds its command to the app; in the order in which `volseg --help` lists them.
from volseg.cli import demo, split, check, fit, evaluate, compare, infer, info  # noqa: F401, I001
from volseg.cli.app import app

__all__ = ["app"]
