"""What `prepare` did, as a table, of the commands `prepare` and `infer --prepare`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from volseg.cli.tables import print_table, say

if TYPE_CHECKING:
    from volseg.preparation.record import PreparedChannel
    from volseg.tasks.prepare import PrepareResult

# Cases that are listed in the table; all are in the log and in their records.
_CASES_SHOWN = 20


def print_prepared(result: PrepareResult, *, drawn: bool) -> None:
    """Print a line for each case prepared now, and how many there are."""
    from volseg import memory
    from volseg.words import cases_in_words

    rows = [
        (
            record.case_id,
            ", ".join(_channel(name, of) for name, of in record.channels.items()),
            record.space,
            f"{max(c.moved_mm for c in record.channels.values()):.1f}",
            "-" if record.mask is None else f"{record.mask.volume_ml:.0f}",
            f"{record.seconds:.0f} s",
            memory.size_in_words(record.peak_memory_bytes) if record.peak_memory_bytes else "-",
        )
        for record in list(result.done.values())[:_CASES_SHOWN]
    ]
    columns = ("case", "channels", "space", "moved mm", "brain ml", "time", "memory")
    if rows:
        print_table("Prepared", columns, rows)
    if len(result.done) > _CASES_SHOWN:
        say(f"and {len(result.done) - _CASES_SHOWN} more")
    for record in list(result.done.values())[:_CASES_SHOWN]:
        for note in record.mask.notes if record.mask else ():
            say(f"{record.case_id}: {note}")
    done = cases_in_words(len(result.done)) if result.done or not result.kept else "no new case"
    failed = f", {len(result.failures)} failed" if result.failures else ""
    kept = f", {len(result.kept)} kept" if result.kept else ""
    say(f"{done} prepared{kept}{failed}: {result.folder}")
    if drawn and result.done:
        say("Look at the pictures before you use a case: outlines must follow the anatomy.")


def _channel(name: str, channel: PreparedChannel) -> str:
    """A channel, with the share of the brain that it covers if that is not all."""
    return name if channel.covers_brain else f"{name} ({channel.coverage:.0%} of the brain)"
