"""Official scores of `evaluate`: conversion of labels, what is refused, and the files."""

import csv
import errno
import json

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from volseg.cli import app
from volseg.errors import ConfigError, LabelError, OutputError
from volseg.evaluation.conversion import Conversion
from volseg.labels import LABEL_SCHEMES, LabelScheme, get_scheme
from volseg.metrics import PROTOCOLS, get_protocol
from volseg.metrics.reading import read_summary
from volseg.metrics.table import ScoreTable
from volseg.tasks.evaluate import evaluate

GLI = "brats2023-gli"
BOTH = {"labels": "brats2023", "reference_labels": "brats2023"}


def cubes(*corners, side=5, label=2):
    """Cubes along the first axis of a grid of 60 x 12 x 12 voxels."""
    label_map = np.zeros((60, 12, 12), dtype=np.uint8)
    for corner in corners:
        label_map[corner : corner + side, 3 : 3 + side, 3 : 3 + side] = label
    return label_map


def write(path, label_map, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(label_map, np.eye(4) if affine is None else affine)
    nib.save(image, path)
    return path


@pytest.fixture
def folders(tmp_path):
    """Two lesions of 125 mm3 in case a, of which one is found, and a false one of 8 mm3."""
    found = cubes(2) + cubes(50, side=2)
    for case, reference, prediction in (("a", cubes(2, 30), found), ("b", cubes(2), cubes(2))):
        write(tmp_path / "reference" / f"{case}.nii.gz", reference)
        write(tmp_path / "predictions" / f"{case}.nii.gz", prediction)
    return tmp_path / "predictions", tmp_path / "reference", tmp_path / "scores"


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# Conversion of labels


@pytest.mark.parametrize(
    ("scheme", "protocol", "labels", "regions"),
    [
        ("brats2023", GLI, {1: 1, 2: 2, 3: 3}, "WT TC ET"),
        ("brats2021", GLI, {1: 1, 2: 2, 4: 3}, "WT TC ET"),
        ("brats2023", "brats2017", {1: 1, 2: 2, 3: 4}, "WT TC ET"),
        ("msd", GLI, {1: 2, 2: 1, 3: 3}, "WT TC ET"),
        # The resection cavity is background where only WT, TC and ET are scored.
        ("brats2024-gli", GLI, {1: 1, 2: 2, 3: 3, 4: 0}, "WT TC ET"),
        # A cyst is tumour core without ET, like necrosis.
        ("brats2024-ped", GLI, {1: 3, 2: 1, 3: 1, 4: 2}, "WT TC ET"),
        # Without a cavity, RC is not scored; the lesions of ET are joined by NETC alone.
        ("brats2023", "brats2025-gli", {1: 1, 2: 2, 3: 3}, "WT TC NETC SNFH ET"),
        # NETC and the cyst are one label in 2023.
        ("brats2023", "brats2025-ped", {1: 2, 2: 4, 3: 1}, "WT TC ET ED"),
        ("men-rt", "brats2025-men-rt", {1: 1}, "GTV"),
        # Which of the three labels a voxel of WT gets makes no difference to WT.
        ("lgg", GLI, {1: 1}, "WT"),
        ("binary", GLI, {1: 0}, ""),
    ],
)
def test_labels_are_converted_by_the_regions_that_hold_them(scheme, protocol, labels, regions):
    conversion = Conversion.of(get_scheme(scheme), get_protocol(protocol))

    assert conversion.labels == labels
    assert conversion.regions == tuple(regions.split())
    label_map = np.array([[[0, *labels]]], dtype=np.uint8)
    assert conversion.converted(label_map).ravel().tolist() == [0, *labels.values()]


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=lambda protocol: protocol.name)
def test_regions_of_a_converted_label_map_are_those_of_its_scheme(protocol):
    known = set()
    for scheme in LABEL_SCHEMES.values():
        conversion = Conversion.of(scheme, protocol)
        label_map = np.array([[[0, *scheme.labels]]], dtype=np.uint8)
        masks = scheme.masks(label_map)
        converted = conversion.converted(label_map)
        for region in set(conversion.regions).intersection(masks):
            expected = np.isin(converted, protocol.regions[region].labels)
            np.testing.assert_array_equal(masks[region], expected)
        known.add(bool(conversion.regions))

    assert known == {True, False}  # of no protocol do all schemes have a region, or none


