"""Label schemes of the cases of a run, checked before any scan is read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from volseg.cases.case import Case
from volseg.config import ExperimentConfig
from volseg.errors import LabelError
from volseg.labels import LabelScheme, get_scheme


def case_scheme(case: Case, config: ExperimentConfig) -> LabelScheme:
    """Label scheme of a case: its own, else that of the config.

    Raises:
        LabelError: If the scheme of the case lacks a region of the config.
    """
    scheme = config.labels if case.labels is None else get_scheme(case.labels)
    missing = [region for region in config.labels.regions if region not in scheme.regions]
    if missing:
        raise LabelError(
            f"labels {scheme.name!r} have no region {missing}, "
            f"but the config trains {list(config.labels.regions)}",
            remedy="leave the case out of the list",
            case_id=case.case_id,
        )
    return scheme


def check_schemes(cases: Iterable[Case], config: ExperimentConfig) -> None:
    """Refuse cases if none of them has all regions of the config.

    Raises:
        LabelError: If there are cases, and each of their schemes lacks a region.
    """
    schemes: set[str] = set()
    for case in cases:
        with contextlib.suppress(LabelError):
            case_scheme(case, config)
            return
        schemes.add(str(case.labels))
    if schemes:
        raise LabelError(
            f"the cases have labels {', '.join(sorted(schemes))}, but the config trains the "
            f"regions {', '.join(config.labels.regions)} of labels {config.labels.name}, and no "
            "case has all of them",
            remedy=f"use labels={min(schemes)}",
        )
