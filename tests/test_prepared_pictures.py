"""The pictures of `prepare`: colours by role, several heights, and channels that lack a part."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image
from prepared_cases import header_on

from volseg.cli.prepared_tables import print_prepared
from volseg.errors import RegistrationError
from volseg.figures.colours import ANATOMY_COLOUR, ATLAS_COLOUR, BRAIN_COLOUR
from volseg.images.grid import Grid
from volseg.preparation import pictures
from volseg.preparation.record import (
    FileMark,
    MaskRecord,
    PreparationRecord,
    PreparedChannel,
    RecordedGrid,
    matrix_rows,
)
from volseg.preparation.sources import Source
from volseg.preparation.steps import Log, known_in
from volseg.preparation.volume import Volume

GRID = Grid((40, 44, 50), np.diag([4.0, 4.0, 4.0, 1.0]))
COLOURS = {"brain": BRAIN_COLOUR, "anatomy": ANATOMY_COLOUR, "atlas": ATLAS_COLOUR}


@pytest.fixture
def head():
    """A head in two channels, and its brain in slices 5 to 44."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 9, GRID.shape).astype(np.int16)
    brain = np.zeros(GRID.shape, bool)
    brain[10:30, 10:34, 5:45] = True
    values[6:34, 6:38, 2:48] = 90
    values[brain] = 60
    values[14:20, 14:30, 10:40] = 99
    return {"t1c": values, "t2f": values}, brain


def record(coverage=1.0, *, stripped=True):
    mark = FileMark(path="P1.nii.gz", bytes=1, time_ns=1, changed_ns=1, sha256="0" * 64)
    grid = RecordedGrid.of(GRID, header_on(GRID))
    part = {"source": "s", "native": grid, "matrix": matrix_rows(np.eye(4)), "quality": {}}
    channels = {
        "t1c": PreparedChannel(alignment="reference", file=mark, **part),
        "t2f": PreparedChannel(
            alignment="registered", moved_mm=9.5, coverage=coverage, file=mark, **part
        ),
    }
    return PreparationRecord(
        volseg="0",
        case_id="P1",
        options={},
        sources=(mark,),
        reference="t1c",
        space="t1c",
        grid=grid,
        channels=channels,
        mask=MaskRecord(method="HD-BET", volume_ml=1200.0) if stripped else None,
        steps=(),
        seconds=1.0,
    )


@pytest.mark.parametrize(
    ("stripped", "atlas"), [(True, False), (True, True), (False, False), (False, True)]
)
def test_a_colour_means_the_same_in_each_picture(head, tmp_path, stripped, atlas):
    heads, brain = head
    moved = np.roll(brain, 3, axis=0)
    outlines = {"brain": brain} if stripped else {}
    outlines |= {"MNI152": moved} if atlas else {}

    pictures.draw_case(tmp_path / "P1.png", record(stripped=stripped), heads, outlines)

    pixels = np.asarray(Image.open(tmp_path / "P1.png").convert("RGB"))
    shown = {
        role
        for role, colour in COLOURS.items()
        if (np.abs(pixels - np.array(to_rgb(colour)) * 255).max(axis=2) < 2).sum() > 20
    }
    expected = {"anatomy", *(["brain"] if stripped else []), *(["atlas"] if atlas else [])}
    assert shown == expected


def test_axial_slices_are_spread_over_the_brain_and_the_caption_explains_the_lines(
    head, tmp_path, monkeypatch
):
    heads, brain = head
    drawn = []
    draw = pictures.draw_sections

    def noted(sections, *words, **looks):
        drawn.extend(sections)
        return draw(sections, *words, **looks)

    monkeypatch.setattr(pictures, "draw_sections", noted)

    pictures.draw_case(tmp_path / "P1.png", record(0.53), heads, {"brain": brain})

    planes = [view.plane for view, _ in drawn]
    numbers = [int(view.slice_name(index).split()[-1]) for view, index in drawn[:5]]
    assert planes == [*["axial"] * 5, "coronal", "sagittal"]
    # Of 40 slices with brain, from the 6th: the middles of five parts of 8.
    assert numbers == [42, 34, 26, 18, 10]
    view = drawn[0][0]
    assert list(view.images) == ["t1c, reference", "t2f, 53% of the brain, moved 9.5 mm"]
    assert "Orange, the brain" in view.meaning_of_lines
    assert "Pink" not in view.meaning_of_lines


def test_a_channel_that_covers_a_part_of_the_brain_is_said_in_the_table(capsys, tmp_path):
    result = SimpleNamespace(done={"P1": record(0.53)}, failures={}, kept=(), folder=tmp_path)

    print_prepared(result, drawn=False)

    assert "t1c, t2f (53% of the brain)" in capsys.readouterr().out


def test_the_share_of_the_brain_that_a_channel_covers_is_measured_and_noted(head):
    _, brain = head
    log = Log("P1")

    def known(slices):
        part = Grid((40, 44, slices), GRID.affine)
        source = Source("s", Volume(np.ones(part.shape), part), None)
        return known_in("t2f", source, np.eye(4), GRID, brain, log)

    assert known(50) == (None, 1.0)
    mask, share = known(35)

    assert share == 30 / 40
    assert mask[..., :35].all()
    assert not mask[..., 35:].any()
    assert log.notes[0].startswith("t2f covers 75% of the brain and is 0 in the rest")
    with pytest.raises(RegistrationError, match="t2f covers only 38% of the brain"):
        known(20)
