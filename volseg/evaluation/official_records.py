"""Scores of all cases under official protocols, from the scores of each case."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from volseg.evaluation.official import OfficialScores, Reading, notes_on_protocol
from volseg.evaluation.pairs import CasePair
from volseg.evaluation.scoring import CaseScores
from volseg.metrics.official.protocol import Protocol
from volseg.metrics.official.record import ProtocolRecord
from volseg.metrics.table import ScoreRow, ScoreTable


def protocol_record(
    protocol: Protocol, pairs: Sequence[CasePair], scored: Sequence[CaseScores]
) -> ProtocolRecord:
    """Scores of all cases under a protocol; missing and failed cases have rows too.

    Args:
        protocol: The protocol.
        pairs: The cases.
        scored: Scores of each case, in the same order.
    """
    found, rows, failures = {}, [], {}
    for pair, scores in zip(pairs, scored, strict=True):
        official = scores.official.get(protocol.name, OfficialScores(failure=scores.failure))
        status = "failed" if official.failure else scores.status
        if official.failure:
            failures[scores.case_id] = official.failure
        for region in Reading.of(pair, protocol).regions:
            if of_region := official.regions.get(region):
                found[scores.case_id, region] = of_region
            values = of_region.scores if of_region else {}
            rows.append(ScoreRow(scores.case_id, region, values, status))
    patients = {pair.case.case_id: pair.case.patient_id for pair in pairs}
    return ProtocolRecord(
        protocol,
        ScoreTable.of(rows, protocol.scores, patients),
        dict(sorted(found.items(), key=lambda item: item[0][0])),
        failures,
        tuple(notes_on_protocol(pairs, protocol)),
    )


def official_failures(scored: Iterable[CaseScores]) -> list[tuple[str, str]]:
    """`(case_id, reason)` of cases that protocols could not score, though we could."""
    names: dict[tuple[str, str], list[str]] = {}
    for scores in scored:
        for name, official in scores.official.items():
            if official.failure:
                names.setdefault((scores.case_id, official.failure), []).append(name)
    return [(case_id, f"{', '.join(of)}: {why}") for (case_id, why), of in names.items()]


def notes_in_words(records: Iterable[ProtocolRecord]) -> list[str]:
    """Notes of all protocols; protocols with the same note are joined."""
    names: dict[str, list[str]] = {}
    for record in records:
        for note in record.notes:
            names.setdefault(note, []).append(record.protocol.name)
    return [f"{', '.join(of)}: {note}" for note, of in names.items()]
