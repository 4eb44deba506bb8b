"""`volseg report`: pages that load nothing from elsewhere and show what the files hold."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from nifti_files import save
from PIL import Image
from typer.testing import CliRunner

from volseg import cli
from volseg.errors import DataListError, OutputError
from volseg.files.paths import places, recorded_path
from volseg.metrics import get_score
from volseg.reporting.build import build_report
from volseg.reporting.content import CaseEntry, CaseLink, Notes, Picture, Report, Section, Table
from volseg.reporting.pages import write_report
from volseg.reporting.protocol_sections import lesion_tables, protocol_sections
from volseg.reporting.results import Results
from volseg.reporting.score_sections import score_sections
from volseg.tasks.evaluate import evaluate
from volseg.tasks.report import report

CHANNELS = ("t1n", "t1c", "t2w", "t2f")
SHAPE = (24, 22, 18)
AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
HOSTILE = "<script>alert(1)</script> \"'&\u202e" + "x" * 300


class Page(HTMLParser):
    """Parts of a page that tests ask for."""

    def __init__(self, path):
        super().__init__()
        self.path, self.ids, self.links, self.images, self.text = path, Counter(), [], [], ""
        self.tags, self.attributes = Counter(), []
        self.rows, self.cell = [], None
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        of = dict(attrs)
        self.tags[tag] += 1
        self.attributes += attrs
        if "id" in of:
            self.ids[of["id"]] += 1
        if tag == "a":
            self.links.append(of["href"])
        if tag == "img":
            self.images.append(of)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.cell = ""

    def handle_endtag(self, tag):
        if tag in ("td", "th") and self.cell is not None:
            self.rows[-1].append(self.cell)
            self.cell = None

    def handle_data(self, data):
        self.text += data
        if self.cell is not None:
            self.cell += data


def write_scan(folder, case_id, label_map):
    rng = np.random.default_rng(len(case_id))
    (folder / case_id).mkdir(parents=True)
    image = np.zeros(SHAPE, np.float32)
    image[3:-3, 3:-3, 2:-2] = 100
    for channel in CHANNELS:
        noisy = image + rng.normal(0, 5, SHAPE).astype(np.float32) * (image > 0)
        save(folder / case_id / f"{case_id}-{channel}.nii.gz", noisy, AFFINE)
    save(folder / case_id / f"{case_id}-seg.nii.gz", label_map, AFFINE)


def label_map(shift=0):
    found = np.zeros(SHAPE, np.uint8)
    found[6 + shift : 14 + shift, 6:14, 5:12] = 2
    found[7 + shift : 12 + shift, 7:12, 6:10] = 1
    found[8 + shift : 11 + shift, 8:11, 7:9] = 3
    return found


def write_predictions(folder, scans, shifts):
    """Predictions shifted by some voxels, with the manifest that `infer` leaves."""
    records = {}
    folder.mkdir()
    for case_id, shift in shifts.items():
        save(folder / f"{case_id}.nii.gz", label_map(shift), AFFINE)
        files = {c: str(scans / case_id / f"{case_id}-{c}.nii.gz") for c in CHANNELS}
        records[case_id] = {
            "inputs": files,
            "output": f"{case_id}.nii.gz",
            "models": ["0" * 64],
            "volumes_ml": {"WT": 0.448, "TC": 0.1, "ET": 0.0},
            "notes": ["orientation assumed"] if shift == 2 else [],
        }
    content = {
        "volseg": "0.1.0",
        "models": [{"path": "runs/a/model.safetensors", "sha256": "0" * 64}],
        "labels": "brats2023",
        "doubts": ["trained on two cases"],
        "failures": {"BraTS-GLI-00009-000": "t1c is empty"},
        "cases": records,
    }
    (folder / "manifest.json").write_text(json.dumps(content))


SHIFTS = {f"BraTS-GLI-0000{n}-000": n for n in range(3)}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Scans, predictions of all but the last scan, and scores."""
    root = tmp_path_factory.mktemp("report")
    scans, predictions, scores = (root / name for name in ("scans", "predictions", "scores"))
    for case_id in (*SHIFTS, "BraTS-GLI-00003-000"):
        write_scan(scans, case_id, label_map())
    write_predictions(predictions, scans, SHIFTS)
    evaluate(predictions, scans, scores, protocols=["brats2023-gli"])
    return root


