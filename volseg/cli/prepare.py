"""Command `prepare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from volseg import signals
from volseg.cli.app import PREPARE, command, fail_if_some_failed
from volseg.cli.next_steps import line, next_steps
from volseg.cli.options import DataRoot, Fold, LabelName, Names
from volseg.cli.prepared_tables import print_prepared
from volseg.cli.tables import say

if TYPE_CHECKING:
    from volseg.tasks.prepare import PrepareResult


@command(PREPARE)
def prepare(  # noqa: PLR0913, PLR0917  (an option each)
    cases: Annotated[
        Path,
        typer.Argument(metavar="CASES", help="Folder of cases, one case, or a data list."),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FOLDER", help="Folder of prepared cases.")
    ],
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="SPACE",
            help="Channel that the others are registered to; or an atlas, ATLAS.nii.gz, on whose "
            "grid all results then lie; mni is the MNI152 template at 1 mm.",
            show_default="the first of t1c, t1n, t2f, t2w, ct",
        ),
    ] = None,
    strip: Annotated[
        str,
        typer.Option(
            metavar="METHOD",
            help="How the brain is found: auto, by HD-BET unless the skull is stripped already; "
            "mask, all that is not background; none, the skull stays; a folder with a mask for "
            "each case, CASE-mask.nii.gz; or a command with {input} and {output}.",
        ),
    ] = "auto",
    n4: Annotated[bool, typer.Option("--n4", help="Remove bias fields from the images.")] = False,
    affine: Annotated[
        bool, typer.Option("--affine", help="Scale and shear too in the step to the atlas.")
    ] = False,
    spacing: Annotated[
        str | None,
        typer.Option(
            metavar="MM",
            help="Size of the voxels: a number, or A,B,C along right, front and top.",
            show_default="1, or as the atlas",
        ),
    ] = None,
    channels: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Channels to look for; a case may lack some.",
            show_default="t1n,t1c,t2w,t2f",
        ),
    ] = None,
    names: Names = None,
    label_name: LabelName = None,
    fold: Fold = None,
    data_root: DataRoot = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Cases at once.",
            show_default="one a core, as far as memory allows",
        ),
    ] = None,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Draw the steps of each case.")
    ] = True,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Prepare finished cases again.")
    ] = False,
) -> None:
    """Prepare raw scans for a model: register, strip the skull, 1 mm, crop.

    The channels of a case are registered to one of them and, with --to, to an
    atlas. All are interpolated once, onto one grid of 1 mm. Outside the brain
    they are 0. A label map beside the images goes with them. Channels that fit
    already stay as they are.

    Each case gets a folder with its channels; preparation/CASE.json records
    every step, and preparation/CASE.png shows them. With a skull, a face may be
    recognised in the pictures.

    A case that cannot be registered, or whose brain mask is not of the size of a
    brain, is named and the others are prepared; the exit code is then 3. Finished
    cases are kept, so the same command resumes a stopped run.

    Examples:
      volseg prepare converted -o prepared
      volseg prepare converted -o prepared --to SRI24.nii.gz --affine
      volseg prepare scans -o prepared --strip 'hd-bet -i {input} -o {output}'
      volseg prepare ct_scans -o prepared --channels ct --strip none
    """
    from volseg.tasks.prepare import PrepareOptions
    from volseg.tasks.prepare import prepare as run_prepare

    signals.record_interrupts()
    options = PrepareOptions(
        to=to,
        strip=strip,
        n4=n4,
        affine=affine,
        spacing_mm=_three(spacing),
        pictures=pictures,
        workers=workers,
        overwrite=overwrite,
        channels=tuple(word.strip() for word in channels.split(",")) if channels else None,
        names=tuple(names or ()),
        label_name=label_name,
        fold=fold,
        data_root=data_root,
    )
    result = run_prepare(cases, output, options, stop=lambda: signals.received() is not None)
    print_prepared(result, drawn=pictures)
    if result.stopped:
        say("Stopped by a signal: the same command prepares the remaining cases")
        raise typer.Exit(signals.exit_code())
    if result.done or result.kept:
        _print_next(result)
    fail_if_some_failed(result.failures)


def _three(spacing: str | None) -> tuple[float, float, float] | None:
    if spacing is None:
        return None
    try:
        numbers = [float(word) for word in spacing.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 3):
        raise typer.BadParameter(
            f"--spacing is {spacing!r}; give one size in mm, such as 1, or three"
        )
    i, j, k = numbers * (3 // len(numbers))
    return i, j, k


def _print_next(result: PrepareResult) -> None:
    from volseg.files.ownership import PREPARATION_FOLDER

    steps = {"look at the steps": [str(result.folder / PREPARATION_FOLDER)]}
    infer = line("volseg", "infer", result.folder, "-m", "MODEL", "-o", "results", "--native")
    steps["segment"] = [infer]
    next_steps(steps)
