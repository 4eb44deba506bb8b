"""2D images in, masks out: values as stored, bad files named, what is written is read back."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from volseg import memory
from volseg.errors import GeometryError, ImageError, LabelError, OutputError, ResourceError
from volseg.images.bitmap import read_form
from volseg.images.slice_masks import (
    check_masks_have_room,
    mask_paths,
    read_stack_label_grid,
    read_stack_label_map,
    write_masks,
)
from volseg.images.slice_stack import read_stack, read_stack_grid

RGB = ("t1n", "t2f", "t1c")
#: 2 rows of 3 columns.
GREY = np.array([[10, 20, 30], [40, 50, 60]], np.uint8)
COLOURS = np.stack([GREY, GREY + 1, GREY + 2], axis=-1)


def save(path, values, mode=None, **options):
    """Write with Pillow, or with SimpleITK what Pillow cannot hold; returns the path."""
    values = np.asarray(values)
    if mode is None and values.ndim == 3 and values.dtype == np.uint16:
        image = SimpleITK.GetImageFromArray(values, isVector=True)
        SimpleITK.WriteImage(image, str(path))
    else:
        image = Image.fromarray(values)
        (image.convert(mode) if mode else image).save(path, **options)
    return path


def read(path, file_channels=("t2f",), channels=None):
    """Values (rows, columns, channels) of one slice, after a slice that makes them vary."""
    found = read_stack([path], file_channels, channels or file_channels, None)
    return found.array[..., 0].transpose(2, 1, 0)


def label_map_of(folder, *masks, name="{}.png", **options):
    """Label map (K, rows, columns) of masks written one after another."""
    paths = [save(folder / name.format(n), np.asarray(m), **options) for n, m in enumerate(masks)]
    return read_stack_label_map(paths, None)[0].transpose(2, 1, 0)


def tiff(path, values, photometric, bits=None, orientation=1):
    """A TIFF as other programs write it: values, 0 or 1 where there is 1 bit, as they are given."""
    values = np.asarray(values)
    bits = bits or values.dtype.itemsize * 8
    stored = np.packbits(values, axis=1).tobytes() if bits == 1 else values.tobytes()
    rows, columns = values.shape
    tags = [(256, columns), (257, rows), (258, bits), (259, 1), (262, photometric), (273, 8)]
    tags += [(274, orientation), (277, 1), (278, rows), (279, len(stored))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    head = struct.pack("<2sHI", b"II", 42, 8 + len(stored))
    path.write_bytes(head + stored + struct.pack("<H", len(tags)) + entries + bytes(4))
    return path


# The stack as a volume


def test_columns_rows_and_slices_are_the_axes(tmp_path):
    paths = [save(tmp_path / f"{n}.png", COLOURS + 100 * n) for n in range(2)]

    found = read_stack(paths, RGB, RGB, (0.5, 0.75, 5))

    assert found.array.shape == (3, 3, 2, 2)
    assert found.array.dtype == np.uint8
    # Channel t2f, third column, first row, second slice.
    assert found.array[1, 2, 0, 1] == 131
    assert np.array_equal(found.array[0, :, :, 0], GREY.T)
    assert found.slices == tuple(paths)
    assert (found.notes, found.missing) == ((), ())


def test_the_grid_is_that_of_a_radiological_picture(tmp_path):
    path = save(tmp_path / "a.png", GREY)

    found = read_stack([path, path], ["t2f"], ["t2f"], (0.5, 0.75, 5))

    assert found.grid.affine.tolist() == np.diag([-0.5, -0.75, 5, 1]).tolist()
    assert nib.aff2axcodes(found.grid.affine) == ("L", "P", "S")
    assert found.grid.shape == found.header.get_data_shape() == (3, 2, 2)
    assert found.header.get_zooms() == (0.5, 0.75, 5)
    assert found.header.get_xyzt_units()[0] == "mm"
    assert np.array_equal(found.header.get_best_affine(), found.grid.affine)
    unknown = read_stack([path], ["t2f"], ["t2f"], None)
    assert unknown.grid.spacing_mm == (1, 1, 1)
    assert unknown.header.get_xyzt_units()[0] == "unknown"


def test_channels_are_chosen_and_ordered_by_name(tmp_path):
    path = save(tmp_path / "a.png", COLOURS)

    assert read(path, RGB, ("t1c", "t1n"))[0, 0].tolist() == [12, 10]


def test_slices_lie_one_behind_another_in_memory(tmp_path):
    path = save(tmp_path / "a.png", COLOURS)

    found = read_stack([path, path], RGB, RGB, None).array

    assert found.transpose(0, 3, 2, 1).flags.c_contiguous


def test_headers_tell_the_grid_alone(tmp_path):
    path = save(tmp_path / "a.tif", COLOURS)
    expected = read_stack([path], RGB, ["t2f"], (2, 3, 4)).grid

    found = read_stack_grid([path], RGB, ["t2f"], (2, 3, 4))
    of_masks = read_stack_label_grid([path], (2, 3, 4))

    assert found.shape == of_masks.shape == expected.shape
    assert np.array_equal(found.affine, expected.affine)
    assert np.array_equal(of_masks.affine, expected.affine)


# Values as stored


@pytest.mark.parametrize("ending", ["tif", "TIFF", "png", "bmp"])
def test_eight_bits_are_read_as_stored(tmp_path, ending):
    assert np.array_equal(read(save(tmp_path / f"a.{ending}", GREY))[..., 0], GREY)
    assert np.array_equal(read(save(tmp_path / f"b.{ending}", COLOURS), RGB), COLOURS)


@pytest.mark.parametrize("ending", ["tif", "png"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_are_not_reduced_to_eight(tmp_path, ending, channels):
    values = np.random.default_rng(0).integers(0, 65536, (2, 3, channels)).astype(np.uint16)
    path = save(tmp_path / f"a.{ending}", values[..., 0] if channels == 1 else values)

    found = read(path, ("t2f", "t1n", "t1c", "t2w")[:channels])

    assert found.dtype == np.uint16
    assert np.array_equal(found, values)


def test_byte_order_is_that_of_the_machine(tmp_path):
    values = (GREY.astype(np.uint16) * 300).astype(">u2")
    content = struct.pack(">2sHI", b"MM", 42, 8) + struct.pack(">H", 8)
    tags = [(256, 3), (257, 2), (258, 16), (259, 1), (262, 1), (273, 110), (278, 2), (279, 12)]
    content += b"".join(struct.pack(">HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    content += bytes(4)
    (tmp_path / "a.tif").write_bytes(content.ljust(110, b"\0") + values.tobytes())

    found = read(tmp_path / "a.tif")

    assert found.dtype == np.dtype(np.uint16)
    assert found.dtype.isnative
    assert np.array_equal(found[..., 0], values)


@pytest.mark.parametrize("dtype", [np.int16, np.uint32, np.float32])
def test_other_numbers_of_tiff_are_read_as_stored(tmp_path, dtype):
    values = (GREY.astype(np.float64) * (7e7 if dtype == np.uint32 else -1.5)).astype(dtype)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), str(tmp_path / "a.tif"))

    assert np.array_equal(read(tmp_path / "a.tif")[..., 0], values)


@pytest.mark.parametrize("ending", ["png", "tif", "bmp"])
def test_one_bit_is_nought_or_one(tmp_path, ending):
    found = read(save(tmp_path / f"a.{ending}", GREY > 25))

    assert found.dtype == np.uint8
    assert found[..., 0].tolist() == [[0, 0, 1], [1, 1, 1]]


@pytest.mark.parametrize("bits", [2, 4])
def test_few_bits_are_not_spread(tmp_path, bits):
    values = np.array([[0, 1, 2], [3, 0, 1]], np.uint8)
    Image.fromarray(values).save(tmp_path / "spread.png", bits=bits)
    # Pillow takes the values as they are, and reads them spread over 0 to 255.
    assert read(tmp_path / "spread.png")[..., 0].tolist() == values.tolist()


def test_a_palette_is_its_colours(tmp_path):
    image = Image.fromarray(np.array([[0, 1, 2], [2, 1, 0]], np.uint8), mode="P")
    image.putpalette([0, 0, 0, 10, 20, 30, 200, 210, 220])
    image.save(tmp_path / "a.png")
    image.save(tmp_path / "clear.png", transparency=5)

    for name in ("a.png", "clear.png"):
        found = read(tmp_path / name, RGB)
        assert found[0].tolist() == [[0, 0, 0], [10, 20, 30], [200, 210, 220]]


def test_three_equal_channels_are_one_where_one_is_wanted(tmp_path):
    grey = np.stack([GREY] * 3, axis=-1)

    assert np.array_equal(read(save(tmp_path / "a.png", grey))[..., 0], GREY)
    assert np.array_equal(read(save(tmp_path / "a.bmp", GREY, mode="P"))[..., 0], GREY)
    assert np.array_equal(read(save(tmp_path / "a.jpg", np.full((8, 8, 3), 7, np.uint8) *
                               np.repeat([1, 9], 4)[:, None, None].astype(np.uint8),
                               quality=100))[::7, 0, 0], [7, 63])  # fmt: skip


@pytest.mark.parametrize("deep", [False, True])
def test_alpha_that_is_opaque_is_no_channel(tmp_path, deep):
    opaque = np.dstack([COLOURS, np.full_like(GREY, 255)])
    if deep:
        opaque = opaque.astype(np.uint16) * 257
    path = save(tmp_path / "a.png", opaque)
    grey = save(tmp_path / "grey.png", GREY, mode="LA")

    assert np.array_equal(read(path, RGB), opaque[..., :3])
    assert np.array_equal(read(grey)[..., 0], GREY)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_a_fourth_channel_is_read_where_four_are_named(tmp_path, name):
    values = np.dstack([COLOURS, GREY * 2])
    path = save(tmp_path / name, values)

    assert np.array_equal(read(path, (*RGB, "t2w")), values)


@pytest.mark.parametrize("extra", [0, 1, 2])
def test_a_fourth_channel_of_tiff_is_neither_dropped_nor_multiplied(tmp_path, extra):
    values = np.dstack([COLOURS, GREY * 2])
    path = save(tmp_path / "a.tif", values)
    tag = struct.pack("<HHI", 338, 3, 1)
    assert path.read_bytes().count(tag + b"\2") == 1
    path.write_bytes(path.read_bytes().replace(tag + b"\2", tag + bytes([extra])))

    assert np.array_equal(read(path, (*RGB, "t2w")), values)


def test_a_black_slice_is_normal_but_not_a_constant_channel(tmp_path):
    black = save(tmp_path / "0.png", np.zeros_like(GREY))
    bright = save(tmp_path / "1.png", GREY)

    found = read_stack([black, bright], ["t2f"], ["t2f"], None)

    assert found.array[..., 0].max() == 0
    with pytest.raises(ImageError, match=r"^t2f in .* is constant, 0 in every voxel"):
        read_stack([black, black], ["t2f"], ["t2f"], None)
    with pytest.raises(ImageError, match=r"t2f in .*0\.png is constant"):
        read_stack([black], ["t2f"], ["t2f"], None)


def test_warnings_of_the_decoder_are_no_errors(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", GREY)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)  # the 6 of the image are suspect, 8 an error

    assert np.array_equal(read(path)[..., 0], GREY)
    with pytest.raises(ImageError, match=r"b\.png is too large .*; give a s"):
        read(save(tmp_path / "b.png", np.vstack([GREY, GREY])))


# Bad images


def png(path, values, colour_type):
    """A PNG of 16 bits, written by hand."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour_type, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        checksum = struct.pack(">I", zlib.crc32(name + data))
        content += struct.pack(">I", len(data)) + name + data + checksum
    path.write_bytes(content)
    return path