@pytest.fixture(scope="module")
def scored(folders):
    """Page of the scores."""
    return Page(report(folders / "scores", folders / "pages" / "scores.html").pages[0])


@pytest.fixture(scope="module")
def unscored(folders):
    """Page of the results without references."""
    return Page(report(folders / "predictions", folders / "pages" / "results.html").pages[0])


def test_a_page_is_alone(scored, unscored):
    for page in (scored, unscored):
        assert not {"script", "link", "iframe", "object", "video"} & (set(page.tags) - {"link"})
        urls = [value for name, value in page.attributes if name in ("src", "href", "srcset")]
        assert all(url.startswith(("data:", "#")) for url in urls)
        assert not re.search(r"url\(|@import|https?:", page.path.read_text(encoding="utf-8"))
        (policy,) = (v for n, v in page.attributes if n == "content" and "default-src" in v)
        assert policy.startswith("default-src 'none'")


def test_every_link_leads_somewhere_and_every_picture_is_one(scored, unscored):
    for page in (scored, unscored):
        assert all(page.ids[link.removeprefix("#")] == 1 for link in page.links)
        assert set(page.ids.values()) == {1}
        assert page.images
        for image in page.images:
            kind, _, data = image["src"].partition("base64,")
            assert kind == "data:image/webp;"
            with Image.open(io.BytesIO(base64.b64decode(data))) as opened:
                assert opened.size == (int(image["width"]), int(image["height"]))
            assert len(image["alt"]) > 20


def test_numbers_are_those_of_the_scores(folders, scored):
    content = json.loads((folders / "scores" / "scores.json").read_text())

    text = get_score("dice").text
    for region, of in content["summary"].items():
        (row,) = (r for r in scored.rows if r[:2] == [region, "mean"])
        assert row[2].split(" [")[0] == text(of["dice"]["mean"])
    for case_id, case in content["cases"].items():
        if case["status"] == "scored":
            row = next(r for r in scored.rows if r[0] == case_id)
            assert row[1:4] == [text(case["regions"][r]["dice"]) for r in ("WT", "TC", "ET")]


def test_the_worst_case_is_first_and_the_missing_case_is_named(scored):
    anchors = re.findall(r"<h3>(.*?)</h3>", scored.path.read_text(encoding="utf-8"))

    assert anchors == sorted(SHIFTS, key=SHIFTS.get, reverse=True)
    assert ["BraTS-GLI-00003-000", "no prediction"] in scored.rows
    assert "3 scored, 1 missing, 0 failed" in scored.text


def test_the_head_says_what_was_scored_and_that_it_is_research(folders, scored):
    for words in (
        "For research only, not for clinical use.",
        str(folders / "predictions"),
        "runs/a/model.safetensors (SHA-256 000000000000...)",
        "trained on two cases",
        "volseg 0.1.0",
    ):
        assert words in scored.text


def test_results_without_references_show_volumes_notes_and_failures(unscored):
    assert ["BraTS-GLI-00002-000", "0.448", "0.100", "0.000"] in unscored.rows
    assert ["BraTS-GLI-00002-000", "orientation assumed"] in unscored.rows
    assert ["BraTS-GLI-00009-000", "t1c is empty"] in unscored.rows
    assert ["WT", "0.448", "-", "-", "-", "-", "-"] in unscored.rows
    assert "3 segmented, 1 failed" in unscored.text
    assert "Errors by region" not in unscored.text


