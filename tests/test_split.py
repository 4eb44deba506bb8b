"""`volseg split`: label schemes told or asked for, folds by patient, one list written whole."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from volseg.cases.data_list import read_data_list
from volseg.errors import ConfigError, DataListError, LabelError, OutputError
from volseg.tasks.split import SplitOptions, SplitResult, split

OLD = ("t1", "t1ce", "t2", "flair")
NEW = ("t1n", "t1c", "t2w", "t2f")


def add_case(folder: Path, case_id: str, *values: int) -> None:
    """A case whose images are empty and whose label map, if any, holds `values` and 0."""
    home = folder / case_id
    home.mkdir(parents=True)
    new = case_id.startswith("BraTS-")
    separator = "-" if new else "_"
    for name in NEW if new else OLD:
        (home / f"{case_id}{separator}{name}.nii.gz").touch()
    if values:
        label_map = np.zeros((4, 4, 4), np.uint8)
        label_map.flat[: len(values)] = values
        image = nibabel.Nifti1Image(label_map, np.eye(4))
        nibabel.save(image, home / f"{case_id}{separator}seg.nii.gz")


def schemes(result: SplitResult) -> dict[str, str | None]:
    return {case.case_id: case.labels for case in result.data_list.training}


@pytest.fixture
def scans(tmp_path) -> Path:
    folder = tmp_path / "scans"
    for number in range(4):
        add_case(folder, f"BraTS2021_0000{number}", 1, 2, 4)
    return folder


def test_a_list_of_mixed_conventions_bears_the_scheme_of_each_case(tmp_path, scans):
    add_case(scans, "BraTS-GLI-00001-000", 1, 2, 3)
    add_case(scans, "BraTS-GLI-00001-001", 2)
    add_case(scans, "BraTS-PED-00001-000", 1, 2, 3, 4)
    add_case(scans, "BraTS-GLI-00002-000")

    result = split([scans], tmp_path / "list.json", folds=2)

    assert read_data_list(result.path) == result.data_list
    assert result.data_list.name == "list"
    assert schemes(result) == {
        "BraTS-GLI-00001-000": "brats2023",
        "BraTS-GLI-00001-001": "brats2023",
        "BraTS-PED-00001-000": "brats2024-ped",
        **{f"BraTS2021_0000{number}": "brats2021" for number in range(4)},
    }
    assert result.decisions == (
        "labels brats2021 for 4 cases: file names of BraTS 2017 to 2022, values 0 1 2 4",
        "labels brats2023 for 2 cases: file names of BraTS-GLI, values 0 1 2 3",
        "labels brats2024-ped for 1 case: file names of BraTS-PED, values 0 1 2 3 4",
    )
    assert [case.case_id for case in result.data_list.testing] == ["BraTS-GLI-00002-000"]
    first, second = result.data_list.training[:2]
    assert first.fold == second.fold
    assert result.finding.layouts["BraTS-GLI"] == 3


def test_a_scheme_that_leaves_out_all_label_maps_that_tell_is_refused(tmp_path):
    """Of five with a 3 for the enhancing tumour, the two without one would stay."""
    for number, values in enumerate([(1, 2, 3), (1, 2), (2,)]):
        add_case(tmp_path / "scans", f"BraTS2021_0000{number}", *values)

    with pytest.raises(LabelError, match="hold the values 0 1 2 3, which fit brats2023"):
        split([tmp_path / "scans"], tmp_path / "list.json", folds=2)
    with pytest.raises(LabelError, match=r"--labels brats2021 does not fit: .* fit brats2023"):
        split([tmp_path / "scans"], tmp_path / "list.json", folds=2, labels="brats2021")
    result = split([tmp_path / "scans"], tmp_path / "list.json", folds=2, labels="brats2023")
    assert len(result.data_list.training) == 3


def test_the_same_folder_and_seed_give_the_same_bytes(tmp_path, scans):
    first = split([scans], tmp_path / "a" / "list.json", folds=2)
    second = split([scans], tmp_path / "b" / "list.json", folds=2)
    other = split([scans], tmp_path / "c" / "list.json", folds=2, seed=1)

    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.path.read_bytes() != other.path.read_bytes()


def test_paths_start_from_the_folder_or_from_what_folders_share(tmp_path, scans):
    add_case(tmp_path / "more", "BraTS2021_00009", 1)

    one = split([scans], tmp_path / "one.json", folds=2).path.read_text(encoding="utf-8")
    two = split([scans, tmp_path / "more"], tmp_path / "two.json", folds=2).path.read_text("utf-8")

    assert '"data_root": "scans"' in one
    assert '"BraTS2021_00000/BraTS2021_00000_t1.nii.gz"' in one
    assert '"data_root": "."' in two
    assert '"more/BraTS2021_00009/BraTS2021_00009_t1.nii.gz"' in two


def test_a_bad_label_map_is_named_and_the_others_go_on(tmp_path, scans):
    add_case(scans, "BraTS2021_00007", 1, 3)
    add_case(scans, "BraTS2021_00008")
    (scans / "BraTS2021_00008" / "BraTS2021_00008_seg.nii.gz").write_bytes(b"no image")

    result = split([scans], tmp_path / "list.json", folds=2)

    assert len(result.data_list.training) == len(result.finding.cases) == 4
    assert result.data_list.testing == ()
    lost = {entry.case_id: entry.sentence for entry in result.finding.skipped}
    assert set(lost) == {"BraTS2021_00007", "BraTS2021_00008"}
    assert "holds [3], but scheme 'brats2021' defines only" in lost["BraTS2021_00007"]
    assert "BraTS2021_00008_seg.nii.gz" in lost["BraTS2021_00008"]
    assert result.decisions == (
        "labels brats2021 for 4 cases: file names of BraTS 2017 to 2022, values 0 1 2 4",
    )


def test_what_cannot_be_told_is_asked_for_and_nothing_is_written(tmp_path, scans):
    add_case(scans, "BraTS-PED-00001-000", 1, 2, 3)

    with pytest.raises(LabelError) as error:
        split([scans], tmp_path / "list.json", folds=2)

    assert "1 case with file names of BraTS-PED holds the values 0 1 2 3" in str(error.value)
    assert "brats2024-ped, brats2015, msd; give --labels" in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["scans"]


def test_a_scheme_asked_for_is_checked_against_every_label_map(tmp_path, scans):
    add_case(scans, "BraTS-PED-00001-000", 1, 2, 3)

    result = split([scans], tmp_path / "list.json", folds=2, labels="brats2020")

    assert set(schemes(result).values()) == {"brats2021"}
    assert result.decisions == ("labels brats2021 for 4 cases: as asked for, values 0 1 2 4",)
    (lost,) = result.finding.skipped
    assert (lost.case_id, lost.path) == ("BraTS-PED-00001-000", scans / "BraTS-PED-00001-000")


def test_the_config_may_say_what_the_label_maps_mean(tmp_path, scans):
    add_case(scans, "mine", 7, 9)

    result = split([scans], tmp_path / "list.json", folds=2, labels="config")

    assert set(schemes(result).values()) == {None}
    assert result.decisions == (
        "labels of the config for 5 cases: as asked for, values 0 1 2 4 7 9",
    )


def test_a_group_that_is_lost_whole_decides_nothing(tmp_path, scans):
    add_case(scans, "BraTS-SSA-00001-000")
    (scans / "BraTS-SSA-00001-000" / "BraTS-SSA-00001-000-seg.nii.gz").touch()

    result = split([scans], tmp_path / "list.json", folds=2)

    assert len(result.decisions) == 1


def test_msd_keeps_its_4d_files_and_their_channels(tmp_path):
    folder = tmp_path / "Task01"
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    for number in range(2):
        (folder / "imagesTr" / f"BRATS_{number:03}.nii.gz").touch()
        image = nibabel.Nifti1Image(np.eye(4, dtype=np.uint8).reshape(4, 2, 2), np.eye(4))
        nibabel.save(image, folder / "labelsTr" / f"BRATS_{number:03}.nii.gz")
    (folder / "dataset.json").write_text(
        '{"modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}, "labels": '
        '{"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"}}',
        encoding="utf-8",
    )

    result = split([folder], tmp_path / "list.json", folds=2)

    assert result.data_list.channels == ("t2f", "t1n", "t1c", "t2w")
    assert result.decisions == (
        "labels msd for 2 cases: label names in the dataset.json of MSD, values 0 1",
    )
    assert '"image": "imagesTr/BRATS_000.nii.gz"' in result.path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"labels": "brats1999"}, ConfigError, "unknown label scheme 'brats1999'"),
        ({"folds": 5}, DataListError, "4 patients .* use --folds 4"),
        ({"labels": "men-rt"}, DataListError, "none of 4 cases has a usable label map; the first"),
        ({"channels": ("t1n", "adc")}, DataListError, "missing channel adc"),
    ],
)
def test_what_cannot_be_split_is_refused_in_words(tmp_path, scans, options, error, message):
    with pytest.raises(error, match=message):
        split([scans], tmp_path / "list.json", **options)


def test_patients_named_to_validate_on_are_fold_0_with_all_their_cases(tmp_path, scans):
    for visit in ("000", "001"):
        add_case(scans, f"BraTS-GLI-00009-{visit}", 1, 2, 3)
    options = SplitOptions(validation=("BraTS2021_00002", "BraTS-GLI-00009"))

    result = split([scans], tmp_path / "list.json", options=options)

    assert {c.case_id for c in result.data_list.split(0)[1]} == {
        *("BraTS2021_00002", "BraTS-GLI-00009-000", "BraTS-GLI-00009-001")
    }
    assert {c.fold for c in result.data_list.split(0)[0]} == {1}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("BraTS2021_00009",), "BraTS2021_00009 to validate on: no such patient"),
        ([f"BraTS2021_0000{n}" for n in range(4)], "no patient is left for training; hold out"),
    ],
)
def test_patients_who_cannot_be_held_out_are_refused(tmp_path, scans, names, message):
    with pytest.raises(DataListError, match=message):
        split([scans], tmp_path / "list.json", options=SplitOptions(validation=tuple(names)))


def test_scans_without_label_maps_are_refused(tmp_path):
    add_case(tmp_path, "BraTS2021_00000")

    with pytest.raises(DataListError, match="none of 1 case has a label map; volseg infer needs"):
        split([tmp_path], tmp_path / "list.json")


def test_an_output_that_cannot_be_written_is_refused_at_once(tmp_path, scans):
    (tmp_path / "file").touch()

    with pytest.raises(OutputError, match="file cannot be made"):
        split([scans], tmp_path / "file" / "list.json", folds=2)
    with pytest.raises(OutputError, match=r"does not end in \.json"):
        split([scans], scans, folds=2)


def test_the_real_scans_of_three_years_make_one_list(real_data, tmp_path):
    folders = [real_data / name for name in ("brats2021", "brats2023", "brats2018")]

    result = split(folders, tmp_path / "list.json", folds=2)

    assert result.decisions == (
        "labels brats2021 for 7 cases: file names of BraTS 2017 to 2022, values 0 1 2 4",
        "labels brats2023 for 1 case: file names of BraTS-GLI, values 0 1 2 3",
    )
    assert len(result.data_list.training) == 8
    assert result.finding.skipped == ()
    listed = read_data_list(result.path).training
    assert all(path.is_file() for case in listed for path in (*case.images, *case.label))
