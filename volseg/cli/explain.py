"""Command `explain`, and the tables of layers and of the shares of channels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from volseg import signals
from volseg.cli.app import USE, command, fail_if_some_failed
from volseg.cli.next_steps import line, next_steps
from volseg.cli.options import (
    DataRoot,
    Fold,
    LabelName,
    Names,
    PatientRegex,
    SpacingMm,
    sizes,
)
from volseg.cli.scans import (
    Channel,
    Images,
    InferenceOverrides,
    Scans,
    images_by_channel,
    scans_and_overrides,
)
from volseg.cli.tables import print_table, say
from volseg.errors import ConfigError
from volseg.words import cases_in_words, number_of

if TYPE_CHECKING:
    from volseg.tasks.explain import ExplainResult

# Value of --layer that prints the layers, and number of pictures that are named.
_LIST, _PICTURES = "list", 3


@command(USE)
def explain(  # noqa: PLR0913, PLR0917  (an option each)
    models: Annotated[
        list[Path],
        typer.Option(
            "-m",
            "--model",
            metavar="MODEL",
            help="Model file or run folder; the maps of several models are averaged.",
        ),
    ],
    scans: Scans = None,
    overrides: InferenceOverrides = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Folder for the maps; needed except for --layer list.",
            show_default=False,
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            metavar="METHOD",
            help="grad-cam, saliency, smooth-grad, integrated-gradients or occlusion.",
        ),
    ] = "grad-cam",
    regions: Annotated[
        list[str] | None,
        typer.Option(
            "--region",
            metavar="NAMES",
            help="Regions to explain, such as ET or WT,TC; repeatable.",
            show_default="all",
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Layer that grad-cam shows; list prints the layers of the model.",
            show_default="the last of a resolution near 1/8",
        ),
    ] = None,
    at_maximum: Annotated[
        bool,
        typer.Option(
            "--at-maximum",
            help="Explain the voxel of highest probability instead of the predicted region.",
        ),
    ] = False,
    samples: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Noisy copies that smooth-grad averages over.",
            show_default="16",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Steps of integrated-gradients from evenly dark tissue to the scan.",
            show_default="32",
        ),
    ] = None,
    box: Annotated[
        float | None,
        typer.Option(
            metavar="MM",
            help="Side of the boxes of occlusion.",
            show_default="the smallest of about 8 mm or more that needs at most 1,500 windows",
        ),
    ] = None,
    t1n: Channel = None,
    t1c: Channel = None,
    t2w: Channel = None,
    t2f: Channel = None,
    images: Images = None,
    pictures: Annotated[
        bool, typer.Option("--preview/--no-preview", help="Draw each map over its scan.")
    ] = True,
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="auto, cpu, cuda, cuda:1 or mps.")
    ] = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Make maps again that are there already.")
    ] = False,
    fold: Fold = None,
    data_root: DataRoot = None,
    patient_regex: PatientRegex = None,
    names: Names = None,
    label_name: LabelName = None,
    spacing: SpacingMm = None,
) -> None:
    """Show which parts of a scan the prediction of each region rests on.

    For each case and region, CASE_REGION_METHOD.nii.gz is a map on the grid of
    the scan, whose largest absolute value is 1, and CASE_REGION_METHOD.png shows
    it over the scan, with the outline of the region in the prediction and, if a
    label map lies beside the scan, in the reference. Where a method divides its
    map among the channels, channel_shares.csv holds the share of each.

    A map shows what this model used; it does not show that the prediction is
    right. Every method has its limits: see the page "What each map can and
    cannot tell" of the documentation.

    A region that is not predicted has no map, unless --at-maximum explains the
    voxel where it is most probable, in files CASE_REGION_METHOD-at-maximum. If
    a case or a region fails, it is named and the next begins; the exit code is
    then 3. Maps of the same scan, model and options are kept, so the same
    command resumes a stopped run.

    Examples:
      volseg explain scans/BraTS-GLI-00001-000 -m runs/brats_unet -o maps
      volseg explain scans -m model.safetensors --region ET --method saliency -o maps
      volseg explain scans/P7 -m runs/brats_unet --method occlusion -o maps
      volseg explain -m runs/brats_unet --layer list
      volseg explain brats2021.json --fold 0 -m runs/unet --at-maximum -o maps
    """
    if layer == _LIST:
        for model in models:
            _print_layers(model)
        return
    files = images_by_channel({"t1n": t1n, "t1c": t1c, "t2w": t2w, "t2f": t2f}, images)
    given, words = scans_and_overrides(scans, files, overrides, "explain")
    if output is None:
        raise ConfigError("no folder for the maps is given", remedy="give one with -o")

    from volseg.attribution.methods import ExplainOptions
    from volseg.tasks.explain import explain as run_explain

    signals.record_interrupts()
    options = ExplainOptions(
        method=method,
        layer=layer,
        at_maximum=at_maximum,
        **_given(method, samples, steps),
        box_mm=box,
        regions=tuple(name.strip() for listed in regions or () for name in listed.split(",")),
        pictures=pictures,
        device=device,
        overwrite=overwrite,
        overrides=tuple(words),
        fold=fold,
        data_root=data_root,
        patient_regex=patient_regex,
        names=tuple(names or ()),
        label_name=label_name,
        spacing_mm=sizes(spacing),
    )
    result = run_explain(
        given, models, output, options, stop=lambda: signals.received() is not None
    )
    _print_result(result, options.kind, output)
    if result.stopped:
        without = " without --overwrite" if overwrite else ""
        say(f"Stopped by a signal: the same command{without} makes the remaining maps")
        raise typer.Exit(signals.exit_code())
    _print_next(result)
    fail_if_some_failed(result.failures)


def _given(method: str, samples: int | None, steps: int | None) -> dict[str, int]:
    """Options that are given of the methods of one option each; ConfigError for another method."""
    of_methods = {"samples": (samples, "smooth-grad"), "steps": (steps, "integrated-gradients")}
    found = {name: (value, of) for name, (value, of) in of_methods.items() if value is not None}
    for name, (value, of) in found.items():
        if method != of:
            raise ConfigError(
                f"--{name} is {value}, but {method} does not use it",
                remedy=f"leave it out, or use --method {of}",
            )
    return {name: value for name, (value, _) in found.items()}


def _print_layers(model: Path) -> None:
    from volseg.tasks.explain import layers

    found, default = layers(model)
    print_table(
        f"Layers of {model}",
        ("layer", "resolution", "features", ""),
        [
            (
                one.name,
                f"1/{1 / one.resolution:g}" if one.resolution < 1 else "as the image",
                one.channels,
                "default" * (one == default),
            )
            for one in found
        ],
    )


def _print_next(result: ExplainResult) -> None:
    steps = {}
    if result.pictures:
        steps["look at the maps"] = list(map(str, result.pictures[:_PICTURES]))
    if result.example is not None:
        image, of_image = result.example
        steps["look at a map slice by slice"] = [line("itksnap", "-g", image, "-o", of_image)]
    next_steps(steps)


def _print_result(result: ExplainResult, kind: str, output: Path) -> None:
    if result.shares:
        _print_shares(result, kind)
    made = number_of(sum(map(len, result.done.values())), "map")
    words = f"{made} of {cases_in_words(len(result.done))} made"
    if result.kept and not result.done and not result.failures:
        words = f"all {number_of(sum(map(len, result.kept.values())), 'map')} kept"
    failed = f", {cases_in_words(len(result.failures))} with a failure" if result.failures else ""
    say(f"{words}{failed}; maps and {result.record.name} are in {output}")
    say("A map does not show that the prediction is right: see docs/explanation/maps.md of volseg")


def _print_shares(result: ExplainResult, kind: str) -> None:
    every = [of for case in result.shares.values() for of in case.values()]
    channels = list(dict.fromkeys(name for of in every for name in of))
    has_boxes = any(result.boxes_mm.values())
    rows = [
        (
            *(case_id, region),
            *(f"{100 * of[name]:.0f}" if name in of else "-" for name in channels),
            *([f"{result.boxes_mm[case_id][region]:g}"] if has_boxes else []),
        )
        for case_id, case in result.shares.items()
        for region, of in case.items()
    ]
    columns = ("case", "region", *channels, *(["box, mm"] if has_boxes else []))
    print_table(f"Share of each channel in {kind}, in %", columns, rows)