def test_sizes_are_those_of_the_manifest(folders, tmp_path):
    shutil.copytree(folders / "predictions", tmp_path / "predictions")
    manifest = tmp_path / "predictions" / "manifest.json"
    content = json.loads(manifest.read_text())
    diameter = {"longest_mm": 12.5, "perpendicular_mm": 7.25, "slice_number": 9}
    for record in content["cases"].values():
        known = {"voxels": 448, "volume_ml": None, "n_lesions": 2}
        record["measures"] = {"WT": {**known, "section": None, "diameter": diameter}}
    manifest.write_text(json.dumps(content))

    page = Page(report(tmp_path / "predictions", cases=1).pages[0])

    assert ["WT", "-", "448", "2", "12.5", "7.2", "9"] in page.rows
    assert ["BraTS-GLI-00002-000", "448"] in page.rows
    assert "Predicted: WT 448 voxels" in page.text


def test_folds_that_were_scored_together_are_reported_together(folders, tmp_path):
    folds = [tmp_path / "fold 0", tmp_path / "fold 1"]
    for number, fold in enumerate(folds):
        shifts = {case: shift for case, shift in SHIFTS.items() if (shift == 1) == (number == 1)}
        write_predictions(fold, folders / "scans", shifts)
    evaluate(folds, folders / "scans", tmp_path / "scores")

    result = report(tmp_path / "scores")

    page = Page(result.pages[0])
    assert result.failures == {}
    assert f"{folds[0]}, {folds[1]}" in page.text
    assert len(page.images) == 4 * 3


def test_cases_of_a_data_list_are_found_below_its_data_root(folders, tmp_path):
    case_id = "BraTS-GLI-00000-000"
    files = {name: f"{case_id}/{case_id}-{name}.nii.gz" for name in (*CHANNELS, "seg")}
    label = files.pop("seg")
    case = {"case_id": case_id, "patient_id": case_id, "image": [*files.values()], "label": label}
    listed = {"channels": list(files), "training": [{**case, "fold": 0}]}
    (tmp_path / "list.json").write_text(
        json.dumps({"volseg": 1, "name": "list", "data_root": None, **listed})
    )
    scans, scores = folders / "scans", tmp_path / "scores"
    evaluate(
        folders / "predictions",
        tmp_path / "list.json",
        scores,
        reference_labels="brats2023",
        data_root=scans,
    )

    assert Page(report(scores).pages[0]).images


def test_relative_paths_are_found_from_any_folder_and_after_the_tree_was_moved(
    folders, tmp_path, monkeypatch
):
    tree = tmp_path / "tree"
    for name in ("scans", "predictions"):
        shutil.copytree(folders / name, tree / name)
    monkeypatch.chdir(tree)
    evaluate("predictions", "scans", "scores")

    monkeypatch.chdir(tmp_path)
    elsewhere = Page(report(tree / "scores", tmp_path / "a.html").pages[0])
    tree.rename(tmp_path / "moved")
    moved = Page(report("moved/scores", tmp_path / "b.html").pages[0])

    for page in (elsewhere, moved):
        assert "no case is drawn" not in page.text
        assert len(page.images) == len(SHIFTS) * 4
        assert "runs/a/model.safetensors" in page.text


def test_a_path_that_is_there_is_taken_before_one_beside_the_moved_document(tmp_path):
    for name in ("old/a", "new/a", "new/b"):
        (tmp_path / name).mkdir(parents=True)
    document = {"folder": str(tmp_path / "old" / "scores"), "working_folder": str(tmp_path)}

    def find(name):
        return recorded_path(name, document, tmp_path / "new" / "scores")

    assert find("old/a") == tmp_path / "old" / "a"
    assert find("old/b") == tmp_path / "new" / "b"
    assert find("old/c") == tmp_path / "old" / "c"


