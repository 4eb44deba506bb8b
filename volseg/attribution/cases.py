"""Explanation of many cases, one after the other; a case that fails stops no other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from volseg.attribution.explaining import PredictedCase, explain_region
from volseg.attribution.kept_maps import Plan
from volseg.attribution.methods import ExplainOptions
from volseg.attribution.pictures import draw_map
from volseg.attribution.result_files import ExplanationFiles, failures_in_words
from volseg.cases.case import Case
from volseg.figures.figure_files import save_figure
from volseg.figures.share_bars import share_bars
from volseg.inference.case_steps import CaseReader, tried
from volseg.inference.predictor import Predictor
from volseg.labels import Masks
from volseg.progress import Steps, track

logger = logging.getLogger(__name__)

#: Function from a case and its prediction to the masks of its reference, None if it has none.
References = Callable[[Case, PredictedCase], Masks | None]


@dataclass
class Outcome:
    """Outcome for several cases.

    Attributes:
        done: Regions explained now, by case id.
        failures: Reasons by case id, of cases and regions that failed.
        shares: Shares of the channels of each region, by case id.
        boxes_mm: Side of the boxes of occlusion of each region, by case id.
        pictures: Pictures of maps.
        stopped: Whether the run was stopped before its end.
    """

    done: dict[str, list[str]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    shares: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    boxes_mm: dict[str, dict[str, float]] = field(default_factory=dict)
    pictures: list[Path] = field(default_factory=list)
    stopped: bool = False


@dataclass(frozen=True, eq=False)
class CaseExplainer:
    """Explains cases and writes the results.

    Attributes:
        predictor: The models.
        options: Options of the explanations.
        files: Writer of the results.
        reference_of: The reference of a case, to be outlined in pictures.
        stop: Function called before each region; once it returns True, nothing further begins.
    """

    predictor: Predictor
    options: ExplainOptions
    files: ExplanationFiles
    reference_of: References
    stop: Callable[[], bool]

    def run(self, plans: Sequence[Plan]) -> Outcome:
        """Explain what the plans want; failures are logged and recorded.

        Raises:
            OutputError: If a result cannot be written.
        """
        outcome = Outcome()
        waiting = [plan for plan in plans if plan.wanted or plan.refused]
        steps, reader = Steps(len(waiting)), CaseReader(self.predictor, greys=self.options.pictures)
        for plan in track(waiting, "explaining", len(waiting), steps):
            if self.stop():
                outcome.stopped = True
                break
            self._explain(plan, reader, steps, outcome)
        for plan in plans:
            if shares := self.files.shares(plan.case):
                outcome.shares[plan.case.case_id] = shares
                outcome.boxes_mm[plan.case.case_id] = self.files.boxes_mm(plan.case)
        return outcome

    def _explain(self, plan: Plan, reader: CaseReader, steps: Steps, outcome: Outcome) -> None:
        case = plan.case
        reasons: dict[str, str] = {}
        for why in plan.refused.values():
            logger.error("%s failed: %s", case.case_id, why)
        steps.begin(f"{case.case_id}, prediction")
        predicted = tried(case, partial(self._predicted, case, reader)) if plan.wanted else None
        if isinstance(predicted, str):
            reasons = dict.fromkeys(plan.wanted, predicted)
        elif predicted is not None:
            sources = reader.sources.pop(case.case_id, [])
            reasons = self._explain_regions(plan, predicted, sources, steps, outcome)
        failures = {**plan.refused, **reasons}
        self.files.remove_failed(case, reasons)
        if reasons or case.case_id in outcome.done:
            failures |= self.files.renew_bars(case, partial(self._draw_bars, case))
        self.files.fail(case, failures)
        if failures:
            outcome.failures[case.case_id] = failures_in_words(failures)

    def _explain_regions(
        self,
        plan: Plan,
        predicted: PredictedCase,
        sources: Sequence[Any],
        steps: Steps,
        outcome: Outcome,
    ) -> dict[str, str]:
        """Write the maps of the wanted regions; returns the reasons of those that failed."""
        case, reasons = plan.case, {}
        reference = self.reference_of(case, predicted) if self.options.pictures else None
        for region in plan.wanted:
            if self.stop():
                outcome.stopped = True
                break
            steps.begin(f"{case.case_id}, {region}")
            found = tried(case, partial(explain_region, predicted, region, self.options))
            if isinstance(found, str):
                reasons[region] = found
                continue
            for note in found.notes:
                logger.warning("%s, %s: %s", case.case_id, region, note)
            draw = partial(draw_map, predicted, found, self.options, reference)
            picture = self.files.add(case, found, predicted.case.header, sources, draw)
            outcome.pictures += [picture] if picture else []
            outcome.done.setdefault(case.case_id, []).append(region)
        return reasons

    def _predicted(self, case: Case, reader: CaseReader) -> PredictedCase:
        self.predictor.warn()
        prepared = reader.prepare(case)
        return PredictedCase.of(prepared, self.predictor.models, self.predictor.device)

    def _draw_bars(self, case: Case, path: Path) -> None:
        shares = self.files.shares(case)
        title = f"{case.case_id}: channels in {self.options.kind}"
        save_figure(share_bars(shares, title), path)
