"""The command line: words become the arguments of a task, its result becomes tables.

Nothing heavy is imported at the top, so that `volseg --help` answers at once.
"""

import os

from volseg.cli import prepare, train, use  # noqa: F401  (each adds its commands to the app)
from volseg.cli.app import app

__all__ = ["app", "main"]


def main() -> None:
    """Entry point of the command `volseg`."""
    # Threads of torch that wait for each other spin by default, and on cores that other processes
    # use as well, such as the loaders of `fit`, a step took six times as long. Read at its import.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    app()