def test_images_of_results_are_found_from_any_folder_and_after_the_tree_was_moved(
    folders, tmp_path, monkeypatch
):
    tree, (case_id, *_) = tmp_path / "tree", SHIFTS
    for name in ("scans", "predictions"):
        shutil.copytree(folders / name, tree / name)
    manifest = tree / "predictions" / "manifest.json"
    content = json.loads(manifest.read_text())
    files = {c: f"scans/{case_id}/{case_id}-{c}.nii.gz" for c in CHANNELS}
    sources = [{"path": str(tree / name)} for name in files.values()]
    for source in sources:
        source |= {"bytes": 1, "time_ns": 1, "sha256": ""}
    record = content["cases"][case_id] | {"inputs": files, "sources": sources}
    monkeypatch.chdir(tree)
    about = places(Path("predictions"))
    manifest.write_text(json.dumps({**content, **about, "cases": {case_id: record}}))

    monkeypatch.chdir(tmp_path)
    elsewhere = report(tree / "predictions", tmp_path / "a.html")
    tree.rename(tmp_path / "moved")
    moved = report("moved/predictions", tmp_path / "b.html")

    assert elsewhere.failures == moved.failures == {}


def test_means_of_groups_and_slices_have_their_intervals():
    means = {"dice": 0.5, "iou": 0.4, "precision": 0.6, "recall": 0.7}
    scores = {
        "summary": {"WT": {"dice": {"mean": 0.5}}},
        "cases": {},
        "group_scores": {
            "site": {
                "CS": {"WT": {"n": 3, "dice": {"mean": 0.5, "median": 0.4, "interval": [0.1, 0.9]}}}
            }
        },
        "slices": {"WT": {"tumour_slices": {"n": 5, **means}, "all_slices": {"n": 9, **means}}},
        "slice_intervals": {"WT": {"tumour_slices": {"dice": [0.2, 0.8]}, "all_slices": {}}},
    }

    tables = {
        block.caption: block
        for section in score_sections(scores)
        for block in section.blocks
        if isinstance(block, Table)
    }

    assert tables["site"].rows == [("CS", "WT", "3", "0", "0.500 [0.100, 0.900]", "0.400")]
    of_slices = tables["Means over slices"]
    assert [row[3] for row in of_slices.rows] == ["0.500 [0.200, 0.800]", "0.500"]
    assert "bootstrap over patients" in of_slices.note


def test_cases_without_a_region_in_both_masks_and_the_numbers_behind_means_are_said():
    def case(reference, prediction, dice):
        of = {"dice": dice, "reference_voxels": reference, "prediction_voxels": prediction}
        return {"status": "scored", "regions": {"ET": of}}

    counts = {"n_cases": 3, "n_empty_reference": 2, "n_empty_prediction": 1}
    scores = {
        "summary": {"ET": {**counts, "dice": {"mean": 0.5}}},
        "cases": {"a": case(0, 0, 1.0), "b": case(5, 5, 0.4), "c": case(0, 2, 0.0)},
    }

    blocks = score_sections(scores)[0].blocks

    counted = next(b for b in blocks if isinstance(b, Table) and b.caption == "Number of cases")
    assert counted.rows == [("ET", "3", "2", "1", "0", "0")]
    (said,) = [sentence for b in blocks if isinstance(b, Notes) for sentence in b.sentences]
    assert said == (
        "1 of 3 cases have no ET in reference and prediction and count as 1; the mean Dice of the "
        "others is 0.200."
    )


def test_a_mean_of_an_official_score_over_fewer_cases_has_their_number():
    of_score = {"mean": 0.5, "median": 0.5, "std": None}
    summary = {"ET": {"n_cases": 4, "lesion_dice": {**of_score, "n": 3}, "lesion_f1": of_score}}
    protocol = {"title": "t", "summary": summary, "cases": {}}

    section = protocol_sections({"protocols": {"brats2026-gli": protocol}})[0]

    means = {row[0]: row[1] for row in section.blocks[0].rows}
    assert sorted(means.values()) == ["0.500", "0.500, n = 3"]


