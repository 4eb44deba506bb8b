"""`volseg tune`: choose options of decoding and fit confidence, on cases not trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from volseg.errors import DataListError
from volseg.files.paths import PathLike, paths_of
from volseg.files.writing import make_folder, scratch_folder
from volseg.metrics.official.protocols import OWN_SCORES
from volseg.tuning.cases import FEWEST_PATIENTS, TunedRun, find_runs
from volseg.tuning.confidence import Confidence, TunedCases
from volseg.tuning.decoding import Decoding, cuts
from volseg.tuning.gain import Gain, folds_of, measure_gain
from volseg.tuning.goal import Goal
from volseg.tuning.levels import LevelStore
from volseg.tuning.maps import MapStore
from volseg.tuning.record import FITS, PREDICTED_DICE, TunedOptions, write_tuned
from volseg.tuning.scores import ScoreBook
from volseg.tuning.search import Space, search
from volseg.tuning.segmenting import segment_runs
from volseg.tuning.targets import REMEDY, find_targets

_CACHE = "tuning"


@dataclass(frozen=True)
class TuneResult:
    """Outcome of a search.

    Attributes:
        gain: Scores of the held-out cases before and after.
        score: Name of the score, for readers.
        initial: Options of the models.
        tuned: Options chosen on all cases; the initial options if the gain may be chance.
        options: The same with their gain; None if the options stay.
        confidence: Temperatures and predicted Dice, with figures of held-out patients.
        models: Model files with tuned options or new fits; empty if nothing was changed.
        failures: Reason of each case that failed and was left out.
        drops_copies: Whether a fit of the predicted Dice with mirrored copies was replaced by one
            without.
    """

    gain: Gain
    score: str
    initial: Decoding
    tuned: Decoding
    options: TunedOptions | None
    confidence: Confidence
    models: tuple[Path, ...]
    failures: Mapping[str, str]
    drops_copies: bool = False


def tune(  # noqa: PLR0913  (an option each)
    runs: PathLike | Sequence[PathLike],
    output: PathLike | None = None,
    data_list: PathLike | None = None,
    fold: int | None = None,
    data_root: PathLike | None = None,
    protocol: str = OWN_SCORES,
    *,
    tta: bool = True,
    device: str = "auto",
) -> TuneResult:
    """Choose threshold, components and test-time augmentation by the scores of validation cases.

    The gain is measured by a cross-validation inside these cases: options are chosen on the other
    patients and scored on those held out. If its 95 % interval does not lie above 0, the options
    stay; otherwise they are written into the model file.

    On the same cases, a temperature of the probabilities of each region is fitted, and a
    prediction of the Dice of a case without a reference. They are written too, in place of those of
    an earlier tuning; a temperature only if held-out patients are better calibrated with it. The
    weights stay the same.

    Args:
        runs: Run folder or model file; several are the folds of one cross-validation, whose
            cases are pooled.
        output: File for a copy of the model with the tuned options; of several runs, a folder.
            None: the model file of each run gets them.
        data_list: Data list of other cases than the validation cases of the run.
        fold: Fold of the data list; None: that of the run, or all cases of `data_list`.
        data_root: Folder that the paths of the data list start from; None: as in the list.
        protocol: `volseg`, whose Dice is tuned, or an official protocol such as `brats2023-gli`,
            whose lesion-wise Dice is tuned.
        tta: Whether to try test-time augmentation, which takes several times as long.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        ConfigError: If there is no protocol of this name.
        LabelError: If the protocol scores a region that the model lacks.
        ModelError: If a model cannot be used.
        DataListError: If a case was trained on, or there are fewer than three patients.
        OutputError: If the cache or a model file cannot be written, or another model would be
            replaced.
    """
    found = find_runs(
        paths_of(runs),
        None if data_list is None else Path(data_list),
        fold,
        None if data_root is None else Path(data_root),
    )
    targets = find_targets(found, None if output is None else Path(output))
    goal = Goal.of(
        protocol, found, cuts(*(one for run in found for one in (run.initial, run.stored)))
    )
    with scratch_folder(_first_existing(targets[0].parent), _CACHE) as folder:
        chosen = _choose(found, goal, folder, device, tta=tta)
    if chosen.options or chosen.confidence.is_fitted or any(_was_fitted(run) for run in found):
        for run, target in zip(found, targets, strict=True):
            make_folder(target.parent, REMEDY)
            write_tuned(run, target, chosen.options, chosen.confidence)
        drops = not chosen.confidence.knows_copies and any(map(_knew_copies, found))
        chosen = replace(chosen, models=tuple(targets), drops_copies=drops)
    return chosen


def _choose(
    runs: Sequence[TunedRun], goal: Goal, folder: Path, device: str, *, tta: bool
) -> TuneResult:
    """Options and fits for the runs, of which nothing is written yet."""
    initial = runs[0].initial
    ttas = (False, True) if tta else (initial.tta,)
    store, maps = LevelStore(folder), MapStore(folder)
    copies = sorted({*ttas, *(run.stored.tta for run in runs)})
    segmented = segment_runs(runs, store, maps, goal.cuts, copies, device)
    _check_enough(segmented.patients, segmented.failures)
    scores, space = ScoreBook(store, goal.scorer), Space(goal.inner, ttas, is_joint=goal.is_quick)
    held_out = folds_of(segmented.patients)
    gain = measure_gain(scores, initial, goal.regions, segmented.patients, held_out, space)
    tuned = search(scores, initial, np.arange(len(store)), space) if gain.is_real else initial
    options = None if tuned == initial else TunedOptions(initial, tuned, gain, goal.title)
    decodings = {run: tuned if options else run.stored for run in runs}
    cases = TunedCases(store, maps, segmented, decodings, goal.cuts)
    confidence = cases.confidence(held_out)
    return TuneResult(gain, goal.title, initial, tuned, options, confidence, (), segmented.failures)


def _was_fitted(run: TunedRun) -> bool:
    """Whether the model holds fits of an earlier tuning, which this tuning replaces."""
    return any(run.header.content.get(entry) for entry in FITS)


def _knew_copies(run: TunedRun) -> bool:
    """Whether the model holds a fit of the predicted Dice with mirrored copies."""
    return bool((run.header.content.get(PREDICTED_DICE) or {}).get("members"))


def _first_existing(folder: Path) -> Path:
    """A folder, or the nearest of its parents that exists."""
    return next(one for one in (folder, *folder.absolute().parents) if one.is_dir())


def _check_enough(patients: Sequence[str], failures: Mapping[str, str]) -> None:
    if len(set(patients)) < FEWEST_PATIENTS:
        raise DataListError(
            f"after {len(failures)} failed, {len(set(patients))} patients are left to tune on, but "
            f"at least {FEWEST_PATIENTS} are needed",
            remedy="repair the cases that are named above",
        )
