"""The command `volseg`, also as `python -m volseg`."""

import os
import sys

from volseg import signals

# What can be stopped in good order and go on when it is called again.
_STOPPABLE = {"fit", "infer", "compare"}


def main() -> None:
    """Entry point of the command `volseg`."""
    # Before anything that takes time: a signal that comes during imports waits for its turn.
    stoppable = bool(_STOPPABLE & set(sys.argv[1:2]))
    if stoppable:
        signals.hold()
    # Threads of torch that wait for each other spin by default, and on cores that other processes
    # use as well, such as the loaders of `fit`, a step took six times as long. Read at its import.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from volseg.cli import app

    try:
        app()
    finally:
        if stoppable:
            # Python takes back what `hold` set while it ends, and srun ends the other processes as
            # soon as one has ended badly: their exit code would be that of the signal.
            signals.ignore()


if __name__ == "__main__":
    main()