def test_regions_of_a_protocol_are_shown_from_the_whole_tumour_inwards():
    summary = {region: {"n_cases": 4} for region in ("ET", "RC", "TC", "WT")}
    protocol = {"title": "t", "summary": summary, "cases": {}}

    section = protocol_sections({"protocols": {"brats2026-gli": protocol}})[0]

    assert section.blocks[0].columns == ("mean over cases", "WT", "TC", "ET", "RC")


def test_without_files_the_numbers_remain_and_the_reason_is_given(folders, tmp_path):
    shutil.copytree(folders / "scores", tmp_path / "scores")
    content = json.loads((tmp_path / "scores" / "scores.json").read_text())
    content["predictions"] = str(tmp_path / "gone")
    (tmp_path / "scores" / "scores.json").write_text(json.dumps(content))

    result = report(tmp_path / "scores")

    page = Page(result.pages[0])
    assert "no case is drawn" in page.text
    assert f"{tmp_path / 'gone'} is not a folder" in page.text
    assert not page.images
    assert any(row[0] == "BraTS-GLI-00000-000" for row in page.rows)
    assert result.failures == {}


def test_a_broken_case_is_named_and_the_others_are_drawn(folders, tmp_path):
    scans = tmp_path / "predictions"
    shutil.copytree(folders / "predictions", scans)
    (scans / "BraTS-GLI-00001-000.nii.gz").write_bytes(b"no image")

    done = CliRunner().invoke(cli.app, ["report", str(scans), "-o", str(tmp_path / "a.html")])

    page = Page(tmp_path / "a.html")
    assert done.exit_code == 3
    assert "BraTS-GLI-00001-000" in done.output
    assert "not drawn" in page.text
    assert len(page.images) == 6


def test_the_number_of_cases_with_pictures_is_an_option(folders, tmp_path):
    page = Page(report(folders / "scores", tmp_path / "a.html", cases=1).pages[0])
    none = Page(report(folders / "scores", tmp_path / "b.html", cases=0).pages[0])

    assert "1 of 3 cases" in page.text
    assert [link for link in page.links if "case-" in link] == ["#case-1"]
    assert "pictures" not in none.ids


def test_official_scores_and_lesions_are_those_of_the_files(folders, scored):
    content = json.loads((folders / "scores" / "scores.json").read_text())
    official = content["protocols"]["brats2023-gli"]

    assert "Official scores: brats2023-gli" in scored.text
    assert official["title"] in scored.text
    (row,) = (r for r in scored.rows if r[0] == "lesion-wise Dice")
    means = [official["summary"][r]["lesion_dice"]["mean"] for r in ("WT", "TC", "ET")]
    assert [cell.split(" [")[0] for cell in row[1:]] == [f"{mean:.3f}" for mean in means]
    lesions = [
        [region, "1", f"{lesion['volume_mm3'] / 1000:.3f}", str(lesion["n_predicted"])]
        for case_id in sorted(SHIFTS, reverse=True)
        for region, found in official["cases"][case_id].items()
        for lesion in found["lesions"]
    ]
    assert [row[:4] for row in scored.rows if len(row) == 8 and row[1] == "1"] == lesions


def lesion(volume_mm3, n_predicted=1):
    return {
        **{"volume_mm3": volume_mm3, "n_predicted": n_predicted, "dice": 0.5, "counts": True},
        **{"hd95_mm": 2.0 if n_predicted else None, "centre": [1, 2, 3]},
    }


def test_lesions_that_were_missed_and_false_positives_are_said_to_be_so():
    false = [{"volume_mm3": float(n), "centre": [n, 0, 0]} for n in range(1, 13)]
    found = {"lesions": [lesion(1500.0), lesion(60.0, 0)], "false_positive_lesions": false}
    scores = {"protocols": {"brats2023-gli": {"cases": {"a": {"WT": found}}}}}

    (table,) = lesion_tables(scores, "a")

    assert table.rows[0] == ("WT", "1", "1.500", "1", "0.500", "2.00", "1, 2, 3", "")
    assert table.rows[1] == ("WT", "2", "0.060", "0", "0.500", "-", "1, 2, 3", "missed")
    assert [row[6] for row in table.rows[2:4]] == ["12, 0, 0", "11, 0, 0"]
    assert table.rows[-1][-1] == "and 2 smaller false positives"
    assert lesion_tables(scores, "b") == []


