"""Model files that a tuning writes: those of the runs, or copies that replace no other model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from volseg.errors import OutputError
from volseg.files.ownership import check_names_folder, check_ours
from volseg.files.writing import MODEL_FILE
from volseg.model_header import read_model_header
from volseg.runs.folder import is_held
from volseg.tuning.cases import TunedRun
from volseg.tuning.record import ENTRIES

#: What helps if a target cannot be written.
REMEDY = "choose another with -o"


def find_targets(runs: Sequence[TunedRun], output: Path | None) -> list[Path]:
    """The model file to write for each run.

    Args:
        runs: The runs.
        output: File of a copy; of several runs, a folder. None: the model file of each run.

    Raises:
        OutputError: If a file has no name of a model, two runs share a file, or another model would
            be replaced.
    """
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
        check_names_folder(target.parent, REMEDY)
        if target.exists() and not any(target.samefile(run.header.file) for run in runs):
            _check_is_tuned_copy(target)
    return targets


def _check_is_tuned_copy(model: Path) -> None:
    """Raise OutputError for a model that is no copy which an earlier call wrote."""
    of_run = model.name == MODEL_FILE and is_held(model.parent)
    content = {} if of_run else read_model_header(model).content
    if not any(content.get(entry) for entry in ENTRIES):
        raise OutputError(
            f"{model} is another model and would be replaced", remedy=REMEDY, path=model
        )
