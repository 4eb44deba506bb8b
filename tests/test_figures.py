from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from volseg.errors import OutputError
from volseg.figures.canvas import Canvas, Frame
from volseg.figures.case_view import CaseView, choose_slices
from volseg.figures.colours import REGION_COLOURS, region_colours
from volseg.figures.error_map import error_map
from volseg.figures.figure_files import figure_array, save_figure
from volseg.figures.grey_images import GreyImages
from volseg.figures.greys import as_greys, grey_window
from volseg.figures.looks import Look
from volseg.figures.montage import gallery, montage
from volseg.figures.overlay import overlay_figure
from volseg.figures.panels import draw_sections
from volseg.figures.samples import Sample, sample_grid
from volseg.images.case_images import CaseImages
from volseg.images.grid import Grid


@pytest.fixture
def brain():
    image = np.zeros((30, 30, 12), dtype=np.float32)
    image[3:27, 3:27, 2:10] = 100.0
    return image


@pytest.fixture
def block():
    mask = np.zeros((30, 30, 12), dtype=bool)
    mask[10:20, 10:20, 4:8] = True
    return mask


def picture(*args, **options):
    return figure_array(montage(*args, title="", **options))


def pixels(array, colour):
    """Where a grey picture has a touch of a colour: its hue, whatever it is blended with."""
    hue = np.array(to_rgb(colour)) - np.mean(to_rgb(colour))
    tint = array / 255 - (array / 255).mean(axis=2, keepdims=True)
    along = tint @ (hue / np.linalg.norm(hue))
    return (along > 0.1) & (along > 0.97 * np.linalg.norm(tint, axis=2))


def panels(array):
    """The picture without titles, legend and disclaimer."""
    return array[75:-60]


def test_outlines_have_the_colour_of_their_region(brain, block):
    drawn = panels(picture({"t1n": brain}, None, {"WT": block}, slices=1))

    assert pixels(drawn, REGION_COLOURS["WT"]).sum() > 100
    assert not pixels(drawn, REGION_COLOURS["ET"]).any()


def test_nothing_is_outlined_without_masks(brain, block):
    plain = panels(picture({"t1n": brain}, None, None, slices=1))
    empty = panels(picture({"t1n": brain}, None, {"WT": np.zeros_like(block)}, slices=1))

    assert not pixels(plain, REGION_COLOURS["WT"]).any()
    assert not pixels(empty, REGION_COLOURS["WT"]).any()


def test_reference_is_dashed_and_prediction_is_solid(brain, block):
    colour = REGION_COLOURS["WT"]
    reference = pixels(panels(picture({"t1n": brain}, {"WT": block}, None, slices=1)), colour)
    prediction = pixels(panels(picture({"t1n": brain}, None, {"WT": block}, slices=1)), colour)

    def gaps(mask):
        row = mask[np.flatnonzero(mask.any(axis=1))[0] + 1]
        inside = row[np.flatnonzero(row)[0] : np.flatnonzero(row)[-1] + 1]
        return np.count_nonzero(np.diff(inside.astype(int)) == -1)

    assert gaps(reference) > 3
    assert gaps(prediction) == 0


def test_patient_left_is_on_the_right_and_front_is_at_the_top(brain):
    left_front = np.zeros(brain.shape, dtype=bool)
    left_front[5:9, 20:25, 4:8] = True  # low I is left, high J is front

    drawn = pixels(panels(picture({"t1n": brain}, None, {"WT": left_front}, slices=1)), "#56B4E9")

    rows, columns = np.nonzero(drawn)
    assert rows.mean() < drawn.shape[0] / 2
    assert columns.mean() > drawn.shape[1] / 2