def test_calibration_is_that_of_the_maps_beside_the_label_maps(folders, tmp_path):
    """Probability 0.75 within a shifted cube: half of its voxels are in the reference."""
    predictions = tmp_path / "predictions"
    shutil.copytree(folders / "predictions", predictions)
    content = json.loads((predictions / "manifest.json").read_text())
    case_id = "BraTS-GLI-00000-000"
    names = {region: f"{case_id}_{region}.nii.gz" for region in ("WT", "TC", "ET")}
    content["cases"][case_id]["probabilities"] = list(names.values())
    (predictions / "manifest.json").write_text(json.dumps(content))
    for name in names.values():
        probabilities = np.zeros(SHAPE, np.float32)
        probabilities[10:18, 6:14, 5:12] = 0.75
        save(predictions / name, probabilities, AFFINE)
    evaluate(predictions, folders / "scans", tmp_path / "scores")

    page = Page(report(tmp_path / "scores", cases=0).pages[0])

    # With its margin of 10 voxels, the box is the whole image.
    whole = SHAPE[0] * SHAPE[1] * SHAPE[2]
    cube, shared = 8 * 8 * 7, 4 * 8 * 7
    expected = (abs(0.75 * cube - shared) + (cube - shared)) / whole
    (row,) = (r for r in page.rows if r[0] == "WT" and len(r) == 3)
    assert row == ["WT", f"{expected:.4f}", str(whole)]
    assert "1 of 3 cases" in page.text


def test_a_broken_map_is_named_and_no_case_fails(folders, tmp_path):
    predictions = tmp_path / "predictions"
    shutil.copytree(folders / "predictions", predictions)
    content = json.loads((predictions / "manifest.json").read_text())
    content["cases"]["BraTS-GLI-00000-000"]["probabilities"] = ["BraTS-GLI-00000-000_WT.nii.gz"]
    (predictions / "manifest.json").write_text(json.dumps(content))
    evaluate(predictions, folders / "scans", tmp_path / "scores")

    result = report(tmp_path / "scores", cases=0)

    assert "BraTS-GLI-00000-000 is left out" in Page(result.pages[0]).text
    assert result.failures == {}


def test_evaluate_reports_at_once_and_refuses_a_page_of_others_before_any_work(folders, tmp_path):
    call = ["evaluate", folders / "predictions", folders / "scans", "-o", tmp_path, "--report"]
    (tmp_path / "report.html").write_text("mine")

    refused = CliRunner().invoke(cli.app, list(map(str, call)))
    left = [path.name for path in tmp_path.iterdir()]
    (tmp_path / "report.html").unlink()
    done = CliRunner().invoke(cli.app, list(map(str, call)))

    assert refused.exit_code == 2
    assert "volseg did not write it" in refused.output
    assert left == ["report.html"]
    assert done.exit_code == 3  # a prediction is missing
    assert f"Report: {tmp_path / 'report.html'}" in done.output
    assert Page(tmp_path / "report.html").images


def entry(case_id, pictures=()):
    return CaseEntry(case_id, "Dice", [Notes([f"note of {case_id}"])], lambda: pictures)


def written(path, cases, **parts):
    table = Table("Table", ("case", "note"), [("<b>bold</b>", "<i>")])
    sections = [Section("first", "First", [table])]
    return write_report(path, Report(f"of {HOSTILE}", {}, [HOSTILE], sections, cases, "order"))


