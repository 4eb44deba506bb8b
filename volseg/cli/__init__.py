"""The command line: words become the arguments of a task, its result becomes tables.

Nothing heavy is imported at the top, so that `volseg --help` answers at once.
"""

from volseg.cli import prepare, train, use  # noqa: F401  (each adds its commands to the app)
from volseg.cli.app import app

__all__ = ["app"]
