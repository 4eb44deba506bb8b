"""The command line: words become the arguments of a task, its result becomes tables.

Nothing heavy is imported at the top, so that `volseg --help` answers at once.
"""

from volseg.cli.commands import app

__all__ = ["app", "main"]


def main() -> None:
    """Entry point of the command `volseg`."""
    app()
