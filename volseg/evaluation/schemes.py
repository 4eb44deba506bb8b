"""Label schemes of predictions and references."""

from __future__ import annotations

import logging
from pathlib import Path

from volseg.errors import ConfigError, DataListError, LabelError
from volseg.evaluation.references import References
from volseg.labels import LABEL_SCHEMES, LabelScheme, get_scheme
from volseg.results.manifest import read_manifest
from volseg.results.native_files import results_of
from volseg.survey.label_maps import read_values
from volseg.survey.schemes import decisions_in_words, group_cases, schemes_of
from volseg.words import cases_in_words, cut

logger = logging.getLogger(__name__)


def prediction_scheme(predictions: Path, labels: str | None) -> LabelScheme:
    """Label scheme of the predictions: `labels`, or else the scheme in their `manifest.json`.

    Raises:
        DataListError: If the folder does not exist.
        LabelError: If the scheme is not known, or the manifest contradicts `labels`.
    """
    if not predictions.is_dir():
        raise DataListError(
            f"{predictions} is not a folder", remedy="give the folder of the predictions"
        )
    if labels:
        return _named_scheme(predictions, labels)
    return _manifest_scheme(predictions)


def _named_scheme(predictions: Path, labels: str) -> LabelScheme:
    """The scheme `labels`; LabelError if the manifest of the predictions has another scheme."""
    named = get_scheme(labels)
    try:
        written = _manifest_scheme(predictions)
    except LabelError:
        return named
    if written.labels != named.labels:
        raise LabelError(
            f"the manifest.json of {predictions} has label scheme {written.name!r}, but option "
            f"labels is {labels!r}",
            remedy="leave out labels",
        )
    return named


def _manifest_scheme(predictions: Path) -> LabelScheme:
    """Label scheme in the manifest of the predictions; LabelError if there is none."""
    try:
        written = read_manifest(results_of(predictions))["labels"]
        if isinstance(written, str):
            return get_scheme(written)
        values = {int(value): name for value, name in written["labels"].items()}
        return LabelScheme(written["name"], values, written["regions"])
    except FileNotFoundError:
        reason = "it has no manifest.json"
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ConfigError) as error:
        reason = f"its manifest.json has no scheme: {cut(str(error), 300)}"
    raise LabelError(
        f"the label scheme of {predictions} is not known ({reason})",
        remedy=f"name it with labels, one of {', '.join(LABEL_SCHEMES)}",
    )


def reference_schemes(
    references: References, predicted: LabelScheme, asked: str | None
) -> dict[str, LabelScheme]:
    """Label scheme of each case of the reference: from the data list, the option, or the values.

    Args:
        references: Cases of the reference.
        predicted: Label scheme of the predictions.
        asked: Name of the scheme of the cases that have none in the data list.

    Raises:
        LabelError: If the scheme of a case is not known.
    """
    remedy = f"give --reference-labels NAME (the predictions are in {predicted.name})"
    found, in_list = references.found, references.is_list
    names = {case.case_id: case.labels for case in found.cases if case.labels and in_list}
    open_cases = [case for case in found.cases if case.case_id not in names]
    if asked:
        names |= dict.fromkeys((case.case_id for case in open_cases), asked)
    elif open_cases and in_list:
        raise LabelError(
            f"the data list has no label scheme for {cases_in_words(len(open_cases))}, but leaves "
            "it to a config",
            remedy=remedy,
        )
    elif open_cases:
        read = read_values(open_cases)
        # An unreadable label map counts for no scheme; its case fails when it is scored.
        values = {name: frozenset() if isinstance(v, str) else v for name, v in read.items()}
        groups = group_cases(open_cases, values, found.layout_of)
        names |= schemes_of(groups, remedy)
        for decision in decisions_in_words(groups, names):
            logger.info("reference: %s", decision)
    # The data list names a scheme of a config only by its name, which the predictions share.
    own = {predicted.name: predicted} if predicted.name not in LABEL_SCHEMES else {}
    return {case_id: own.get(name) or get_scheme(name) for case_id, name in names.items()}