def test_background_is_black_even_where_the_brain_is_negative(brain):
    ramp = np.linspace(-2, 2, 30, dtype=np.float32)[:, None, None]  # bright on the right: high I

    drawn = panels(picture({"t1n": np.where(brain > 0, ramp, 0)}, None, None, slices=1))

    margin, line = drawn[5, 265:355, 0], drawn[drawn.shape[0] // 2, 165:335, 0].astype(int)
    assert not margin.any()
    assert line[0] > 200
    assert line[-1] < 55


def test_slices_show_the_reference_where_there_is_one(block):
    elsewhere = np.roll(block, 3, axis=2)
    image = np.ones(block.shape)

    both = montage({"t1n": image}, {"WT": block}, {"WT": elsewhere}, "", slices=1)
    missed = montage({"t1n": image}, {"WT": block & False}, {"WT": elsewhere}, "", slices=1)

    def shown(figure):
        return next(t.get_text() for t in figure.axes[0].texts if "slice" in t.get_text())

    assert shown(both) == "axial slice 5"
    assert shown(missed) == "axial slice 8"


def test_slices_hold_the_fullest_and_spread_over_the_rest():
    mask = np.zeros((10, 10, 20), dtype=bool)
    mask[0, :2, 5:15] = True
    mask[:, :, 13] = True

    assert choose_slices(mask, 1) == [13]
    assert choose_slices(mask, 3)[0] == 13
    assert choose_slices(mask & False, 3) == [10]


def test_channels_are_columns_and_slices_are_rows(brain, block):
    figure = montage({"t1n": brain, "t1c": brain}, {"WT": block}, None, "Case 7", slices=3)

    titles = [panel.get_title() for panel in figure.axes]
    assert titles == ["t1n", "t1c", "", "", "", ""]
    words = [text.get_text() for text in figure.texts]
    assert words == ["Case 7", "For research only, not for clinical use."]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["WT", "reference"]


def test_slices_keep_their_proportions(brain):
    square = montage({"t1n": brain}, None, None, "", slices=1)
    tall = montage({"t1n": brain}, None, None, "", slices=1, spacing_mm=(1.0, 2.0, 5.0))

    assert tall.get_figheight() - square.get_figheight() == pytest.approx(2.2)


def test_an_image_of_zeros_is_drawn_black():
    drawn = panels(picture({"t1n": np.zeros((8, 8, 4))}, None, None, slices=2))

    assert drawn[20:100, 200:300].max() == 0


def test_every_region_has_a_colour_of_its_own():
    colours = region_colours(["WT", "TC", "ET", "RC", "cyst", "bleeding"])

    assert len(set(colours.values())) == 6
    assert colours["ET"] == REGION_COLOURS["ET"]


def test_saved_picture_is_what_was_drawn(tmp_path, brain, block):
    from matplotlib.image import imread

    figure = montage({"t1n": brain}, {"WT": block}, None, "", slices=1)
    save_figure(figure, tmp_path / "case.png")

    saved = (imread(tmp_path / "case.png")[..., :3] * 255).round().astype(np.uint8)
    assert (saved == figure_array(figure)).all()
    assert [path.name for path in tmp_path.iterdir()] == ["case.png"]


def test_a_place_that_cannot_be_written_is_named(tmp_path, brain):
    figure = montage({"t1n": brain}, None, None, "", slices=1)

    with pytest.raises(OutputError, match=r"nowhere"):
        save_figure(figure, tmp_path / "nowhere" / "case.png")


def test_faint_noise_around_a_head_is_cut_off():
    head = np.zeros((40, 40, 3), dtype=np.uint8)
    head[10:30, 10:30] = 200
    noise = np.random.default_rng(0).integers(0, 9, head.shape).astype(np.uint8)

    (i, j, k) = CaseView({"t2f": np.maximum(head, noise)}).box()

    assert (i, j, k) == (slice(8, 32), slice(8, 32), slice(0, 3))


def test_the_box_of_a_normalised_image_holds_its_dark_tissue():
    image = np.zeros((40, 40, 3), dtype=np.float16)
    image[10:30, 10:30] = -1.5
    image[15:20, 15:20] = 2

    assert CaseView({"t2f": image}).box()[0] == slice(8, 32)


def test_the_box_of_a_slice_is_that_of_what_it_holds():
    image = np.ones((40, 40, 2))
    image[:, :, 1] = 0
    image[10:20, 10:20, 1] = 1

    assert CaseView({"t2f": image}).box(1)[0] == slice(8, 22)


def test_a_stack_of_one_slice_has_one_row():
    image = np.full((20, 20, 1), 7, dtype=np.uint8)

    figure = montage({"t2f": image}, {"foreground": image > 0}, None, "", slices=2)

    assert len(figure.axes) == 1


def test_no_text_of_a_gallery_lies_on_another(brain, block):
    flat = brain[:, :20]
    views = [
        CaseView({"t1n": image, "t1c": image}, {"WT": mask}, None, f"BraTS-GLI-9001{n}-000")
        for n, (image, mask) in enumerate(((brain, block), (flat, block[:, :20])))
    ]
    figure = gallery(views, "two cases")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()

    panels = [text for panel in figure.axes for text in (*panel.texts, panel.title)]
    texts = [text for text in (*panels, *figure.texts) if text.get_text()]
    boxes = [text.get_window_extent(canvas.get_renderer()) for text in texts]
    assert any("BraTS-GLI-90010-000, axial slice" in text.get_text() for text in texts)
    assert [one for n, one in enumerate(boxes) if any(map(one.overlaps, boxes[:n]))] == []


@pytest.mark.parametrize("name", ["gallery", "samples", "overlay", "errors"])
def test_letters_of_the_sides_stand_outside_the_image(brain, block, name):
    view = CaseView({"t2f": brain}, {"WT": block}, {"WT": block}, "case", (1.0, 2.0, 1.0))
    figure = {
        "gallery": lambda: gallery([view], "one case"),
        "samples": lambda: sample_grid([Sample("only", view, {"WT": 1.0})], "one case"),
        "overlay": lambda: overlay_figure(view, ["t2f"], [5], Look()),
        "errors": lambda: error_map(view, "one case"),
    }[name]()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()

    for panel in figure.axes:
        letters = {t.get_text(): t for t in panel.texts if t.get_text() in set("RLAP")}
        image = panel.images[0].get_window_extent(canvas.get_renderer())
        boxes = {of: t.get_window_extent(canvas.get_renderer()) for of, t in letters.items()}
        assert boxes["R"].x1 <= image.x0 < image.x1 <= boxes["L"].x0
        assert boxes["P"].y1 <= image.y0 < image.y1 <= boxes["A"].y0
        assert boxes["R"].x0 >= 0
        assert boxes["L"].x1 <= figure.bbox.x1
        assert image.height / image.width == pytest.approx(view.height(view.box(5)), rel=0.1)


def test_letters_of_the_sides_leave_the_pixels_of_a_slice_alone(brain):
    canvas = Canvas(100, 120, {})
    frame = Frame((slice(0, 20),) * 3, (30, 30), (40, 60))

    canvas.sides(CaseView({"t2f": brain}), frame, 12)

    assert not canvas.pixels[30:90, 30:70].any()
    around = (np.s_[30:90, :30], np.s_[30:90, 70:], np.s_[:30], np.s_[90:])
    assert all((canvas.pixels[part] > 150).any() for part in around)


@pytest.mark.parametrize("value", [1e-4, 7, 1000, 1e6])
def test_an_image_of_equal_values_is_white_on_black(value):
    image = np.zeros((4, 4, 4), np.float32)
    image[1:3] = value

    greys = as_greys(image, grey_window(image))

    assert np.unique(greys[1:3]).tolist() == [255]
    assert not greys[[0, 3]].any()


def test_the_head_is_sought_in_every_slice_of_a_short_stack():
    image = np.zeros((1, 200, 200, 2), np.float32)
    image[0, 90:100, 90:100, 0] = 5
    image[0, 20:180, 10:190, 1] = 5

    greys = GreyImages.of(CaseImages(image, Grid((200, 200, 2), np.eye(4)), None, ()), ["t2f"])

    assert np.count_nonzero(greys.greys["t2f"]) == np.count_nonzero(image)


def test_in_rows_of_panels_the_reference_is_dashed_and_the_prediction_solid(brain, block):
    def coloured(**masks):
        picture = draw_sections([(CaseView({"t1n": brain, "t2f": brain}, **masks), 5)], {})
        return pixels(picture.canvas.pixels[:-60], REGION_COLOURS["WT"]).sum()

    solid, dashed = coloured(prediction={"WT": block}), coloured(reference={"WT": block})

    assert 0.3 * solid < dashed < 0.9 * solid


def test_characters_that_the_font_lacks_are_boxes_without_a_warning(tmp_path):
    # Warnings are errors.
    canvas = Canvas(200, 40, {"WT": "red"})
    canvas.write("病人 1", (5, 30), 12)
    figure = Figure()
    figure.text(0, 0.5, "病人 1")

    for ending in ("png", "svg", "pdf", "jpg"):
        save_figure(figure, tmp_path / f"a.{ending}")

    assert canvas.pixels.any()
    assert canvas.width("病人 1", 12) > canvas.width(" 1", 12)
    assert (figure_array(figure) == 0).any()
