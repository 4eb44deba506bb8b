"""Command `infer`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from volseg import signals
from volseg.cli.app import EXIT_SOME_FAILED, USE, command
from volseg.cli.infer_results import print_next, print_result, write_report
from volseg.cli.jobs import DryRun, Slurm, as_words, check_dry_run, report_job
from volseg.cli.look_at_first import print_look_at_first
from volseg.cli.options import (
    DataRoot,
    Fold,
    LabelName,
    Names,
    PatientRegex,
    SpacingMm,
    sizes,
)
from volseg.cli.prepared_tables import print_prepared
from volseg.cli.report_option import WithReport, check_report
from volseg.cli.scans import (
    Channel,
    Images,
    InferenceOverrides,
    Scans,
    images_by_channel,
    scans_and_overrides,
)
from volseg.cli.tables import say
from volseg.errors import ConfigError

if TYPE_CHECKING:
    from volseg.inference.options import InferOptions
    from volseg.tasks.infer import InferResult


@command(USE, without_value={"--native": "reference"})
def infer(  # noqa: PLR0913, PLR0917  (an option each)
    models: Annotated[
        list[Path],
        typer.Option(
            "-m",
            "--model",
            metavar="MODEL",
            help="Model file or run folder; several models are averaged.",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the label maps.")],
    scans: Scans = None,
    overrides: InferenceOverrides = None,
    t1n: Channel = None,
    t1c: Channel = None,
    t2w: Channel = None,
    t2f: Channel = None,
    images: Images = None,
    tta: Annotated[
        bool | None,
        typer.Option(
            "--tta/--no-tta",
            help="Test-time augmentation: mean over mirrored copies.",
            show_default="as in the model",
        ),
    ] = None,
    overlap: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Overlap of neighbouring windows, from 0 to below 1.",
            show_default="as in the model",
        ),
    ] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also write a probability map for each region.")
    ] = False,
    uncertainty: Annotated[
        bool,
        typer.Option(
            "--uncertainty",
            help="Also write maps of the entropy of each region and, with --tta or several models, "
            "of the disagreement of copies and models.",
        ),
    ] = False,
    preview: Annotated[
        bool,
        typer.Option(
            "--preview/--no-preview", help="Draw each case, and contact sheets of all cases."
        ),
    ] = True,
    report: WithReport = False,
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="auto, cpu, cuda, cuda:1 or mps.")
    ] = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Segment finished cases again.")
    ] = False,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Label scheme to write.", show_default="that of the model"
        ),
    ] = None,
    fold: Fold = None,
    data_root: DataRoot = None,
    patient_regex: PatientRegex = None,
    names: Names = None,
    label_name: LabelName = None,
    spacing: SpacingMm = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="K/N",
            help="Segment share K of N of the cases, such as 2/8; other processes do the others.",
            show_default="every case",
        ),
    ] = None,
    native: Annotated[
        str | None,
        typer.Option(
            metavar="[CHANNEL]",
            help="Also write label maps on the original grid of a channel, of several with commas, "
            "or of all, of cases of volseg prepare; without a name, of the channel that the others "
            "were registered to.",
            show_default=False,
        ),
    ] = None,
    prepare: Annotated[
        bool,
        typer.Option(
            "--prepare",
            help="Prepare raw scans first, into OUTPUT/prepared, as volseg prepare does; implies "
            "--native. For its other options, run the two commands.",
        ),
    ] = False,
    strip: Annotated[
        str | None,
        typer.Option(
            metavar="METHOD",
            help="With --prepare: how the brain is found: auto, mask, none, a folder of masks or a "
            "command; see volseg prepare --help.",
            show_default="auto",
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="SPACE",
            help="With --prepare: what the channels are registered to: a channel, an atlas as a "
            "file, or mni.",
            show_default="the first of t1c, t1n, t2f, t2w, ct",
        ),
    ] = None,
    slurm: Slurm = None,
    dry_run: DryRun = False,
) -> None:
    """Segment scans, each result on the grid of its input.

    Each 2D image gets a mask with the name of the image: in a folder for each
    case, or in the output folder if each case is a single image. The mask of a
    JPEG is a PNG.

    volumes.csv holds volume, number of lesions and largest diameters of each
    region; previews.png shows all cases, and the folder previews each case in
    three planes.

    If a case fails, it is named and the next case is segmented; the exit code
    is then 3. Existing results are kept, so the same command resumes a stopped
    run, also with --overwrite. Results of changed images are made again;
    results of another patient with the same name, of other models or of other
    options are refused.

    N processes share the cases with --shard 1/N to --shard N/N, at the same
    time or in turn, on any machines that write to the same folder. The result
    is the same as from one process. On a cluster, --slurm shards=N submits a
    job array; its script and logs are in the folder slurm of the output.

    Examples:
      volseg infer scans -m runs/brats_unet -o results
      volseg infer scans/BraTS-GLI-00001-000 -m model.safetensors -o results --tta
      volseg infer --t1n a.nii --t1c b.nii --t2w c.nii --t2f d.nii -m run -o out
      volseg infer flair.nii.gz -m flair.safetensors -o results
      volseg infer scans -m fold0.safetensors -m fold1.safetensors -o results
      volseg infer scans -m model.safetensors -o results --shard 2/8
      volseg infer scans -m runs/brats_unet -o results --slurm shards=8
      volseg infer prepared -m runs/brats_unet -o results --native all
      volseg infer raw_scans -m runs/brats_unet -o results --prepare
      volseg infer scans inference.overlap=0.25 -m runs/brats_unet -o results
    """
    files = images_by_channel({"t1n": t1n, "t1c": t1c, "t2w": t2w, "t2f": t2f}, images)
    given, words = scans_and_overrides(scans, files, overrides, "segment")
    words += _override_words(tta, overlap)
    _check_prepare(
        given,
        prepare=prepare,
        only={"--strip": strip, "--to": to},
        other={"--slurm": slurm, "--shard": shard, "--spacing": spacing},
    )
    if slurm is not None:
        if not isinstance(given, Path):
            raise ConfigError(
                "--slurm shares the cases of a folder, but the files of a single case are given"
            )
        flags = {"--probabilities": probabilities, "--uncertainty": uncertainty}
        flags |= {"--no-preview": not preview}
        flags |= {"--report": report, "--overwrite": overwrite}
        named = {"--device": device, "--labels": labels, "--shard": shard}
        named |= {"--patient-regex": patient_regex, "--label-name": label_name}
        named |= {"--spacing": spacing, "--native": native}
        words += as_words(flags, named)
        words += [f"--name={name}" for name in names or ()]
        from volseg.config import read_slurm
        from volseg.slurm.submission import InferCall, submit_infer

        call = InferCall(given, models, output, fold, data_root, words)
        report_job(submit_infer(call, read_slurm(slurm), dry_run=dry_run))
        return
    check_dry_run(dry_run)

    from volseg.inference.options import InferOptions
    from volseg.tasks.infer import infer as run_infer

    check_report(output, asked=report)
    signals.record_interrupts()
    options = InferOptions(
        probabilities=probabilities,
        uncertainty=uncertainty,
        preview=preview,
        device=device,
        overwrite=overwrite,
        labels=labels,
        fold=fold,
        data_root=data_root,
        overrides=tuple(words),
        patient_regex=patient_regex,
        names=tuple(names or ()),
        label_name=label_name,
        spacing_mm=sizes(spacing),
        shard=shard,
        native=native,
    )
    if prepare and isinstance(given, Path):
        result = _prepared_first(given, models, output, options, strip, to)
    else:
        result = run_infer(
            given, models, output, options, stop=lambda: signals.received() is not None
        )
    print_result(result, output)
    if result.stopped:
        say("Stopped by a signal: the same command segments the remaining cases")
        raise typer.Exit(signals.exit_code())
    print_look_at_first(result, models)
    undrawn = write_report(result, output, asked=report)
    if result.done or result.kept:
        print_next(result, given, output, fold, prepared_here=prepare)
    if undrawn or result.failures:
        raise typer.Exit(EXIT_SOME_FAILED)


def _check_prepare(
    scans: Path | Mapping[str, Path],
    *,
    prepare: bool,
    only: Mapping[str, str | None],
    other: Mapping[str, object],
) -> None:
    """Refuse options that belong to --prepare without it, and those that do not go with it."""
    if not prepare:
        for name in (name for name, value in only.items() if value is not None):
            raise ConfigError(f"{name} is given without --prepare", remedy="give both, or neither")
        return
    if not isinstance(scans, Path):
        raise ConfigError(
            "--prepare takes a folder of cases, but the files of a single case are given",
            remedy="put them into a folder, such as P7/P7-t1c.nii.gz, and give P7",
        )
    for name in (name for name, value in other.items() if value is not None):
        raise ConfigError(
            f"--prepare and {name} are given, which do not go together",
            remedy="run volseg prepare first, then volseg infer on the prepared cases",
        )


def _prepared_first(
    scans: Path, models: Sequence[Path], output: Path, options: InferOptions, *how: str | None
) -> InferResult:
    """Segment raw scans; `how` are the values of --strip and --to."""
    from volseg.tasks.infer_raw import infer_raw
    from volseg.tasks.prepare import PrepareOptions

    strip, to = how
    steps = PrepareOptions(to=to, strip=strip or "auto")
    return infer_raw(
        *(scans, models, output, options, steps),
        stop=lambda: signals.received() is not None,
        between=lambda prepared: print_prepared(prepared, drawn=options.preview),
    )


def _override_words(tta: bool | None, overlap: float | None) -> list[str]:
    """The overrides that --tta and --overlap stand for."""
    named = {"tta": None if tta is None else str(tta).lower(), "overlap": overlap}
    return [f"inference.{name}={value}" for name, value in named.items() if value is not None]
