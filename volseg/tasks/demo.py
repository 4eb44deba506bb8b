"""All steps of volseg on synthetic cases: make, split, fit, infer, evaluate, draw."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from volseg.errors import OutputError
from volseg.files.writing import atomic_write, make_folder
from volseg.labels import get_scheme
from volseg.progress import clock

if TYPE_CHECKING:
    from volseg.cases.case import Case
    from volseg.figures.case_view import CaseView

logger = logging.getLogger(__name__)

_LABELS = "brats2023"

#: Config of the demo; labels, data list and spacing are filled in.
CONFIG = """\
# Small 3D U-Net on synthetic cases, trained in a few minutes on two cores.
labels: {labels}
data:
  data_list: {data_list}
  fold: 0
  spacing_mm: [{spacing}, {spacing}, {spacing}]
  patch_size: [48, 48, 48]     # voxels at spacing_mm
  batch_size: 2
  batches_per_epoch: 50
network:
  name: unet
  widths: [12, 24, 48, 96]
  residual_units: 1
training:
  max_epochs: 8
  max_time: 00:03:30
  learning_rate: 3.0e-3
  validate_every: 4
inference:
  overlap: 0.25
"""


@dataclass(frozen=True)
class DemoResult:
    """Result of the demo.

    Attributes:
        folder: Folder of all files.
        picture: Outlines of reference and prediction on the validation cases.
        model: The trained model.
        dice: Mean Dice over the validation cases, by region.
        report: Page of scores and pictures of the validation cases.
    """

    folder: Path
    picture: Path
    model: Path
    dice: Mapping[str, float]
    report: Path


def demo(
    output: Path,
    cases: int = 12,
    shape: tuple[int, int, int] = (120, 120, 78),
    overrides: Sequence[str] = (),
    on_step: Callable[[str], None] = logger.info,
) -> DemoResult:
    """Make a synthetic cohort, train on three quarters of it, segment and score the last quarter.

    Args:
        output: Folder for everything; new or empty.
        cases: Number of cases, 4 at least.
        shape: Voxels of a case along each axis; the width of 240 mm determines the spacing.
        overrides: `key=value` words for the config of the experiment.
        on_step: Function called before each step, with the equivalent command.

    Raises:
        OutputError: If the folder is not empty or cannot be written.
    """
    from volseg.config import load_config
    from volseg.tasks.evaluate import evaluate
    from volseg.tasks.fit import fit
    from volseg.tasks.infer import infer
    from volseg.tasks.report import report
    from volseg.tasks.split import split

    _make_folder(output)
    data_list, config = output / "data_list.json", output / "config.yaml"
    run, predictions, scores = output / "run", output / "predictions", output / "scores"
    _write_config(config, data_list, 240 / shape[0])
    experiment = load_config(config, overrides)
    if limit := experiment.training.max_time:
        on_step(f"# training takes at most {clock(limit)} (training.max_time in {config})")
    training, validation = _make_cases(output, cases, shape, on_step)

    on_step(_command("split", training, "-o", data_list, "--labels", _LABELS))
    split([training], data_list, labels=_LABELS)

    on_step(_command("fit", config, *overrides, "-o", run))
    model = fit(experiment, run).model

    on_step(_command("infer", validation, "-m", model, "-o", predictions))
    infer(validation, [model], predictions)

    on_step(_command("evaluate", predictions, validation, "-o", scores))
    dice = evaluate(predictions, validation, scores).table.means("dice")

    page = output / "report.html"
    on_step(_command("report", scores, "-o", page))
    report(scores, page)

    picture = output / "demo.png"
    _draw(predictions, validation, picture)
    return DemoResult(output, picture, model, dice, page)


def _make_folder(output: Path) -> None:
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise OutputError(
            f"{output} is there already", remedy="remove it or choose another with -o", path=output
        )
    make_folder(output, "choose another with -o")


def _make_cases(
    output: Path, cases: int, shape: tuple[int, int, int], on_step: Callable[[str], None]
) -> tuple[Path, Path]:
    """Make the cases; returns the folders of training and of validation cases."""
    from volseg.phantoms.cohort import make_cohort

    training, validation = output / "training", output / "validation"
    apart = cases // 4
    on_step(f"# {cases - apart} synthetic cases in {training}, {apart} in {validation}")
    spacing_mm = 240 / shape[0]
    make_cohort(training, cases - apart, shape, spacing_mm)
    make_cohort(validation, apart, shape, spacing_mm, first=cases - apart + 1)
    return training, validation


def _write_config(path: Path, data_list: Path, spacing: float) -> None:
    # A JSON string is valid YAML for any folder name.
    written = json.dumps(data_list.as_posix())
    text = CONFIG.format(labels=_LABELS, data_list=written, spacing=spacing)
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _command(*words: str | Path) -> str:
    return shlex.join(["volseg", *(str(word) for word in words)])


def _draw(predictions: Path, validation: Path, picture: Path) -> None:
    """Draw the slice of each case with most tumour, in every channel, with both outlines."""
    from volseg.figures.figure_files import save_figure
    from volseg.figures.montage import gallery
    from volseg.finding.folders import find_cases

    views = [
        _view(case, predictions / f"{case.case_id}.nii.gz")
        for case in find_cases([validation]).cases
    ]
    save_figure(gallery(views, "volseg demo: synthetic cases that were not trained on"), picture)


def _view(case: Case, prediction: Path) -> CaseView:
    from volseg.figures.case_view import CaseView
    from volseg.images.nifti_reading import read_case, read_label_map

    images = read_case(case.images, case.channels, case.channels)
    scheme = get_scheme(_LABELS)
    reference, predicted = (
        scheme.masks(grid.to_ras(label_map))
        for label_map, grid in map(read_label_map, (case.label[0], prediction))
    )
    channels = {
        channel: images.grid.to_ras(array)
        for channel, array in zip(case.channels, images.array, strict=True)
    }
    return CaseView(channels, reference, predicted, case.case_id)