def test_labels_that_no_region_of_the_protocol_explains_are_not_guessed():
    scheme = LabelScheme("mine", {1: "oedema", 2: "far ET"}, {"WT": (1,), "ET": (2,)})

    # ET outside WT is nothing that the protocol knows.
    assert Conversion.of(scheme, get_protocol(GLI)).regions == ()


def test_a_region_whose_lesions_are_joined_by_an_unknown_tissue_is_not_scored():
    scheme = LabelScheme("mine", {1: "rest", 2: "ET"}, {"WT": (1, 2), "ET": (2,)})

    # In 2023 the lesions of ET are its own; since 2024, pieces that touch one NETC are one.
    assert Conversion.of(scheme, get_protocol("brats2023-ssa")).regions == ("WT", "ET")
    assert Conversion.of(scheme, get_protocol("brats2025-ssa")).regions == ("WT",)


def test_regions_of_labels_that_a_scheme_joins_are_not_scored():
    scheme = LabelScheme("mine", {1: "rest", 2: "ET"}, {"WT": (1, 2), "ET": (2,)})

    conversion = Conversion.of(scheme, get_protocol(GLI))

    assert (conversion.regions, conversion.unknown) == (("WT", "ET"), ("TC",))


# Scores


def test_official_scores_stand_beside_ours(folders):
    result = evaluate(*folders, **BOTH, protocols=[GLI])

    first, *_ = rows_of(folders[2] / f"scores_{GLI}.csv")
    assert (first["case_id"], first["region"], first["status"]) == ("a", "WT", "scored")
    # One lesion of two found, and one false: (1 + 0) / (2 + 1), (0 + 374 + 374) / 3.
    assert float(first["lesion_dice"]) == pytest.approx(1 / 3, abs=1e-4)
    assert float(first["lesion_hd95_mm"]) == pytest.approx(2 * 374 / 3, abs=1e-3)
    assert [first[n] for n in ("true_positives", "missed_lesions", "false_positives")] == list(
        "111"
    )
    # 2 x 125 / (125 + 8 + 250)
    assert result.table.means("dice")["WT"] == pytest.approx((250 / 383 + 1) / 2)
    assert result.files == (
        "scores.csv", "scores.json", f"scores_{GLI}.csv", f"lesions_{GLI}.csv",
    )  # fmt: skip


def test_each_lesion_and_each_false_positive_has_a_row(folders):
    evaluate(*folders, **BOTH, protocols=[GLI])

    rows = [row for row in rows_of(folders[2] / f"lesions_{GLI}.csv") if row["case_id"] == "a"]
    assert [
        (row["region"], row["kind"], row["volume_mm3"], row["counts"], row["n_predicted"])
        for row in rows
    ] == [
        ("WT", "lesion", "125.0", "yes", "1"),
        ("WT", "lesion", "125.0", "yes", "0"),
        ("WT", "false positive", "8.0", "", ""),
    ]
    assert [(row["dice"], row["hd95_mm"]) for row in rows] == [
        ("1.0", "0.0"),
        ("0.0", ""),
        ("", ""),
    ]
    assert [row["i"] for row in rows][:2] == ["4", "32"]


def test_the_json_holds_title_summary_and_lesions_of_a_protocol(folders):
    result = evaluate(*folders, **BOTH, protocols=[GLI])

    document = read_summary(folders[2] / "scores.json")
    (name, official), *others = document["protocols"].items()
    assert (name, others) == (GLI, [])
    assert "rachitsaluja" in official["title"]
    of_region = official["cases"]["a"]["WT"]
    assert [lesion["n_predicted"] for lesion in of_region["lesions"]] == [1, 0]
    assert of_region["false_positive_lesions"][0]["volume_mm3"] == 8
    assert of_region["false_positives"] == 1
    assert of_region["lesion_dice"] == pytest.approx(1 / 3)
    summary = official["summary"]["WT"]
    assert summary["lesion_dice"]["mean"] == pytest.approx((1 / 3 + 1) / 2)
    assert summary == result.record.protocols[0].table.summary()["WT"]
    assert {"lesion_dice", "lesion_hd95_mm", "interval"} <= official["definitions"].keys()