def test_notes_of_protocols_stand_in_their_sections_alone(tmp_path):
    protocol = {"notes": ["RC is not scored"], "summary": {}, "cases": {}}
    notes = ["brats2023-gli, brats2017: RC is not scored", "brats2017: x", "RC: not scored"]
    scores = {
        "summary": {},
        "cases": {},
        "notes": notes,
        "protocols": {"brats2023-gli": protocol, "brats2017": protocol},
    }

    sections = build_report(Results(tmp_path, scores), 0).sections

    said = {section.anchor: section.blocks for section in sections}
    assert said["notes"] == [Notes(notes[1:])]
    assert Notes(["RC is not scored"]) in said["protocol-1"]


def test_hostile_names_are_text(tmp_path):
    result = written(tmp_path / "a & b.html", [entry(f"{HOSTILE}{n}") for n in range(12)])

    for path in result.pages:
        page = Page(path)
        assert not {"script", "b", "i"} & set(page.tags)
        assert "<script>alert(1)</script>" in page.text
        assert "\u202e" not in page.text
        assert r"\u202e" in page.text


@pytest.mark.parametrize("earlier", [0, 21, 41])
def test_an_interrupted_call_leaves_an_earlier_report_as_it_was_or_none(tmp_path, earlier):
    def interrupt():
        raise KeyboardInterrupt

    path = tmp_path / "pages" / "a.html"
    if earlier:
        written(path, [entry(f"old {number}") for number in range(earlier)])
    before = {page.name: page.read_bytes() for page in path.parent.glob("*")}

    cases = [entry(f"new {number}") for number in range(31)]
    with pytest.raises(KeyboardInterrupt):
        written(path, [replace(cases[0], draw=interrupt), *cases[1:]])

    assert {page.name: page.read_bytes() for page in path.parent.iterdir()} == before
    assert len(before) == -(-earlier // 10)


def test_further_pages_are_linked_and_those_of_an_earlier_report_are_removed(tmp_path):
    path = tmp_path / "a report.html"
    written(path, [entry(f"case {n}") for n in range(25)])
    foreign = tmp_path / "a report-9.html"
    foreign.write_text("<!doctype html>mine")

    first, second = written(path, [entry(f"case {n}") for n in range(11)]).pages

    assert second.name == "a report-2.html"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        [first.name, second.name, foreign.name]
    )
    assert "a%20report-2.html" in Page(first).links
    assert "a%20report.html" in Page(second).links
    assert Page(second).ids["case-11"] == 1


def test_pages_of_another_report_are_neither_replaced_nor_removed(tmp_path):
    other = tmp_path / "report-2.html"
    written(other, [entry("other")])
    before = other.read_bytes()

    with pytest.raises(OutputError, match=r"report-2.html is the first page of another report"):
        written(tmp_path / "report.html", [entry(f"case {n}") for n in range(11)])
    written(tmp_path / "report.html", [entry("case")])
    assert other.read_bytes() == before

    written(tmp_path / "b.html", [entry(f"case {n}") for n in range(11)])
    with pytest.raises(OutputError, match=r"b-2.html is page 2 of b.html and would be replaced"):
        written(tmp_path / "b-2.html", [entry("case")])


def test_a_link_of_a_table_leads_to_the_page_of_the_case(folders, tmp_path):
    table = Table("Table", ("case",), [(CaseLink("case 10"),), (CaseLink("other"),)])
    cases = [entry(f"case {n}") for n in range(11)]
    sections = [Section("first", "First", [table])]
    write_report(tmp_path / "a.html", Report("title", {}, [], sections, cases, "order"))

    assert "a-2.html#case-11" in Page(tmp_path / "a.html").links
    assert ["other"] in Page(tmp_path / "a.html").rows


def test_pictures_of_a_case_stay_below_two_megabytes(tmp_path, caplog):
    large = Picture("large", "a picture that is too large", b"0" * 1_400_000, 1, 1)
    small = Picture("small", "a picture that is small enough", b"0" * 1000, 1, 1)
    written(tmp_path / "a.html", [entry("a", [large, large, small])])

    assert (tmp_path / "a.html").stat().st_size < 2_100_000
    assert [image["alt"] for image in Page(tmp_path / "a.html").images] == [
        large.description,
        small.description,
    ]
    assert "large is too large and left out" in caplog.text