def both_refuse(error, match, path, file_channels=("t2f",)):
    """Reading refuses the image, and so does reading its header."""
    for function in (read_stack, read_stack_grid):
        with pytest.raises(error, match=match):
            function([path], file_channels, file_channels, None)


def test_grey_where_three_channels_are_expected_is_refused(tmp_path):
    path = save(tmp_path / "a.png", GREY)

    both_refuse(
        ImageError,
        r"a\.png is 8-bit grey, but 3 channels \(t1n t2f t1c\) are expected; "
        "save it with 3, or name the channels that it has",
        path,
        RGB,
    )
    both_refuse(ImageError, "is 8-bit RGB, but 2 channels",
                save(tmp_path / "b.png", COLOURS), RGB[:2])  # fmt: skip


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_a_fourth_channel_where_three_are_expected_is_refused(tmp_path, name):
    path = save(tmp_path / name, np.dstack([COLOURS, GREY]))

    with pytest.raises(
        ImageError,
        match=r"is 8-bit RGBA with an alpha channel that is not opaque, but 3 channels .*; save",
    ):
        read(path, RGB)
    with pytest.raises(ImageError, match=r"is 8-bit RGBA with an alpha .*, but one channel"):
        read(path)


def test_colours_where_grey_is_expected_are_refused(tmp_path):
    with pytest.raises(ImageError, match=r"is 8-bit RGB with colours, but one channel \(t2f\) is"):
        read(save(tmp_path / "a.png", COLOURS))