def test_missing_and_failed_predictions_stay_in_the_count_of_a_protocol(folders):
    (folders[0] / "b.nii.gz").unlink()
    write(folders[1] / "c.nii.gz", cubes(2))
    write(folders[0] / "c.nii.gz", cubes(2), np.diag([2.0, 1, 1, 1]))  # another grid

    result = evaluate(*folders, **BOTH, protocols=[GLI])

    (record,) = result.record.protocols
    summary = record.table.summary()["WT"]
    assert (summary["n_cases"], summary["n_missing"], summary["n_failed"]) == (1, 1, 1)
    dice = summary["lesion_dice"]
    assert dice["mean"] == pytest.approx(1 / 3)
    assert dice["mean_missing_as_worst"] == pytest.approx(1 / 9)
    assert summary["lesion_hd95_mm"]["mean_missing_as_worst"] == pytest.approx(
        (2 * 374 / 3 + 2 * 374) / 3
    )
    assert list(record.failures) == ["c"]
    assert [case_id for case_id, _ in result.failures] == ["c"]  # named once
    statuses = [row["status"] for row in rows_of(folders[2] / f"scores_{GLI}.csv")]
    assert statuses == ["scored"] * 3 + ["missing"] * 3 + ["failed"] * 3


def test_predictions_of_another_scheme_are_converted_and_a_note_says_so(folders):
    write(folders[0] / "b.nii.gz", cubes(2, label=4))
    write(folders[1] / "b.nii.gz", cubes(2, label=3))

    result = evaluate(
        *folders, labels="brats2021", reference_labels="brats2023", protocols=[f"volseg,{GLI}"]
    )

    rows = rows_of(folders[2] / f"scores_{GLI}.csv")
    assert [row["true_positives"] for row in rows if row["case_id"] == "b"] == ["1"] * 3
    assert f"{GLI}: labels of predictions (brats2021) converted: 4 to 3" in result.notes


def test_a_prediction_of_the_whole_tumour_has_official_scores_of_it_alone(folders):
    for case in ("a", "b"):
        write(folders[0] / f"{case}.nii.gz", cubes(2, label=1))

    result = evaluate(
        *folders, labels="lgg", reference_labels="brats2023", protocols=[GLI, "brats2017"]
    )

    assert {row["region"] for row in rows_of(folders[2] / f"scores_{GLI}.csv")} == {"WT"}
    said = "not scored: TC, ET, which labels of predictions (lgg) do not separate from other tissue"
    assert f"{GLI}, brats2017: {said}" in result.notes
    assert said in result.record.protocols[0].notes


def test_labels_without_a_region_of_the_protocol_are_refused_before_any_work(folders):
    message = (
        r"brats2023-gli scores WT TC ET, but of these the predictions \(binary\) and the "
        r"reference \(binary\) have none in common; choose another"
    )
    with pytest.raises(LabelError, match=message):
        evaluate(*folders, labels="binary", reference_labels="binary", protocols=[GLI])
    assert not folders[2].exists()


def test_an_unknown_protocol_is_answered_with_those_of_near_names(folders):
    done = CliRunner().invoke(
        app,
        ["evaluate", *map(str, folders[:2]), "-o", str(folders[2]), "--protocol", "brats2023gli"],
    )

    assert done.exit_code == 2
    assert "unknown protocol 'brats2023gli'; did you mean brats2023-gli" in done.stderr


def test_the_voxel_size_is_that_of_the_header_or_of_the_affine_as_in_each_program(folders):
    for side in folders[:2]:
        for case in ("a", "b"):
            image = nib.load(side / f"{case}.nii.gz")
            image.header.set_sform(np.diag([2.0, 1, 1, 1]), 1)
            path = side / f"{case}.nii.gz"
            nib.save(nib.Nifti1Image(np.asarray(image.dataobj), None, image.header), path)

    evaluate(*folders, **BOTH, protocols=[GLI, "brats2017"])

    header, affine = (
        rows_of(folders[2] / f"scores_{name}.csv")[0]["reference_volume_ml"]
        for name in (GLI, "brats2017")
    )
    assert (float(header), float(affine)) == (0.25, 0.5)


