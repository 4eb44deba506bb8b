"""The command `volseg`: its panels of commands, errors and exit codes."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from volseg import DISCLAIMER, __version__, memory, ranks, signals
from volseg.cli.log import configure_logging
from volseg.cli.near_misses import unknown_command, unknown_option
from volseg.cli.tables import print_table
from volseg.cli.terminal import put, visible, written
from volseg.errors import OutputError, VolsegError
from volseg.words import grouped

EXIT_FAILED = 1
EXIT_USER_ERROR = 2
EXIT_SOME_FAILED = 3
#: Meaning of each exit code; the page of the documentation is generated from it.
EXIT_CODES: Mapping[int, str] = {
    0: "everything was done",
    EXIT_FAILED: "one of several processes failed or was killed, as with 137 and 143; "
    "`fit --resume RUN` resumes from the last epoch",
    EXIT_USER_ERROR: "nothing was done, or a training ended because of its own numbers: one line "
    "holds the value found, the value expected and the remedy",
    EXIT_SOME_FAILED: "some cases failed, were found but cannot be used, or have no prediction to "
    "score; each of them is named, and all other cases are done",
    signals.EXIT_STOPPED: "stopped by SIGTERM or SIGUSR1 with everything saved; the same command "
    "(`fit --resume RUN`) does the rest",
    signals.EXIT_INTERRUPTED: "stopped by Ctrl-C, in the same way; `split`, `check` and other "
    "short commands end at once",
}


class _Command(TyperCommand):
    """Command that suggests an option for an option that does not exist.

    Some of its options may stand without a value; see `without_value`.
    """

    #: Value by option that may stand without a value, at the end or before another option.
    without_value: Mapping[str, str] = {}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        args = list(self._completed(args))
        words = list(args)  # typer empties it
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            # The class of typer's errors is private.
            if hasattr(error, "possibilities") and (better := unknown_option(self, words)):
                raise better from None
            raise

    def _completed(self, words: list[str]) -> Iterator[str]:
        for word, after in itertools.zip_longest(words, words[1:], fillvalue="-"):
            yield word
            if word in self.without_value and after.startswith("-"):
                yield self.without_value[word]


class _Commands(TyperGroup):
    """Group that turns an error that the user can repair into one line and an exit code."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line; a full disk under help or version is an error of the user."""
        try:
            with written(sys.stdout):
                return super().main(*args, **kwargs)
        except OutputError as error:
            complain(str(error))
            sys.exit(EXIT_USER_ERROR)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if not ctx.resilient_parsing and args[0] not in self.commands:
            raise unknown_command(args[0], self.commands)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            with memory.in_words("volseg"):
                return super().invoke(ctx)
        except VolsegError as error:
            complain(str(error))
            raise typer.Exit(EXIT_USER_ERROR) from None
        except ranks.RankLost as error:
            complain(str(error))
            raise typer.Exit(EXIT_FAILED) from None
        except signals.Stopped as stop:
            # Other ranks end with 0, since their launcher takes any other code for a failure.
            if ranks.rank() > 0:
                raise typer.Exit from None
            # In a job, the script writes how the job continues.
            if "SLURM_JOB_ID" not in os.environ:
                put(visible(str(stop)), sys.stderr)
            raise typer.Exit(signals.exit_code()) from None
        except KeyboardInterrupt:
            complain("interrupted")
            raise typer.Exit(signals.EXIT_INTERRUPTED) from None


app = typer.Typer(
    name="volseg",
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    # A traceback is a bug; the plain form can be pasted into a report.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=DISCLAIMER,
)

START, PREPARE = "Start here", "Prepare your data"
TRAIN, USE = "Train and score", "Use a trained model"


def command(
    panel: str, without_value: Mapping[str, str] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add a function to the commands, in a panel of the help.

    Args:
        panel: Name of the panel.
        without_value: Value by option that may stand without a value.
    """
    kind = type("Command", (_Command,), {"without_value": without_value or {}})
    return app.command(rich_help_panel=panel, cls=kind)


def _show_version(asked: bool) -> None:
    if asked:
        put(f"volseg {__version__}", sys.stdout)
        raise typer.Exit


@app.callback()
def volseg(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Segment brain tumours in MRI, in 3D or slice by slice: from a folder of scans to scores.

    To see it at work on synthetic scans: volseg demo. Five steps with your own:

    \b
      volseg split FOLDER -o list.json              find cases, draw folds
      volseg check CONFIG data.data_list=list.json  try the experiment
      volseg fit CONFIG data.data_list=list.json    train a network
      volseg infer SCANS -m RUN -o results          segment scans
      volseg evaluate results list.json -o scores   score the results
    """
    configure_logging()


def complain(sentence: str) -> None:
    """Print an error on stderr, with the rank if it is above 0."""
    where = f" on rank {ranks.rank()}" * (ranks.rank() > 0)
    put(f"Error{where}: {visible(sentence)}", sys.stderr)


def fail_if_some_failed(
    failures: Mapping[str, str] | Iterable[tuple[str, str]], what: str = "case"
) -> None:
    """If there are failures, name each case or run with its reason, and exit with 3."""
    named = list(failures.items() if isinstance(failures, Mapping) else failures)
    if named:
        print_table("Failed", (what, "reason"), grouped(named, what))
        raise typer.Exit(EXIT_SOME_FAILED)
