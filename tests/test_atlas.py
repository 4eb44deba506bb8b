"""Atlases of the user: which are taken, and how others are refused before any case is prepared."""

from __future__ import annotations

import struct

import nibabel as nib
import numpy as np
import pytest

from volseg.errors import RegistrationError
from volseg.phantoms.cohort import make_cohort
from volseg.preparation import templates
from volseg.preparation.options import StepOptions, digest_of, read_atlas
from volseg.preparation.templates import template_of
from volseg.tasks.prepare import PrepareOptions, prepare

# Bytes of a NIfTI header.
QFORM_CODE, SFORM_CODE = 252, 254


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Two stripped brains of 60 x 60 x 39 voxels of 4 mm."""
    folder = tmp_path_factory.mktemp("scans")
    make_cohort(folder, 2, (60, 60, 39), 4.0)
    return folder


@pytest.fixture(scope="module")
def image(scans):
    return nib.load(next(scans.glob("*/*-t1c.nii.gz")))


def written(path, values, affine):
    nib.save(nib.Nifti1Image(values, affine), path)
    return path


def grey(image):
    return np.asarray(image.dataobj).astype(np.float32)


def test_an_atlas_of_any_type_size_and_direction_of_its_axes_is_taken(image, tmp_path):
    values, affine = grey(image), image.affine
    turned = nib.as_closest_canonical(image)
    files = [
        written(tmp_path / "bytes.nii.gz", (values / values.max() * 255).astype("u1"), affine),
        written(tmp_path / "one_volume.nii", values[..., None], affine),
        written(tmp_path / "ras.nii", grey(turned), turned.affine),
        written(tmp_path / "ct.nii", values - 1000, affine),
    ]

    brains = [template_of(file).mask.sum() for file in files]

    assert brains == [pytest.approx(brains[0], rel=0.01)] * 4


def sheared(affine):
    return affine @ (np.eye(4) + 0.2 * np.eye(4)[:, [0]] @ np.eye(4)[[1]])


def halved(affine):
    return affine @ np.diag([0.5, 0.5, 0.5, 1])


@pytest.mark.parametrize(
    ("values", "affine", "said"),
    [
        (lambda v: np.stack([v, v], 3), None, "has shape .60, 60, 39, 2., but one volume"),
        (lambda v: v * 0 + 5, None, "is constant, 5"),
        (lambda v: np.where(v == v.max(), np.nan, v), None, "holds 1 NaN"),
        (lambda v: (v > 0).astype("u1"), None, "looks like a label map or a mask: 100%"),
        (lambda v: (v > 0) + 2.0 * (v > v.mean()), None, "looks like a label map or a mask"),
        (lambda v: v[:, :, 18:21], None, "shows 220 ml, but a brain has at least 900 ml"),
        (lambda v: v, halved, "ml, but a brain has at least 900 ml"),
        (lambda v: v, sheared, "meet at 79 degrees, but 90 are expected"),
    ],
)
def test_an_image_that_is_no_atlas_is_refused(image, tmp_path, values, affine, said):
    affine = affine(image.affine) if affine else image.affine
    atlas = written(tmp_path / "atlas.nii.gz", values(grey(image)), affine)

    with pytest.raises(RegistrationError, match=said):
        template_of(atlas)


def test_an_atlas_that_may_be_mirrored_is_refused(image, tmp_path):
    atlas = written(tmp_path / "atlas.nii", grey(image), image.affine)
    content = bytearray(atlas.read_bytes())
    for place in (QFORM_CODE, SFORM_CODE):
        content[place : place + 2] = struct.pack("<h", 0)
    atlas.write_bytes(content)

    with pytest.raises(RegistrationError, match="does not say how it is oriented"):
        template_of(atlas)


def cut(path):
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        ("atlas.nii.gz", cut, "is a truncated or damaged gzip file"),
        ("atlas.nii.gz", lambda path: path.unlink(), "atlas.nii.gz does not exist"),
        ("atlas.nii.gz", lambda path: path.write_bytes(b""), "is empty"),
        ("SRI24.mha", lambda path: path.write_text("ObjectType = Image"), "is not a NIfTI file"),
    ],
)
def test_an_atlas_is_refused_once_before_any_case(
    scans, image, tmp_path, monkeypatch, name, damage, said
):
    monkeypatch.chdir(tmp_path)
    atlas = tmp_path / name
    nib.save(image, tmp_path / "atlas.nii.gz")
    damage(atlas)

    with pytest.raises(RegistrationError, match=said) as refusal:
        prepare(scans, tmp_path / "out", PrepareOptions(to=name))

    assert "with --to" in refusal.value.remedy
    assert not (tmp_path / "out").exists()


def test_a_case_prepared_to_another_content_of_the_atlas_is_not_kept(image, tmp_path, monkeypatch):
    """Options of records hold the content of the atlas, also of the atlas of nilearn."""
    atlas, options = tmp_path / "atlas.nii", StepOptions(to="mni")
    nib.save(image, atlas)
    of_nilearn = options.recorded()
    monkeypatch.setattr(templates, "_MNI152", atlas.name)
    monkeypatch.setattr(
        templates.importlib.util,
        "find_spec",
        lambda _: type("Spec", (), {"submodule_search_locations": [tmp_path]}),
    )
    of_file = options.recorded()
    written(atlas, grey(image) + 1, image.affine)

    found = [of_nilearn["to"], of_file["to"], options.recorded()["to"]]

    assert len(set(found)) == 3
    assert found[1] != f"sha256:{digest_of(str(atlas))}" == found[2]
    assert len(digest_of("mni")) == 64
    assert read_atlas("mni").name == "MNI152"