def test_sizes_that_differ_are_refused_by_name(tmp_path):
    paths = [save(tmp_path / "a.png", GREY), save(tmp_path / "b.png", GREY.T)]
    match = r"b\.png has 2 x 3 pixels, but .*a\.png has 3 x 2; give slices of one size"

    for function in (read_stack, read_stack_grid):
        with pytest.raises(GeometryError, match=match):
            function(paths, ["t2f"], ["t2f"], None)
    for function in (read_stack_label_map, read_stack_label_grid):
        with pytest.raises(GeometryError, match=match):
            function(paths, None)


def test_kinds_that_differ_are_refused_by_name(tmp_path):
    paths = [save(tmp_path / "a.png", GREY), save(tmp_path / "b.png", GREY.astype(np.uint16))]

    for function in (read_stack, read_stack_grid):
        with pytest.raises(
            GeometryError, match=r"b\.png is 16-bit grey, but .*a\.png is 8-bit grey; save"
        ):
            function(paths, ["t2f"], ["t2f"], None)


def test_a_channel_that_is_not_there_is_named(tmp_path):
    path = save(tmp_path / "a.png", COLOURS)

    for function in (read_stack, read_stack_grid):
        with pytest.raises(ImageError, match="no t2w, but only t1n t2f t1c; name the channels"):
            function([path], RGB, ["t2f", "t2w"], None)