def test_a_file_of_others_is_not_replaced(folders, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("<!doctype html>\nmine</html>\n")

    with pytest.raises(OutputError, match="volseg did not write it"):
        report(folders / "scores", path)

    assert path.read_text() == "<!doctype html>\nmine</html>\n"


def test_a_report_replaces_a_report(folders, tmp_path):
    report(folders / "scores", tmp_path / "report.html", cases=0)
    report(folders / "scores", tmp_path / "report.html", cases=1)

    assert Page(tmp_path / "report.html").images
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("report.pdf", "does not end in .html"), ("", "is a folder")],
)
def test_a_report_is_one_html_file(folders, tmp_path, name, message):
    with pytest.raises(OutputError, match=message):
        report(folders / "scores", tmp_path / name)


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(DataListError, match=r"holds neither scores.json nor manifest.json"):
        report(tmp_path)
    with pytest.raises(DataListError, match="does not exist"):
        report(tmp_path / "none")


def in_browser(path, profile):
    """The page as Chromium has it after loading, and the messages of the browser."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium")
    call = [
        *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"),
        *(f"--user-data-dir={profile}", "--virtual-time-budget=2000", "--dump-dom"),
    ]
    return subprocess.run(
        [*call, path.as_uri()], capture_output=True, text=True, check=True, timeout=120
    )


def test_a_browser_complains_of_nothing(scored, tmp_path):
    done = in_browser(scored.path, tmp_path)

    assert "CONSOLE" not in done.stderr
    assert "Scores by region" in done.stdout


def test_a_browser_loads_every_picture(scored, tmp_path):
    """A copy counts them itself, with a script that the policy of a report forbids."""
    text = re.sub(r"<meta http-equiv.*?>", "", scored.path.read_text(encoding="utf-8"))
    count = "document.title = [...document.images].map(i => i.naturalWidth).join(' ')"
    copy = tmp_path / "copy.html"
    copy.write_text(text + f"<script>onload = () => {{ {count} }}</script>", encoding="utf-8")

    done = in_browser(copy, tmp_path)

    widths = re.search(r"<title>(.*?)</title>", done.stdout)[1].split()
    assert widths == [image["width"] for image in scored.images]


def test_headings_stand_like_their_cells(tmp_path):
    table = Table(
        "t", ("region", "state", "n", "why"), [("WT", "gone", "3", "x" * 30), ("TC", "-", "4", "")]
    )
    content = Report("r", {}, [], [Section("s", "s", [table])], [], "")

    write_report(tmp_path / "r.html", content)

    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    row = '<th scope="row" class="words">TC</th><td class="words">-</td><td class="number">4</td>'
    assert re.findall(r'<th scope="col" class="([a-z ]+)">', page) == [
        *("words", "words", "number", "words long"),
    ]
    assert row in page


def test_deviations_that_are_zero_in_all_cases_are_left_out():
    of_region = {"lesion_dice": {"mean": 0.5}, "missed_lesions": {"mean": 0.0}}
    flat, spread = {"lesion_dice_std": {"mean": 0.0}}, {"lesion_dice_std": {"mean": 0.2}}

    def headings(*more):
        summary = {f"R{n}": of_region | one for n, one in enumerate(more)}
        scores = {"protocols": {"brats2026-gli": {"summary": summary, "cases": {}}}}
        (section,) = protocol_sections(scores)
        return [row[0] for row in section.blocks[0].rows], section.blocks[0].note

    names, note = headings(flat, flat)
    assert names == ["lesion-wise Dice", "missed lesions"]
    assert "Deviations that are 0 in all cases are left out." in note
    assert len(headings(flat, spread)[0]) == 3
