"""`volseg evaluate MODEL DATA --channels`: scores of a model on subsets of the channels."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import volseg
from volseg.channel_subsets.choice import Subset, chosen_subsets
from volseg.channel_subsets.scoring import SubsetRows, score_subsets
from volseg.channel_subsets.table import SubsetTable
from volseg.errors import ConfigError, DataListError
from volseg.evaluation.references import References
from volseg.evaluation.schemes import reference_schemes
from volseg.files.paths import PathLike, paths_of, places
from volseg.files.writing import atomic_write, check_outputs, make_output
from volseg.finding.finding import Finding
from volseg.inference.options import ScanOptions
from volseg.inference.predictor import Predictor
from volseg.metrics import COUNTED_SCORES, ScoreTable
from volseg.results.trained_cases import by_run, doubts_of_training
from volseg.runs.trained_cases import runs_trained_on
from volseg.words import cases_in_words

logger = logging.getLogger(__name__)

TABLE_FILE, DOCUMENT_FILE = "channels.csv", "channels.json"
_FILES = (TABLE_FILE, DOCUMENT_FILE)


@dataclass(frozen=True)
class ChannelScores:
    """Scores of a model on subsets of the channels.

    Attributes:
        table: The scores.
        output: Folder of `channels.csv` and `channels.json`.
        failures: Why a case, or a case with a subset, could not be scored, by name.
        notes: Notes for the reader.
        seconds: Duration in seconds.
        takes_missing: Whether `infer` with these models takes cases without some channels.
    """

    table: SubsetTable
    output: Path
    failures: Mapping[str, str]
    notes: tuple[str, ...]
    seconds: float
    takes_missing: bool


def evaluate_channels(  # noqa: PLR0913  (an option each)
    models: PathLike | Sequence[PathLike],
    data: PathLike,
    output: PathLike,
    channels: str | Sequence[str] = "all",
    reference_labels: str | None = None,
    fold: int | None = None,
    data_root: Path | None = None,
    *,
    device: str = "auto",
) -> ChannelScores:
    """Score models on subsets of the channels of labelled cases, as if the others were missing.

    Each case is read once and segmented with each subset as `infer` segments a case that has only
    these channels. A case that cannot be scored is listed with its reason; the others are scored.

    Args:
        models: Model file or run folder; several make an ensemble.
        data: Folder of labelled cases in any known layout, or data list.
        output: Folder for `channels.csv` and `channels.json`; created if missing.
        channels: "all", or a subset such as "t1c,t2f"; several subsets as a sequence.
        reference_labels: Label scheme of the cases without a scheme in the data list; None: decided
            by file names and values.
        fold: Fold of the data list to score; None: all cases.
        data_root: Folder that the paths of a data list start from; None: from the data list.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        ConfigError: If a subset is no choice of channels of the models.
        DataListError: If there is no labelled case.
        LabelError: If the label scheme of a case is not known.
        ModelError: If a model cannot be used.
        OutputError: If the scores cannot be written.
    """
    start, data, output = time.monotonic(), Path(data), Path(output)
    check_outputs(output, _FILES)
    predictor = Predictor(paths_of(models), device)
    words = [channels] if isinstance(channels, str) else channels
    subsets = chosen_subsets(words, predictor.channels, _stand_ins(predictor))
    _check_subsets(subsets, predictor)
    finding = predictor.find(data, ScanOptions(fold=fold, data_root=data_root))
    labelled = _labelled(finding, data)
    references = References(labelled, is_list=data.is_file())
    schemes = reference_schemes(references, predictor.scheme, reference_labels)
    predictor.warn()
    scored = score_subsets(labelled.cases, predictor, subsets, schemes)
    patients = {case.case_id: case.patient_id for case in labelled.cases}
    table = SubsetTable(
        predictor.channels,
        {
            subset: ScoreTable.of(rows, COUNTED_SCORES, patients)
            for subset, rows in scored.rows.items()
        },
    )
    failures = {**finding.lost, **scored.failures}
    notes = [*_notes(predictor, finding, labelled, scored)]
    seconds = time.monotonic() - start
    about = {
        "models": [{"path": str(one.path), "sha256": one.sha256} for one in predictor.models],
        "data": str(data),
        "device": str(predictor.device),
        "seconds": round(seconds, 1),
        "failures": failures,
        "notes": notes,
    }
    _write(table, output, about)
    optional = all(model.config.data.channels_optional for model in predictor.models)
    return ChannelScores(table, output, failures, tuple(notes), seconds, optional)


def _stand_ins(predictor: Predictor) -> list[str]:
    """Channels that stand in for missing ones, without which nothing can be segmented."""
    named = [model.config.data.fill_missing for model in predictor.models]
    return [name for name in named if name is not None]


def _check_subsets(subsets: Sequence[Subset], predictor: Predictor) -> None:
    for subset in subsets:
        for model in predictor.models:
            if set(subset).isdisjoint(model.config.data.channels):
                raise ConfigError(
                    f"{' '.join(subset)} has no channel of {model.path}, whose channels are "
                    f"{' '.join(model.config.data.channels)}",
                    remedy="score the models apart, or name other subsets",
                )


def _labelled(finding: Finding, data: Path) -> Finding:
    cases = tuple(case for case in finding.cases if case.label)
    if not cases:
        raise DataListError(
            f"{data} has no case with a label map", remedy="give cases with label maps", path=data
        )
    return replace(finding, cases=cases)


def _notes(
    predictor: Predictor, finding: Finding, labelled: Finding, scored: SubsetRows
) -> list[str]:
    notes = []
    for model in predictor.models:
        data = model.config.data
        if data.fill_missing is not None:
            notes.append(f"{model.path}: {data.fill_missing} stands in for missing channels")
        elif not data.channels_optional:
            notes.append(
                f"{model.path} was trained without data.channel_dropout: zeros, which it never "
                "saw, stand in for missing channels here; infer refuses such cases"
            )
    if unlabelled := len(finding.cases) - len(labelled.cases):
        notes.append(f"{cases_in_words(unlabelled)} without a label map not scored")
    rows = [row for of in scored.rows.values() for row in of]
    if lacking := {row.case_id for row in rows if row.status == "missing"}:
        notes.append(
            f"{cases_in_words(len(lacking))}, such as {min(lacking)}, scored only with the "
            "channels that they have"
        )
    used = [(model.path, model.config.data.fold) for model in predictor.models]
    trained = by_run(runs_trained_on(labelled.cases, used))
    return [*notes, *doubts_of_training(trained, [case.case_id for case in labelled.cases])]


def _write(table: SubsetTable, output: Path, about: Mapping[str, Any]) -> None:
    make_output(output, _FILES)
    table.to_csv(output / TABLE_FILE)
    definitions = next(iter(table.tables.values())).definitions
    document = {
        "volseg": volseg.__version__,
        "disclaimer": volseg.DISCLAIMER,
        **about,
        **places(output),
        "channels": list(table.channels),
        "mean_of_subsets": table.averages(),
        "definitions": definitions,
        "subsets": table.to_list(),
    }
    with atomic_write(output / DOCUMENT_FILE) as part:
        part.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