def test_several_pages_are_refused(tmp_path):
    pages = [Image.fromarray(GREY)] * 3
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])

    both_refuse(ImageError, r"a\.tif holds 3 pages, but one slice is expected; save each page as",
                tmp_path / "a.tif")  # fmt: skip


def test_a_slice_that_no_result_could_be_as_large_as_is_refused(tmp_path):
    both_refuse(ImageError, "has 32768 x 1 pixels, but at most 32767 along an axis and 67108864 in",
                save(tmp_path / "a.png", np.zeros((1, 32768), np.uint8)))  # fmt: skip


def test_inks_are_refused(tmp_path):
    both_refuse(ImageError, r"is a CMYK image, but grey values or RGB are expected; convert",
                save(tmp_path / "a.tif", COLOURS, mode="CMYK"), RGB)  # fmt: skip


def test_what_neither_library_reads_is_refused(tmp_path):
    deep = np.stack([GREY] * 2, axis=-1).astype(np.uint16)

    with pytest.raises(ImageError, match="is 16-bit of 2 channels, which cannot be read; save"):
        read(png(tmp_path / "a.png", deep, colour_type=4))


def test_deep_colours_that_are_stored_turned_are_refused(tmp_path):
    path = save(tmp_path / "a.tif", COLOURS.astype(np.uint16))
    tag = struct.pack("<HHI", 274, 3, 1)
    assert path.read_bytes().count(tag + b"\1") == 1
    path.write_bytes(path.read_bytes().replace(tag + b"\1", tag + b"\3"))

    with pytest.raises(ImageError, match=r"a\.tif is 16-bit RGB and stored turned; save it again"):
        read(path, RGB)


def test_a_file_that_is_missing_or_another_is_named(tmp_path):
    both_refuse(ImageError, r"none\.png does not exist; correct the path", tmp_path / "none.png")
    (tmp_path / "a.png").write_bytes(b"GIF89a")
    both_refuse(ImageError, r"a\.png is not a TIFF, PNG, JPEG or BMP image, or is damaged; ",
                tmp_path / "a.png")  # fmt: skip
    (tmp_path / "b.png").mkdir()
    both_refuse(ImageError, r"b\.png cannot be read \(Is a directory\)", tmp_path / "b.png")


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg", "a.bmp", "deep.png", "deep.tif"])
@pytest.mark.parametrize("share", [0.1, 0.4, 0.7, 0.9])
def test_a_truncated_file_is_named(tmp_path, name, share):
    values = np.random.default_rng(0).integers(0, 255, (40, 40, 3)).astype(np.uint8)
    path = save(tmp_path / name, values.astype(np.uint16) * 257 if "deep" in name else values)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])

    with pytest.raises(ImageError, match=rf"{name} is (truncated|not a TIFF)"):
        read(path, RGB)


def test_values_that_are_no_numbers_are_refused(tmp_path):
    values = np.where(GREY > 25, np.nan, GREY).astype(np.float32)

    with pytest.raises(ImageError, match="holds 4 NaN or infinite voxels"):
        read(save(tmp_path / "a.tif", values))


# Masks


