"""The command `volseg`, also as `python -m volseg`."""

import signal
import sys

# What can be stopped in good order and go on when it is called again.
_STOPPABLE = {"fit", "infer", "compare"}
_NOTE = "\nstopping as soon as all is saved; Ctrl-C again ends at once\n"


def main() -> None:
    """Entry point of the command `volseg`."""
    # Without a traceback, until something can be said: each import takes time.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    import os

    from volseg import signals

    # Before anything that takes long: a signal that comes during imports waits for its turn.
    stoppable = bool(_STOPPABLE & set(sys.argv[1:2]))
    if stoppable:
        # Of several processes, Lightning's and those of a launcher, the first tells.
        alone = all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK"))
        signals.record(_NOTE if alone else "")
    # All, until there is something to save.
    signals.exit_at_once()
    # Threads of torch that wait for each other spin by default, and on cores that other processes
    # use as well, such as the loaders of `fit`, a step took six times as long. Read at its import.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from volseg.cli import app
    from volseg.cli.terminal import open_closed

    open_closed()
    try:
        app()
    finally:
        if stoppable:
            # Python takes back what `hold` set while it ends, and srun ends the other processes as
            # soon as one has ended badly: their exit code would be that of the signal.
            signals.end()


if __name__ == "__main__":
    main()
