"""DICOM series against dcm2niix: voxels and their places; transfer syntaxes, scaling, mosaics."""

from __future__ import annotations

import gzip
import os
import pickle
import shutil
import subprocess
from pathlib import Path

import dcm2niix
import nibabel as nib
import numpy as np
import pytest
from dicom_files import SYNTAXES, Header, write_mosaic, write_multi_frame, write_series
from hospital import write_hospital
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import PositronEmissionTomographyImageStorage
from scipy.spatial.transform import Rotation

from volseg.conversion.dicom.finding import find_dicom_series

# The files of these tests follow the standard, so a warning is one of volseg's mistakes.
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = Rotation.from_euler("xyz", [10, 20, 5], degrees=True).as_matrix() @ np.diag(
    [-1.5, -1.25, 3]
)
OBLIQUE[:3, 3] = 40, 30, -20


def voxels(dtype=np.uint16, shape=(12, 10, 7), seed=0):
    return np.random.default_rng(seed).integers(0, 1000, shape).astype(dtype)


def only(folder):
    """The one series of a folder in which nothing is left out or broken."""
    finding = find_dicom_series(folder)
    assert (finding.left_out, finding.broken) == ((), ())
    (series,) = finding.series
    return series


def by_dcm2niix(source, out):
    """Volumes (I, J, K) in RAS order with their affines, as dcm2niix converts them."""
    out.mkdir()
    command = [dcm2niix.bin, "-b", "n", "-z", "n", "-f", "%s_%e_%p", "-o", out, source]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    found = []
    for path in sorted(out.glob("*.nii")):
        image = nib.as_closest_canonical(nib.load(path))
        data = np.asanyarray(image.dataobj)
        volumes = np.moveaxis(data, 3, 0) if data.ndim == 4 else [data]
        found += [(volume, image.affine) for volume in volumes]
    return found


def in_ras(series):
    grid = series.grid
    return grid.to_ras(series.read()), grid.ras.affine


def assert_as_dcm2niix(source, out):
    finding = find_dicom_series(source)
    theirs = by_dcm2niix(source, out)

    assert len(finding.series) == len(theirs) > 0
    for series, (volume, affine) in zip(finding.series, theirs, strict=True):
        mine, my_affine = in_ras(series)
        np.testing.assert_array_equal(mine, volume)
        np.testing.assert_allclose(my_affine, affine, atol=1e-3)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_each_transfer_syntax_gives_the_voxels_and_the_places_of_dcm2niix(tmp_path, syntax):
    array = voxels()
    write_series(tmp_path / "in", array, OBLIQUE, syntax=syntax)

    series = only(tmp_path / "in")

    np.testing.assert_array_equal(series.read(), array)
    np.testing.assert_allclose(series.grid.affine, OBLIQUE, atol=1e-6)
    assert_as_dcm2niix(tmp_path / "in", tmp_path / "out")