@pytest.mark.parametrize("white", [1, 128, 200, 255])
def test_a_mask_of_two_values_is_nought_and_one(tmp_path, white):
    mask = np.where(GREY > 25, white, 0).astype(np.uint8)

    found = label_map_of(tmp_path, np.zeros_like(mask), mask)

    assert found.dtype == np.uint8
    assert np.array_equal(found, [np.zeros_like(mask), GREY > 25])


@pytest.mark.parametrize("name", ["{}.png", "{}.tif", "{}.bmp"])
def test_masks_of_other_kinds_are_read(tmp_path, name):
    mask = GREY > 25
    assert np.array_equal(label_map_of(tmp_path, mask, name=name)[0], mask)
    red = mask[..., None] * np.array([200, 10, 0], np.uint8)
    assert np.array_equal(label_map_of(tmp_path, red, name=name)[0], mask)
    white = mask[..., None] * np.array([255] * 3, np.uint8)
    assert np.array_equal(label_map_of(tmp_path, white, name=name)[0], mask)


def test_masks_of_several_kinds_make_one_label_map(tmp_path):
    mask = GREY > 25
    paths = [
        save(tmp_path / "0.png", np.zeros_like(mask)),
        save(tmp_path / "1.png", mask[..., None] * np.array([0, 0, 255], np.uint8)),
        save(tmp_path / "2.png", np.zeros_like(GREY)),
    ]

    found, grid = read_stack_label_map(paths, (1, 2, 3))

    assert found.sum(axis=(0, 1)).tolist() == [0, 4, 0]
    assert grid.spacing_mm == (1, 2, 3)
    assert grid.shape == (3, 2, 3)


def test_deep_masks_are_read(tmp_path):
    mask = GREY > 25
    assert np.array_equal(label_map_of(tmp_path, mask.astype(np.uint16) * 65535)[0], mask)
    deep = mask[..., None] * np.array([0, 40000, 0], np.uint16)
    assert np.array_equal(label_map_of(tmp_path, deep)[0], mask)


def test_what_is_transparent_is_background(tmp_path):
    mask = GREY > 25
    red = np.broadcast_to(np.array([255, 0, 0], np.uint8), (2, 3, 3))

    found = label_map_of(tmp_path, np.dstack([red, mask.astype(np.uint8) * 255]))

    assert np.array_equal(found[0], mask)


def test_small_values_are_labels_over_the_whole_stack(tmp_path):
    first, second = GREY // 30, GREY // 30 * 2

    found = label_map_of(tmp_path, first, second)

    assert np.array_equal(found, [first, second])
    assert np.unique(label_map_of(tmp_path, np.full_like(GREY, 2), second * 0)).tolist() == [0, 2]


@pytest.mark.parametrize("quality", [60, 75, 90])
def test_jpeg_moves_black_and_white_a_little(tmp_path, quality):
    row, column = np.ogrid[:64, :64]
    mask = np.where((row - 30) ** 2 + (column - 35) ** 2 < 190, 255, 0).astype(np.uint8)

    found = label_map_of(tmp_path, mask, name="{}.jpg", quality=quality)

    assert len(np.unique(Image.open(tmp_path / "0.jpg"))) > 2
    assert np.array_equal(found[0], mask > 0)


def test_labels_in_a_jpeg_are_refused(tmp_path):
    mask = np.zeros((64, 64), np.uint8)
    mask[13:41, 25:50] = 3
    with pytest.raises(LabelError, match=r"0\.jpg holds only values up to \d+, and JPEG changes"):
        label_map_of(tmp_path, mask, name="{}.jpg")
    with pytest.raises(LabelError, match="without loss"):
        label_map_of(tmp_path, mask * 40, name="{}.jpg", quality=30)


@pytest.mark.parametrize(
    ("values", "found"),
    [([0, 1, 255], "0 1 255"), ([0, 85, 170, 255], "0 85 170 255"), ([127, 128], "0 127 128")],
)
def test_values_that_are_neither_labels_nor_white_are_named(tmp_path, values, found):
    odd = np.resize(values, (2, 3)).astype(np.uint8)

    with pytest.raises(LabelError, match=rf"1\.png: .* holds the values {found}, but black and"):
        label_map_of(tmp_path, np.zeros_like(odd), odd)


def test_values_that_differ_from_slice_to_slice_are_named(tmp_path):
    masks = [(GREY > 25) * np.uint8(white) for white in (1, 255)]

    with pytest.raises(LabelError, match=r"1\.png: .* holds the values 0 1 255"):
        label_map_of(tmp_path, *masks)


