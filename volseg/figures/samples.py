"""Picture of sample cases, chosen by score and never by hand: best, median and worst."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from matplotlib.figure import Figure

from volseg.cases.channels import channel_of
from volseg.figures.annotations import BOTTOM_INCHES, TOP_INCHES, draw_heading, draw_legend
from volseg.figures.case_view import Box, CaseView, choose_slices
from volseg.figures.colours import region_colours
from volseg.figures.figure_files import optional_picture, save_figure
from volseg.figures.slice_panel import draw_image, draw_outlines, draw_sides, panel_inches
from volseg.files.writing import remove
from volseg.metrics import ScoreTable

#: Number of cases in the picture, at most.
SAMPLES = 3

_COLUMNS = ("image", "reference", "prediction", "both")
_PANEL_INCHES = 2.4
_WORDS_INCHES = 0.24
_SHOWN_FIRST = "t2f"
# Means of equal scores may differ in their last digit.
_EQUAL_WITHIN = 1e-12


#: `{case_id: {region: Dice}}`
Dice = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Sample:
    """A row of the picture.

    Attributes:
        rank: Rank of the case, such as `best`; see `choose_samples`.
        view: View of the case.
        dice: Dice by region, of the whole case.
    """

    rank: str
    view: CaseView
    dice: Mapping[str, float]

    @property
    def channel(self) -> str:
        """Name of the shown channel."""
        return shown_channel(self.view.images)

    @property
    def note_on_empty_masks(self) -> str:
        """Text if the reference, the prediction or both are empty; else empty."""
        (reference, _), (prediction, _) = self.view.masks
        sides = {"in the reference": reference, "in the prediction": prediction}
        empty = [
            side
            for side, masks in sides.items()
            if masks and not any(mask.any() for mask in masks.values())
        ]
        return f", nothing {' or '.join(empty)}" if empty else ""

    @cached_property
    def index(self) -> int:
        """Index of the shown slice: largest area of the reference, or else of the prediction."""
        return choose_slices(self.view.target, 1)[0]


def shown_channel(channels: Iterable[str]) -> str:
    """Channel to show: t2f, which shows the whole tumour best, or else the first channel."""
    names = list(channels)
    # A window follows the name of its channel.
    shown = (name for name in names if channel_of(name.partition(",")[0]) == _SHOWN_FIRST)
    return next(shown, names[0])


def dice_by_case(table: ScoreTable) -> dict[str, dict[str, float]]:
    """`{case_id: {region: Dice}}` of the scored cases."""
    dice: dict[str, dict[str, float]] = {}
    for row in table.rows:
        if (value := row["dice"]) is not None:
            dice.setdefault(row.case_id, {})[row.region] = value
    return dice


def choose_samples(dice: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    """Cases with the highest, middle and lowest mean Dice over regions; equal means by name.

    For an even number of cases, the lower of the two middle cases is the median. If all cases have
    the same mean, the first, middle and last case by name are chosen.

    Args:
        dice: `{case_id: {region: Dice}}`.

    Returns:
        `{"best": case_id, "median": ..., "worst": ...}`, or `{"first": ..., "middle": ...,
        "last": ...}` for equal means; two cases have no middle entry, and a single case is
        `{"only": ...}`.

    >>> choose_samples({"a": {"WT": 0.5}, "b": {"WT": 0.9}, "c": {"WT": 0.7}, "d": {"WT": 0.8}})
    {'best': 'b', 'median': 'c', 'worst': 'a'}
    """
    means = _means(dice)
    ordered = sorted(means, key=lambda case: (-means[case], case))
    if len(ordered) < 2:
        return dict(zip(["only"], ordered, strict=False))
    names = ("first", "middle", "last") if _all_equal(means) else ("best", "median", "worst")
    places = dict(zip(names, (0, len(ordered) // 2, len(ordered) - 1), strict=True))
    if len(ordered) == 2:
        del places[names[1]]
    return {rank: ordered[place] for rank, place in places.items()}


def samples_title(subject: str, dice: Mapping[str, Mapping[str, float]]) -> str:
    """Heading of the picture, which says so if all cases have the same mean Dice.

    >>> samples_title("Cases", {"a": {"WT": 0.5}, "b": {"WT": 0.9}})
    'Cases, chosen by Dice'
    >>> samples_title("Cases", {"a": {"WT": 0.0}, "b": {"WT": 0.0}})
    'Cases, all 2 with the same mean Dice of 0.000'
    """
    means = _means(dice)
    if len(means) < 2 or not _all_equal(means):
        return f"{subject}, chosen by Dice"
    mean = next(iter(means.values()))
    return f"{subject}, all {len(means)} with the same mean Dice of {mean:.3f}"


def _means(dice: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {case: sum(of.values()) / len(of) for case, of in dice.items() if of}


def _all_equal(means: Mapping[str, float]) -> bool:
    return max(means.values()) - min(means.values()) < _EQUAL_WITHIN


def sample_grid(samples: Sequence[Sample], title: str) -> Figure:
    """A row for each sample: image alone, with reference, with prediction, and with both.

    Each row shows the slice with the largest area of the reference, or else of the prediction.
    """
    boxes = [sample.view.box(sample.index) for sample in samples]
    heights = [
        min(panel_inches(sample.view, box, _PANEL_INCHES), 2 * _PANEL_INCHES)
        for sample, box in zip(samples, boxes, strict=True)
    ]
    top = TOP_INCHES + 0.1
    total = top + sum(heights) + _WORDS_INCHES * len(samples) + BOTTOM_INCHES
    figure = Figure(figsize=(4 * _PANEL_INCHES, total), dpi=100, facecolor="black")
    draw_heading(figure, title)
    for number, column in enumerate(_COLUMNS):
        place = (number + 0.5) / 4, 1 - (top - 0.04) / total
        figure.text(*place, column, color="white", fontsize=9, ha="center", va="bottom")
    colours = region_colours(region for s in samples for region in s.view.regions)
    y = total - top
    for sample, box, height in zip(samples, boxes, heights, strict=True):
        y -= height + _WORDS_INCHES
        _draw_row(figure, sample, box, (y, height), colours)
    draw_legend(figure, colours, {style for s in samples for masks, style in s.view.masks if masks})
    return figure


def _draw_row(
    figure: Figure, sample: Sample, box: Box, place: tuple[float, float], colours: Mapping[str, str]
) -> None:
    view, index, total = sample.view, sample.index, figure.get_figheight()
    (reference, dashed), (prediction, solid) = view.masks
    shown = [{}, {dashed: reference}, {solid: prediction}, {dashed: reference, solid: prediction}]
    y, height = place
    for number, outlines in enumerate(shown):
        panel = figure.add_axes((number / 4 + 0.002, y / total, 0.246, height / total))
        panel.set_axis_off()
        draw_image(panel, view, sample.channel, index, box)
        for style, masks in outlines.items():
            draw_outlines(panel, masks, index, box, colours, style)
        draw_sides(panel, view)
    scores = ", ".join(f"{region} {dice:.3f}" for region, dice in sample.dice.items())
    line = (
        f"{sample.rank}: {view.name}, Dice {scores}{sample.note_on_empty_masks}; "
        f"{view.slice_name(index)}, {sample.channel}"
    )
    figure.text(0.006, (y + height + 0.05) / total, line, color="white", fontsize=8, va="bottom")


def draw_samples(path: Path, dice: Dice, view_of: Callable[[str], CaseView], subject: str) -> None:
    """Draw the best, the median and the worst case, chosen by mean Dice over regions.

    An error, such as an image that cannot be read, is logged, and no picture is written.

    Args:
        path: Picture to write; an older picture is removed.
        dice: `{case_id: {region: Dice}}`.
        view_of: Function from a case id to the view of the case; called for the chosen cases.
        subject: Name of the cases in the heading.
    """
    remove(path)
    with optional_picture(path):
        samples = [
            Sample(rank, view_of(case_id), dice[case_id])
            for rank, case_id in choose_samples(dice).items()
        ]
        if samples:
            save_figure(sample_grid(samples, samples_title(subject, dice)), path)