def test_slices_of_unknown_size_have_no_official_scores(tmp_path):
    for folder in ("predictions", "reference"):
        for number in (1, 2):
            path = tmp_path / folder / "p" / f"p_{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.eye(16, dtype=np.uint8) * 255).save(path)
    folders = (tmp_path / "predictions", tmp_path / "reference", tmp_path / "scores")

    with pytest.raises(ConfigError, match="measures lesions in mm, but the voxel size of no case"):
        evaluate(*folders, labels="lgg", reference_labels="lgg", protocols=[GLI])


def test_scores_of_a_protocol_that_is_no_longer_asked_for_are_removed(folders):
    evaluate(*folders, **BOTH, protocols=[GLI, "brats2023-met"])
    evaluate(*folders, **BOTH, protocols=["brats2023-met"])

    assert sorted(path.name for path in folders[2].glob("*_brats*")) == [
        "lesions_brats2023-met.csv", "scores_brats2023-met.csv",
    ]  # fmt: skip


def test_the_tables_of_a_protocol_name_lesions_and_cases(folders):
    words = ["evaluate", *map(str, folders[:2]), "-o", str(folders[2]), "--labels", "brats2023"]
    done = CliRunner().invoke(
        app, [*words, "--reference-labels", "brats2023", "--protocol", f"{GLI},brats2017"]
    )

    assert done.exit_code == 0, done.output
    assert "brats2023-gli: BraTS 2023 adult glioma" in done.output
    # One of three lesions missed, one false positive, two cases.
    assert "│ WT     │ 2              │ 1               │ 1              │ 2      │" in done.output
    assert "brats2017, whole regions" in done.output
    assert "brats2017, lesions" not in done.output


def test_a_table_of_a_protocol_that_another_program_wrote_is_not_replaced(folders):
    folders[2].mkdir()
    (folders[2] / f"scores_{GLI}.csv").write_text("case,dice\na,1\n")

    done = CliRunner().invoke(
        app, ["evaluate", *map(str, folders[:2]), "-o", str(folders[2]), "--labels", "brats2023"]
    )

    assert done.exit_code == 2
    assert f"scores_{GLI}.csv is there already and volseg did not write it" in done.stderr


def test_a_damaged_entry_of_a_protocol_is_refused(folders):
    evaluate(*folders, **BOTH, protocols=[GLI])
    path = folders[2] / "scores.json"
    document = json.loads(path.read_text())
    document["protocols"][GLI]["cases"]["a"]["WT"]["lesion_dice"] = "good"
    path.write_text(json.dumps(document))

    with pytest.raises(Exception, match="is not as volseg writes it"):
        read_summary(path)


def test_files_of_earlier_scores_that_are_removed_are_named(folders):
    first = evaluate(*folders, **BOTH, protocols=[GLI])
    again = evaluate(*folders, **BOTH)

    removed = [note for note in again.notes if note.startswith("removed ")]
    assert len(removed) == 1
    assert f"scores_{GLI}.csv" in removed[0]
    assert f"lesions_{GLI}.csv of earlier scores in {folders[2]}" in removed[0]
    assert not any("removed" in note for note in first.notes)


@pytest.mark.parametrize("is_first", [True, False])
def test_scores_that_cannot_be_written_leave_all_files_as_they_were(folders, monkeypatch, is_first):
    if not is_first:
        evaluate(*folders, **BOTH)
        write(folders[0] / "b.nii.gz", cubes(3))
    before = {path.name: path.read_bytes() for path in folders[2].glob("*")}

    def full(*_):
        raise OSError(errno.EFBIG, "File too large")

    monkeypatch.setattr(ScoreTable, "to_json", full)
    with pytest.raises(OutputError, match=r"(?i)file too large"):
        evaluate(*folders, **BOTH)

    assert {path.name: path.read_bytes() for path in folders[2].iterdir()} == before


def test_a_file_named_after_a_missing_case_and_more_is_named(folders):
    (folders[0] / "b.nii.gz").rename(folders[0] / "b_pred.nii.gz")

    result = evaluate(*folders, **BOTH)

    assert result.missing == ("b",)
    assert any(f"{folders[0]} holds b_pred.nii.gz, but no" in note for note in result.notes)


def test_files_named_after_a_case_with_a_prediction_are_not_named(folders):
    write(folders[0] / "b_WT.nii.gz", cubes(2))

    assert not any("b_WT" in note for note in evaluate(*folders, **BOTH).notes)
