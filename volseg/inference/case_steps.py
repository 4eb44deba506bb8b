"""Steps of work on many cases: reading with a record of the files, and steps that may fail."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from volseg import memory
from volseg.cases.case import Case
from volseg.cases.sources import check_unchanged, read_sources, states
from volseg.errors import VolsegError, of_case
from volseg.inference.predictor import Predictor
from volseg.inference.preparing import PreparedCase

logger = logging.getLogger(__name__)

T = TypeVar("T")


class CaseReader:
    """Reads and preprocesses the images of a case, and records their sources.

    Args:
        predictor: The models.
        greys: Whether prepared cases keep their images for pictures.
    """

    def __init__(self, predictor: Predictor, *, greys: bool) -> None:
        self.predictor, self.greys = predictor, greys
        #: Sources of the cases that were read, by case id.
        self.sources: dict[str, list[dict[str, Any]]] = {}

    def prepare(self, case: Case) -> PreparedCase:
        """The prepared case; errors as of `Predictor.prepare`, or if an image changes meanwhile."""
        # The predictor cannot read such files either, and names the reason.
        with contextlib.suppress(OSError):
            before = states(case.images)
        prepared = self.predictor.prepare(case, greys=self.greys)
        # Files are read completely only after their headers were found to fit into memory.
        with contextlib.suppress(OSError):
            sources = read_sources(case)
            check_unchanged(case, before, sources)
            self.sources[case.case_id] = sources
        return prepared


def tried(case: Case, work: Callable[[], T]) -> T | str:
    """The result of `work`, or the reason why it failed, which is logged."""
    try:
        with of_case(case.case_id), memory.in_words():
            return work()
    except VolsegError as error:
        reason = error.without_case
        logger.error("%s failed: %s", case.case_id, reason)
    # A long run must not end at one unusual case; the traceback is in the log.
    except Exception as error:
        reason = f"unexpected {type(error).__name__}: {error}"
        logger.exception("%s failed unexpectedly", case.case_id)
    return reason