def test_implicit_little_endian_without_preamble_is_read(tmp_path):
    array = voxels()
    write_series(tmp_path / "in", array, OBLIQUE, syntax="implicit", preamble=False)

    np.testing.assert_array_equal(only(tmp_path / "in").read(), array)
    assert_as_dcm2niix(tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize("order", ["ascending", "descending", "shuffled"])
def test_the_order_of_slices_follows_positions_not_instance_numbers(tmp_path, order):
    array = voxels()
    numbers = {
        "ascending": range(7),
        "descending": range(7)[::-1],
        "shuffled": [3, 0, 6, 1, 5, 2, 4],
    }
    write_series(
        tmp_path / "in",
        array,
        OBLIQUE,
        each=lambda k: {"InstanceNumber": numbers[order][k] + 1, "SliceLocation": "0"},
    )

    np.testing.assert_array_equal(only(tmp_path / "in").read(), array)
    assert_as_dcm2niix(tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_an_enhanced_file_is_a_volume(tmp_path, modality):
    array = voxels()
    (tmp_path / "in").mkdir()
    write_multi_frame(tmp_path / "in" / "IM1", [array], OBLIQUE, Header(modality=modality))

    np.testing.assert_array_equal(only(tmp_path / "in").read(), array)
    assert_as_dcm2niix(tmp_path / "in", tmp_path / "out")


def test_temporal_positions_of_an_enhanced_file_are_volumes_of_their_own(tmp_path):
    volumes = [voxels(seed=1), voxels(seed=2)]
    write_multi_frame(tmp_path / "in" / "IM1", volumes, OBLIQUE)

    finding = find_dicom_series(tmp_path / "in")

    assert [s.name for s in finding.series] == [
        "series 1, time point 1 of 2",
        "series 1, time point 2 of 2",
    ]
    assert [s.facts.volumes for s in finding.series] == [2, 2]
    assert_as_dcm2niix(tmp_path / "in", tmp_path / "out")


def test_a_mosaic_is_cut_into_its_slices(tmp_path):
    array = voxels()
    write_mosaic(tmp_path / "in" / "IM1", array, OBLIQUE)

    np.testing.assert_array_equal(only(tmp_path / "in").read(), array)
    assert_as_dcm2niix(tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize(
    ("slopes", "dtype"),
    [
        ((2, -1024), np.int16),
        ((100, 0), np.int32),
        ((0.5, 3), np.float32),
        ([(1 + k / 8, k) for k in range(7)], np.float32),
    ],
)
def test_slope_and_intercept_are_applied_and_integers_kept_where_exact(tmp_path, slopes, dtype):
    array = voxels()
    write_series(tmp_path / "in", array, OBLIQUE, Header(modality="CT"), slopes=slopes)

    pairs = slopes if isinstance(slopes, list) else [slopes] * 7
    slope, intercept = np.array(pairs).T
    found = only(tmp_path / "in").read()
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, array * slope + intercept)
    assert_as_dcm2niix(tmp_path / "in", tmp_path / "out")


def test_slopes_of_frames_are_those_of_their_own_groups(tmp_path):
    array = voxels()
    slopes = {(0, k): (2 + k, -k) for k in range(7)}
    write_multi_frame(tmp_path / "in" / "IM1", [array], OBLIQUE, slopes=slopes)

    found = only(tmp_path / "in").read()

    np.testing.assert_array_equal(found, array * (2 + np.arange(7)) - np.arange(7))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
def test_stored_integers_keep_their_type_and_sign(tmp_path, dtype):
    array = (voxels() - 500 * (dtype == np.int16)).astype(dtype)
    write_series(tmp_path / "in", array, OBLIQUE)

    found = only(tmp_path / "in").read()

    assert found.dtype == dtype
    np.testing.assert_array_equal(found, array)
    assert_as_dcm2niix(tmp_path / "in", tmp_path / "out")


def test_signed_and_unsigned_slices_of_one_series_keep_their_values(tmp_path):
    low, high = voxels(np.int16, shape=(12, 10, 4)) - 500, voxels(shape=(12, 10, 4), seed=1)
    above = OBLIQUE.copy()
    above[:3, 3] += 4 * OBLIQUE[:3, 2]
    write_series(tmp_path, low, OBLIQUE)
    write_series(tmp_path, high, above, first=5)

    found = only(tmp_path).read()

    np.testing.assert_array_equal(found, np.concatenate([low, high.astype(np.int64)], axis=2))


def test_each_slice_of_pet_has_its_own_slope(tmp_path):
    array = voxels()
    slopes = [(0.5 + k, 0) for k in range(7)]
    header = Header(modality="PT", tags={"SOPClassUID": PositronEmissionTomographyImageStorage})
    write_series(tmp_path, array, OBLIQUE, header, slopes=slopes)

    found = only(tmp_path).read()

    np.testing.assert_allclose(found, array * np.array([slope for slope, _ in slopes]), rtol=1e-6)


def test_the_echoes_of_an_enhanced_file_are_volumes_of_their_own(tmp_path):
    first, second = voxels(), voxels(seed=1)
    path = write_multi_frame(tmp_path / "scan.dcm", [first, second], OBLIQUE)
    dataset = dcmread(path)
    del dataset.SharedFunctionalGroupsSequence[0].MREchoSequence
    for number, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        group.FrameContentSequence[0].TemporalPositionIndex = 1
        echo = Dataset()
        echo.EffectiveEchoTime = 30.0 if number < first.shape[2] else 90.0
        group.MREchoSequence = [echo]
    dataset.save_as(path)

    found = {one.facts.echo_ms: one.read() for one in find_dicom_series(tmp_path).series}

    assert list(found) == [30.0, 90.0]
    np.testing.assert_array_equal(found[30.0], first)
    np.testing.assert_array_equal(found[90.0], second)


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big endian"])
def test_padding_of_ct_becomes_the_lowest_value_of_the_scan(tmp_path, syntax):
    array = voxels(np.int16)
    array[:3] = -2000
    array[5, 5, 5] = 0
    header = Header(modality="CT", tags={"PixelPaddingValue": -2000})
    write_series(tmp_path, array, OBLIQUE, header, slopes=(1, -1024), syntax=syntax)

    series = only(tmp_path)

    assert series.notes == ("voxels of the padding value -2000 count as outside the scan",)
    np.testing.assert_array_equal(series.read(), np.maximum(array, 0) - 1024)


def test_grey_values_that_are_stored_inverted_are_turned(tmp_path):
    array = voxels()
    tags = {"PhotometricInterpretation": "MONOCHROME1"}
    write_series(tmp_path, array, OBLIQUE, Header(tags=tags))

    series = only(tmp_path)

    assert series.notes == ("MONOCHROME1: grey values are inverted",)
    np.testing.assert_array_equal(series.read(), array.max() - (array - array.min()))


def smooth(shape, affine):
    """A smooth image of world coordinates, which linear interpolation keeps within 3."""
    points = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    x, y, z = np.moveaxis(points, -1, 0)
    return 1000 + 300 * np.sin(x / 15) * np.cos(y / 17) + 5 * z


@pytest.mark.parametrize("tilt_deg", [15, -20])
def test_the_tilt_of_a_gantry_is_resampled_away(tmp_path, tilt_deg):
    affine = np.diag([-2.0, -2.0, 5.0, 1.0])
    affine[:3, 3] = 40, 44, -50
    affine[:3, 2] = 0, -5 * np.sin(np.radians(tilt_deg)), 5 * np.cos(np.radians(tilt_deg))
    array = np.rint(smooth((40, 44, 20), affine)).astype(np.int16)
    write_series(tmp_path / "in", array, affine, Header(modality="CT"))

    series = only(tmp_path / "in")

    found = series.read()
    assert series.notes == (f"gantry tilt of {abs(tilt_deg)}.0 degrees resampled away",)
    assert found.shape == series.grid.shape
    assert found.dtype == np.int16
    # dcm2niix writes the sheared volume too. Its grid is the same, but its own resampling lies up
    # to a voxel aside; slices that lean the other way it takes for unequal distances.
    if tilt_deg > 0:
        volume, straight = by_dcm2niix(tmp_path / "in", tmp_path / "out")[-1]
        assert volume.shape == series.grid.ras.shape
        np.testing.assert_allclose(series.grid.ras.affine, straight, atol=1e-3)
    truth = smooth(found.shape, series.grid.affine)
    inside = np.zeros(found.shape, bool)
    for k in range(20):
        row = np.flatnonzero(found[20, :, k] > array.min())
        inside[:, row[1] : row[-1], k] = True
    assert abs(found - truth)[inside].max() < 4


def test_a_hospital_folder_is_sorted_into_patients_studies_and_series(tmp_path):
    write_hospital(tmp_path)

    finding = find_dicom_series(tmp_path)

    assert finding.broken == ()
    scans = [series for series in finding.series if not series.facts.by_hand_only]
    assert [(s.patient.id, str(s.study.date)) for s in scans] == (
        [("ID-A", "2020-03-04")] * 4 + [("ID-A", "2020-06-09")] * 4 + [("ID-B", "2021-01-02")] * 4
    )
    assert len({series.study.key for series in finding.series}) == 3
    assert {entry.name: entry.reason for entry in finding.left_out} == {
        "README.txt": "not a DICOM file",
        "viewer.exe": "not a DICOM file",
        "DICOMDIR": "a list of files (DICOMDIR), which is not needed",
        "A/ST0001/copy of 004": "30 files are copies of others",
        "A/ST0001/090/report.dcm": "a PDF document",
        "A/ST0001/091/screen.dcm": "a screenshot or another secondary capture",
        "A/ST0001/001: series 1, localizer": "a localiser",
    }
    assert {s.name: s.facts.by_hand_only for s in finding.series if s.facts.by_hand_only} == {
        "A/ST0001/020: series 20, t1_mprage_tra_MPR": "a reformatted series (MPR in Image Type)",
        "A/ST0001/021: series 21, ep2d_diff_ADC": "a map of diffusion (ADC in Image Type)",
        "A/ST0001/022: series 22, t1_SUB": "a subtraction (SUBTRACT in Image Type)",
    }


def test_a_series_can_be_read_in_another_process(tmp_path):
    array = voxels()
    write_series(tmp_path, array, OBLIQUE)

    series = pickle.loads(pickle.dumps(only(tmp_path)))

    np.testing.assert_array_equal(series.read(), array)


@pytest.fixture
def real():
    data = Path(os.environ.get("VOLSEG_REAL_DATA", "../shared/data")) / "dicom" / "SAG-anon"
    if not data.is_dir():
        pytest.skip("real scans are neither in VOLSEG_REAL_DATA nor in ../shared/data")
    return data


def test_a_real_oblique_series_lies_where_dcm2niix_puts_it(real, tmp_path):
    series = only(real)

    assert series.grid.shape == (256, 256, 60)
    assert series.facts.inversion_ms == pytest.approx(900, abs=300)
    assert_as_dcm2niix(real, tmp_path / "out")


@pytest.mark.parametrize(
    "name", ["siemens_dwi_0.dcm.gz", "siemens_dwi_1000.dcm.gz", "philips_mprage.dcm.gz"]
)
def test_real_files_of_two_manufacturers_lie_where_dcm2niix_puts_them(tmp_path, name):
    packed = Path(nib.__file__).parent / "nicom" / "tests" / "data" / name
    if not packed.is_file():
        pytest.skip("this installation of nibabel has no test files")
    source = tmp_path / "in"
    source.mkdir()
    (source / "scan.dcm").write_bytes(gzip.decompress(packed.read_bytes()))

    assert_as_dcm2niix(source, tmp_path / "out")


def test_a_missing_slice_of_a_real_series_is_refused(real, tmp_path):
    paths = sorted(real.iterdir())
    for path in paths[:20] + paths[21:40]:
        shutil.copy(path, tmp_path)

    (broken,) = find_dicom_series(tmp_path).broken

    assert broken.sentence.startswith("lacks 1 slice: between ")
    assert broken.sentence.endswith("lie 1.8 mm, elsewhere 0.9 mm; export the whole series again")