def test_several_colours_are_named(tmp_path):
    with pytest.raises(
        LabelError, match=r"0\.png: .*colours \(10,11,12\) \(20,21,22\) .*; save each label as"
    ):
        label_map_of(tmp_path, COLOURS)
    many = np.arange(36, dtype=np.uint8).reshape(4, 3, 3)
    with pytest.raises(LabelError, match="and 4 more, but"):
        label_map_of(tmp_path, many)


@pytest.mark.parametrize("value", [0.5, -1, np.nan])
def test_numbers_that_are_no_labels_are_refused(tmp_path, value):
    mask = np.where(GREY > 55, value, 0).astype(np.float32)

    with pytest.raises(LabelError, match="labels from 0 to 127"):
        label_map_of(tmp_path, mask, name="{}.tif")


# Masks out


LABEL_MAP = np.array([[[0, 1], [1, 2]], [[0, 0], [2, 2]], [[4, 0], [0, 1]]], np.uint8)


def images(folder, *names):
    folder.mkdir()
    return [folder / name for name in names]


@given(arrays(np.uint8, (3, 2, 2), elements=st.integers(0, 127)))
def test_what_is_written_is_read_back(tmp_path_factory, label_map):
    folder = tmp_path_factory.mktemp("masks")

    paths = write_masks(folder / "new", label_map, images(folder / "in", "a.tif", "b.png"),
                        binary=False)  # fmt: skip

    assert np.array_equal(read_stack_label_map(paths, None)[0], label_map)


@pytest.mark.parametrize("names", [["a.tif", "b.png", "c.BMP", "d.jpeg"], ["d.JPG"]])
def test_masks_are_called_as_their_images(tmp_path, names):
    label_map = np.resize(LABEL_MAP, (3, 2, len(names)))

    paths = write_masks(tmp_path / "new", label_map, images(tmp_path / "in", *names), binary=True)

    kinds = {"a.tif": "TIFF", "b.png": "PNG", "c.BMP": "BMP", "d.png": "PNG"}
    assert paths == mask_paths(tmp_path / "new", [tmp_path / name for name in names])
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [p.name for p in paths]
    for path in paths:
        with Image.open(path) as image:
            assert (image.mode, image.size, image.format) == ("L", (3, 2), kinds[path.name])
            assert set(np.unique(image)) <= {0, 255}
            if image.format == "TIFF":
                assert image.info["compression"] == "tiff_adobe_deflate"
    assert np.array_equal(read_stack_label_map(paths, None)[0], label_map > 0)


