"""`volseg tune`: choose the options of decoding of a model by scores of its validation cases."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from volseg.errors import DataListError, OutputError
from volseg.files.ownership import check_names_folder, check_ours
from volseg.files.paths import PathLike, paths_of
from volseg.files.writing import MODEL_FILE, make_folder, scratch_folder
from volseg.metrics.official.protocols import OWN_SCORES
from volseg.model_header import read_model_header
from volseg.runs.folder import is_held
from volseg.tuning.cases import FEWEST_PATIENTS, TunedRun, find_runs
from volseg.tuning.decoding import Decoding, cuts
from volseg.tuning.gain import FOLDS, MOST_ALONE, Gain, measure_gain
from volseg.tuning.goal import Goal
from volseg.tuning.levels import LevelStore
from volseg.tuning.record import write_tuned
from volseg.tuning.scores import ScoreBook
from volseg.tuning.search import Space, search
from volseg.tuning.segmenting import segment_runs

_CACHE = "tuning"
_REMEDY = "choose another with -o"


@dataclass(frozen=True)
class TuneResult:
    """Outcome of a search.

    Attributes:
        gain: Scores of the held-out cases before and after.
        score: Name of the score, for readers.
        initial: Options of the models.
        tuned: Options chosen on all cases; the initial options if the gain may be chance.
        models: Model files with the tuned options; empty if nothing was changed.
        failures: Reason of each case that failed and was left out.
    """

    gain: Gain
    score: str
    initial: Decoding
    tuned: Decoding
    models: tuple[Path, ...]
    failures: Mapping[str, str]


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
    patients and scored on those held out. If its 95 % interval does not lie above 0, no file is
    changed. Otherwise the options are written into the model file, whose weights stay the same.

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
    targets = _targets(found, None if output is None else Path(output))
    initial = found[0].initial
    goal = Goal.of(protocol, found, cuts(initial))
    ttas = (False, True) if tta else (initial.tta,)
    space = Space(goal.inner, ttas, is_joint=goal.is_quick)
    with scratch_folder(_first_existing(targets[0].parent), _CACHE) as folder:
        store = LevelStore(folder)
        segmented = segment_runs(found, store, goal.cuts, ttas, device)
        _check_enough(segmented.patients, segmented.failures)
        scores = ScoreBook(store, goal.scorer)
        patients = segmented.patients
        gain = measure_gain(scores, initial, goal.regions, patients, _held_out(patients), space)
        tuned = search(scores, initial, np.arange(len(store)), space) if gain.is_real else initial
    written: tuple[Path, ...] = ()
    if tuned != initial:
        for run, target in zip(found, targets, strict=True):
            make_folder(target.parent, _REMEDY)
            write_tuned(run.header, target, initial, tuned, gain, goal.title)
        written = tuple(targets)
    return TuneResult(gain, goal.title, initial, tuned, written, segmented.failures)


def _targets(runs: Sequence[TunedRun], output: Path | None) -> list[Path]:
    """The model file to write for each run, checked before the cases are segmented."""
    if output is None:
        targets = [run.header.file for run in runs]
    elif len(runs) == 1:
        targets = [output]
        if output.is_dir() or output.suffix != ".safetensors":
            raise OutputError(
                f"{output} is given for the tuned model, but a file *.safetensors is expected",
                remedy=f"give a file such as {output / 'tuned.safetensors'}",
                path=output,
            )
    else:
        targets = [output / f"{run.header.file.parent.name}.safetensors" for run in runs]
        if len(set(targets)) < len(targets):
            raise OutputError(
                f"several runs are named {targets[0].stem}, so their models would share a file",
                remedy="rename a run, or leave -o out",
            )
    for target in targets:
        check_ours(target)
        check_names_folder(target.parent, _REMEDY)
        if target.exists() and not any(target.samefile(run.header.file) for run in runs):
            _check_is_tuned_copy(target)
    return targets


def _check_is_tuned_copy(model: Path) -> None:
    """Raise OutputError for a model that is no copy which an earlier call wrote."""
    of_run = model.name == MODEL_FILE and is_held(model.parent)
    if of_run or not read_model_header(model).content.get("tuning"):
        raise OutputError(
            f"{model} is another model and would be replaced", remedy=_REMEDY, path=model
        )


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


def _held_out(patients: Sequence[str]) -> list[list[int]]:
    """Cases to hold out together: of each patient alone, or of patients in folds."""
    cases: dict[str, list[int]] = defaultdict(list)
    for case, patient in enumerate(patients):
        cases[patient].append(case)
    if len(cases) <= MOST_ALONE:
        return list(cases.values())
    # In an order that depends on neither names nor dates, and is the same each time.
    order = np.random.RandomState(0).permutation(sorted(cases))
    return [[n for name in order[start::FOLDS] for n in cases[name]] for start in range(FOLDS)]
