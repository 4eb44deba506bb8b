"""The command `volseg`, also as `python -m volseg`."""

import signal
import sys

# Commands that save their work after a signal and resume when called again.
_STOPPABLE = {"fit", "infer", "compare", "prepare"}
_NOTE = "\nstopping as soon as all is saved; Ctrl-C again ends at once\n"


def main() -> None:
    """Entry point of the command `volseg`."""
    # Ctrl-C during the imports, which take time, ends the process without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    import os

    from volseg import signals

    # Before long imports, so that a signal that arrives during them is handled afterwards.
    stoppable = bool(_STOPPABLE & set(sys.argv[1:2]))
    if stoppable:
        # Of several processes, started by Lightning or a launcher, only rank 0 prints the note.
        alone = all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK"))
        signals.record(_NOTE if alone else "")
    # Until there is work to save, Ctrl-C ends the process at once.
    signals.exit_at_once()
    # Waiting threads of torch spin by default. On cores shared with other processes, such as the
    # loaders of `fit`, a step then took six times as long. torch reads the variable on import.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from volseg.cli import app
    from volseg.cli.terminal import open_closed

    open_closed()
    try:
        app()
    finally:
        if stoppable:
            # Python removes the handlers of `record` while it ends, and srun ends all processes as
            # soon as one has failed: their exit code would then be that of the signal.
            signals.end()


if __name__ == "__main__":
    main()