def test_a_folder_of_masks_is_replaced_whole(tmp_path, monkeypatch):
    like = images(tmp_path / "in", "a.png", "b.png")
    write_masks(tmp_path / "new", LABEL_MAP, like, binary=False)
    written = []

    def full(path, values):
        if written:
            raise OSError(28, "No space left on device")
        written.append(path)
        path.write_bytes(b"")

    with monkeypatch.context() as patch:
        patch.setattr("volseg.images.slice_masks.write_bitmap", full)
        with pytest.raises(OutputError, match=r"cannot write .*new \(No space left on device\)"):
            write_masks(tmp_path / "new", LABEL_MAP[:, ::-1], like, binary=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "new"]
    found = read_stack_label_map(mask_paths(tmp_path / "new", like), None)[0]
    assert np.array_equal(found, LABEL_MAP)

    write_masks(tmp_path / "new", LABEL_MAP[:, ::-1], like, binary=False)
    found = read_stack_label_map(mask_paths(tmp_path / "new", like), None)[0]
    assert np.array_equal(found, LABEL_MAP[:, ::-1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "new"]


def test_an_old_folder_comes_back_where_the_new_cannot_take_its_place(tmp_path, monkeypatch):
    like = images(tmp_path / "in", "a.png", "b.png")
    write_masks(tmp_path / "new", LABEL_MAP, like, binary=False)
    rename = type(tmp_path).rename

    def refused(self, target):
        if target == tmp_path / "new" and not self.name.endswith("-old"):
            raise OSError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(type(tmp_path), "rename", refused)
    with pytest.raises(OutputError, match="Permission denied"):
        write_masks(tmp_path / "new", LABEL_MAP * 0, like, binary=False)

    found = read_stack_label_map(mask_paths(tmp_path / "new", like), None)[0]
    assert np.array_equal(found, LABEL_MAP)


def test_a_folder_with_other_files_is_not_replaced(tmp_path):
    like = images(tmp_path / "in", "a.png", "b.png")
    like[0].write_bytes(b"an image")
    (tmp_path / "in" / "notes.txt").write_text("seen on Monday")

    with pytest.raises(OutputError, match=r"in holds notes\.txt, which is no mask of this case"):
        write_masks(tmp_path / "in", LABEL_MAP, like, binary=False)

    assert like[0].read_bytes() == b"an image"


def test_a_single_mask_lies_beside_other_files(tmp_path):
    (tmp_path / "notes.txt").write_text("seen on Monday")

    paths = write_masks(tmp_path, LABEL_MAP[..., :1], [tmp_path / "in" / "a.png"], binary=False)

    assert paths == [tmp_path / "a.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "notes.txt"]
    assert np.array_equal(read_stack_label_map(paths, None)[0], LABEL_MAP[..., :1])


def test_for_a_single_mask_the_folder_is_not_looked_through(tmp_path, monkeypatch):
    monkeypatch.delattr(Path, "iterdir")

    check_masks_have_room(tmp_path, [tmp_path / "in" / "a.png"])

    with pytest.raises(AttributeError):
        check_masks_have_room(tmp_path, images(tmp_path / "in", "a.png", "b.png"))


def test_masks_that_cannot_be_written_right_are_refused(tmp_path):
    like = images(tmp_path / "in", "a.jpg", "a.png")
    with pytest.raises(OutputError, match=r"two slices would both be .*a\.png; rename one"):
        write_masks(tmp_path / "new", LABEL_MAP, like, binary=True)
    like = [tmp_path / "a.png", tmp_path / "b.png"]
    with pytest.raises(LabelError, match="label 128 cannot be written into a mask"):
        write_masks(tmp_path / "new", LABEL_MAP * 32, like, binary=False)
    with pytest.raises(ValueError, match="2, 2\\), 1 slices"):
        write_masks(tmp_path / "new", LABEL_MAP, like[:1], binary=False)
    assert not (tmp_path / "new").exists()


# Real slices


def test_real_slices_are_read(real_data):
    folder = real_data / "lgg" / "kaggle_3m" / "TCGA_CS_4941_19960909"
    paths = [folder / f"{folder.name}_{n}.tif" for n in range(1, 24)]
    found = read_stack(paths, RGB, RGB, None)
    label_map, grid = read_stack_label_map([p.with_stem(f"{p.stem}_mask") for p in paths], None)

    assert found.array.shape == (3, 256, 256, 23)
    assert grid.shape == label_map.shape == (256, 256, 23)
    with Image.open(paths[10]) as image:
        assert np.array_equal(found.array[..., 10].transpose(2, 1, 0), np.asarray(image))
    with Image.open(paths[10].with_stem(f"{paths[10].stem}_mask")) as mask:
        assert np.array_equal(label_map[..., 10].T, np.asarray(mask) == 255)


def test_a_real_pair_is_read(real_data):
    image = sorted((real_data / "png3064" / "images").iterdir())[0]

    found = read_stack([image], ["t1c"], ["t1c"], None)
    label_map, _ = read_stack_label_map([real_data / "png3064" / "masks" / image.name], None)

    assert found.array.shape == (1, 512, 512, 1)
    assert np.unique(label_map).tolist() == [0, 1]


# White that is 0, and pictures that are stored turned


MASK = np.zeros((8, 16), np.uint8)
MASK[2:4, 3:6] = 1


@pytest.mark.parametrize(
    ("dtype", "white", "bits"), [("u1", 1, 1), ("u1", 255, 8), ("<u2", 65535, 16)]
)
@pytest.mark.parametrize("photometric", [0, 1])
def test_values_are_as_stored_whatever_is_white(tmp_path, caplog, dtype, white, bits, photometric):
    path = tiff(
        tmp_path / "a.tif", MASK.astype(dtype) * np.dtype(dtype).type(white), photometric, bits
    )

    label_map, _ = read_stack_label_map([path], None)
    assert np.array_equal(label_map[..., 0].T, MASK)
    images = read_stack([path], ["t2f"], ["t2f"], None)
    assert np.array_equal(images.array[0, ..., 0].T, MASK.astype(int) * white)
    assert ("0 is white" in "".join(images.notes)) == (photometric == 0)
    assert not caplog.records


@pytest.mark.parametrize(("bits", "raw"), [(2, "L;2"), (4, "L;4")])
def test_grey_levels_of_few_bits_are_as_stored_as_well(tmp_path, bits, raw):
    levels = np.arange(2**bits, dtype=np.uint8).repeat(2)
    packed = np.zeros(len(levels) * bits // 8, np.uint8)
    for number, level in enumerate(levels):
        packed[number * bits // 8] |= level << (8 - bits - number * bits % 8)
    path = tiff(tmp_path / "a.tif", packed[None], 0)
    content = path.read_bytes()
    for tag, value in ((256, len(levels)), (258, bits)):
        start = content.index(struct.pack("<HHI", tag, 4, 1))
        content = content[: start + 8] + struct.pack("<I", value) + content[start + 12 :]
    path.write_bytes(content)

    assert read(path)[0, :, 0].tolist() == levels.tolist()


def test_a_mask_that_covers_more_than_a_tumour_does_is_told_of(tmp_path, caplog):
    masks = [(1 - MASK) * 255, (1 - MASK) * 255, MASK * 255]

    label_map = label_map_of(tmp_path, *masks)

    assert label_map.any(axis=(1, 2)).all()
    (record,) = caplog.records
    assert "0.png covers 95.3 % of its slice, and 1 more masks of this case" in record.getMessage()


ORIENTED = {
    1: GREY,
    2: GREY[:, ::-1],
    3: GREY[::-1, ::-1],
    6: np.rot90(GREY, -1),
    8: np.rot90(GREY),
}


@pytest.mark.parametrize("orientation", ORIENTED)
@pytest.mark.parametrize("ending", ["tif", "png", "jpg"])
def test_a_picture_that_says_that_it_is_stored_turned_is_turned(tmp_path, ending, orientation):
    path = tmp_path / f"a.{ending}"
    large = np.kron(GREY, np.ones((16, 16), np.uint8))
    if ending == "tif":
        tiff(path, large, 1, orientation=orientation)
    else:
        exif = Image.Exif()
        exif[274] = orientation
        save(path, large, exif=exif, **({"quality": 100} if ending == "jpg" else {}))

    found = read(path)[..., 0]
    expected = np.kron(ORIENTED[orientation], np.ones((16, 16)))

    assert found.shape == expected.shape
    assert abs(found - expected).max() <= (2 if ending == "jpg" else 0)
    assert read_stack_grid([path], ["t2f"], ["t2f"], None).shape[:2] == expected.T.shape


def test_exif_that_makes_no_sense_is_no_matter(tmp_path):
    path = save(
        tmp_path / "a.jpg", np.kron(GREY, np.ones((16, 16), np.uint8)), exif=b"Exif\0\0junk"
    )

    assert read(path).shape == (32, 48, 1)


def test_exif_that_cannot_be_read_is_no_matter(tmp_path, monkeypatch):
    def unreadable(_):
        raise SyntaxError("not a TIFF file")

    path = save(tmp_path / "a.jpg", GREY, exif=Image.Exif())
    monkeypatch.setattr(Image.Image, "getexif", unreadable)

    assert read_form(path, "a").size == GREY.shape[::-1]


# Sizes that a header announces


def test_a_picture_larger_than_any_slice_is_refused_before_it_is_unpacked(tmp_path):
    path = save(tmp_path / "a.png", np.zeros((8200, 8200), np.uint8))

    both_refuse(ImageError, "has 8200 x 8200 pixels, but .* 67108864 in all are supported", path)


def test_a_jpeg_that_cannot_hold_what_it_announces_is_refused(tmp_path):
    path = save(tmp_path / "a.jpg", np.zeros((16, 16), np.uint8))
    content = bytearray(path.read_bytes())
    start = content.index(b"\xff\xc0") + 5
    content[start : start + 4] = struct.pack(">HH", 8000, 8000)
    path.write_bytes(content)

    both_refuse(ImageError, "is truncated: it holds .* announces 8000 x 8000 pixels; copy", path)


def test_a_stack_that_the_memory_does_not_hold_is_refused(tmp_path, monkeypatch):
    large = np.kron(GREY, np.ones((20, 20), np.uint8))
    paths = [save(tmp_path / f"{n}.png", large) for n in range(9)]
    monkeypatch.setattr(memory, "available", lambda: 20_000)

    with pytest.raises(ResourceError, match=r"^1 channels of 60 x 40 x 9 voxels would"):
        read_stack(paths, ["t2f"], ["t2f"], None)


def test_a_named_pipe_is_no_slice(tmp_path):
    os.mkfifo(tmp_path / "a.png")

    both_refuse(ImageError, r"a\.png cannot be read \(it is a named pipe, but", tmp_path / "a.png")
