"""`explain`: maps, pictures and their record; what is kept, refused or made again."""

from __future__ import annotations

import csv
import inspect
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from tiny_models import OF_SLICES, write_model
from tiny_scans import PATIENTS, WHOLE, write_case, write_images
from typer.testing import CliRunner

from volseg.attribution import explaining, pictures, result_files
from volseg.attribution.methods import METHODS, ExplainOptions
from volseg.attribution.occlusion import PASSES, SIDES_MM
from volseg.cli import app
from volseg.cli.explain import explain as explain_command
from volseg.errors import AttributionError, ConfigError, OutputError
from volseg.files.ownership import is_ours
from volseg.finding.folders import find_cases
from volseg.inference.options import InferOptions
from volseg.results.explanation_record import explanations_in, read_explanations
from volseg.tasks.evaluate import evaluate
from volseg.tasks.explain import explain
from volseg.tasks.infer import infer

NAMES = ["BraTS2021_00001", "BraTS2021_00002"]
#: Thresholds that the probabilities of random weights reach in all regions, and all but one.
REACHED = "inference.threshold=0.001"
UNREACHED = "inference.threshold={WT: 0.001, TC: 0.001, ET: 0.999}"
MAP, PICTURE = f"{NAMES[0]}_WT_saliency.nii.gz", f"{NAMES[0]}_WT_saliency.png"


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Pictures of few pixels, which are drawn faster."""
    monkeypatch.setattr("volseg.figures.heat_map._DPI", 30)
    monkeypatch.setattr("volseg.figures.share_bars._DPI", 30)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture
def scans(tmp_path):
    for name in NAMES:
        write_case(tmp_path / "scans", name)
    return tmp_path / "scans"


@pytest.fixture
def output(tmp_path):
    return tmp_path / "new" / "maps"


def run(scans, model, output, stop=lambda: False, **options):
    given = {"method": "saliency", "regions": ("WT",), "device": "cpu", "pictures": False}
    given["overrides"] = (REACHED,)
    return explain(scans, [model], output, ExplainOptions(**(given | options)), stop)


def record_of(output):
    return json.loads((output / "explanations.json").read_text())


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_region_gets_a_map_on_the_grid_of_the_scan_and_a_picture(scans, model, output):
    result = run(scans / NAMES[0], model, output, regions=(), pictures=True)

    assert result.done == {NAMES[0]: ["WT", "TC", "ET"]}
    assert (result.kept, result.failures, result.stopped) == ({}, {}, False)
    source = nib.load(scans / NAMES[0] / f"{NAMES[0]}_t1.nii.gz")
    images = [np.asarray(nib.load(path).dataobj) for path in (scans / NAMES[0]).iterdir()]
    for region in ("WT", "TC", "ET"):
        found = nib.load(output / f"{NAMES[0]}_{region}_saliency.nii.gz")
        values = np.asarray(found.dataobj)
        assert np.array_equal(found.affine, source.affine)
        assert (found.shape, found.get_data_dtype()) == (source.shape, np.float32)
        assert (values.min(), values.max()) == (0, 1)
        assert not values[np.sum(images, axis=0) == 0].any()
    assert [path.name for path in result.pictures] == [
        f"{NAMES[0]}_{region}_saliency.png" for region in ("WT", "TC", "ET")
    ]
    drawn = [*result.pictures, output / f"{NAMES[0]}_saliency_channels.png"]
    assert all(map(is_ours, [*drawn, output / "channel_shares.csv", result.record]))
    assert {path.name for path in output.iterdir()} == explanations_in(output) - {
        "explanations.journal"
    }


def test_pictures_of_gradients_say_where_a_grid_of_dots_comes_from(
    scans, model, output, monkeypatch
):
    drawn, notes = pictures.heat_figure, {}

    def noted(view, heat, title):
        notes[title] = " ".join(heat.notes)
        return drawn(view, heat, title)

    monkeypatch.setattr(pictures, "heat_figure", noted)
    for method in ("saliency", "grad-cam"):
        run(scans / NAMES[0], model, output, method=method, pictures=True)

    assert "comes from the strides of the network" in notes[f"{NAMES[0]}: saliency of WT"]
    assert "strides" not in notes[f"{NAMES[0]}: grad-cam of WT"]


def test_the_table_holds_the_share_of_each_channel(scans, model, output):
    result = run(scans / NAMES[0], model, output, regions=("WT", "ET"))

    with (output / "channel_shares.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["region"], row["channel"]) for row in rows[:4]] == [
        ("WT", channel) for channel in ("t1n", "t1c", "t2w", "t2f")
    ]
    shares = {row["channel"]: float(row["share"]) for row in rows if row["region"] == "ET"}
    assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
    assert shares == pytest.approx(result.shares[NAMES[0]]["ET"], abs=1e-5)


def test_a_channel_that_the_scan_lacks_gets_no_share(scans, output, tmp_path):
    data = {"data_list": "l", "patch_size": [16, 16, 16], "fill_missing": "t2f"}
    model = write_model(tmp_path / "filled.safetensors", data=data)
    (scans / NAMES[0] / f"{NAMES[0]}_t1.nii.gz").unlink()

    for method in ("saliency", "occlusion"):
        result = run(scans / NAMES[0], model, output, method=method)

        shares = result.shares[NAMES[0]]["WT"]
        assert list(shares) == ["t1n", "t1c", "t2w", "t2f"]
        assert shares["t1n"] == 0 < shares["t2f"], method
        assert sum(shares.values()) == pytest.approx(1)


def test_the_record_tells_what_was_made_of_what(scans, model, output):
    run(scans / NAMES[0], model, output, at_maximum=True)

    record = record_of(output)
    one = record["cases"][NAMES[0]]["maps"]["WT_saliency-at-maximum"]
    assert "not for clinical use" in record["disclaimer"]
    assert [m["sha256"] for m in record["models"]] == one["models"]
    assert [Path(source["path"]).name for source in one["sources"]] == [
        f"{NAMES[0]}_{suffix}.nii.gz" for suffix in ("t1", "t1ce", "t2", "flair")
    ]
    assert (one["options"], one["target_voxels"]) == ({"at_maximum": True}, 1)
    assert one["map"]["file"] == f"{NAMES[0]}_WT_saliency-at-maximum.nii.gz"
    assert one["scale"] > 0


def test_maps_of_the_same_scan_model_and_options_are_kept(scans, model, output):
    run(scans, model, output)
    before = contents(output)

    again = run(scans, model, output)

    assert again.done == {}
    assert again.kept == dict.fromkeys(NAMES, ("WT",))
    maps = {path: content for path, content in before.items() if path.suffix == ".gz"}
    assert contents(output).items() >= maps.items()


@pytest.mark.parametrize(
    "change",
    [
        {"overrides": (REACHED, "inference.overlap=0.25")},
        {"overwrite": True},
        {"pictures": True},
        {"model": 1},
        {"image": True},
    ],
    ids=lambda change: next(iter(change)),
)
def test_maps_of_other_inputs_are_made_again(scans, model, output, tmp_path, change):
    case, image = scans / NAMES[0], scans / NAMES[0] / f"{NAMES[0]}_t1.nii.gz"
    run(case, model, output)
    if change.pop("model", None):
        model = write_model(tmp_path / "other.safetensors", seed=1)
    if change.pop("image", None):
        scan = nib.load(image)
        nib.save(nib.Nifti1Image(np.asarray(scan.dataobj) * 2, scan.affine, scan.header), image)

    again = run(case, model, output, **change)

    assert (again.done, again.kept) == ({NAMES[0]: ["WT"]}, {})


def test_other_regions_and_methods_are_added(scans, model, output):
    run(scans / NAMES[0], model, output)
    run(scans / NAMES[0], model, output, regions=("TC",))
    run(scans / NAMES[0], model, output, method="smooth-grad", samples=1)

    assert set(record_of(output)["cases"][NAMES[0]]["maps"]) == {
        *("WT_saliency", "TC_saliency", "WT_smooth-grad")
    }


@pytest.mark.parametrize("name", [MAP, PICTURE, f"{NAMES[0]}_saliency_channels.png"])
def test_a_file_of_others_is_neither_replaced_nor_removed(scans, model, output, name):
    output.mkdir(parents=True)
    (output / name).write_text("mine")

    with pytest.raises(OutputError, match=rf"{name} is there already, but explanations.json does"):
        run(scans, model, output, overwrite=True)

    assert contents(output) == {output / name: b"mine"}


def test_a_picture_that_volseg_drew_for_something_else_stays(scans, model, output):
    run(scans / NAMES[0], model, output, pictures=True)
    (output / "explanations.json").unlink()
    before = contents(output)

    with pytest.raises(OutputError, match="is there already"):
        run(scans / NAMES[0], model, output, pictures=True)

    assert contents(output) == before


def test_an_edited_map_is_replaced_only_when_all_are(scans, model, output):
    run(scans, model, output)
    (output / MAP).write_bytes(b"edited")

    result = run(scans, model, output)

    assert "WT: " in result.failures[NAMES[0]]
    assert "was edited or damaged after volseg wrote it; move it away" in result.failures[NAMES[0]]
    assert (output / MAP).read_bytes() == b"edited"
    assert run(scans, model, output, overwrite=True).failures == {}
    assert (output / MAP).read_bytes() != b"edited"


def test_maps_of_another_patient_of_the_same_name_are_not_mixed(scans, model, output, tmp_path):
    run(scans / NAMES[0], model, output)
    other = write_case(tmp_path / "elsewhere", NAMES[0])
    for path in other.iterdir():
        scan = nib.load(path)
        nib.save(nib.Nifti1Image(np.asarray(scan.dataobj) * 3, scan.affine, scan.header), path)

    with pytest.raises(OutputError, match=rf"explains another {NAMES[0]}, with images such as"):
        run(other, model, output)


def test_a_case_that_fails_is_named_and_the_others_are_explained(scans, model, output):
    (scans / NAMES[0] / f"{NAMES[0]}_t1.nii.gz").write_bytes(b"broken")

    result = run(scans, model, output)

    assert list(result.done) == [NAMES[1]]
    assert result.failures[NAMES[0]].startswith("WT: ")
    assert record_of(output)["failures"] == result.failures


def test_a_region_that_is_not_predicted_is_named_and_the_others_are_explained(scans, model, output):
    options = {"regions": ("WT", "ET"), "overrides": (UNREACHED,)}

    result = run(scans / NAMES[0], model, output, **options)

    assert result.done == {NAMES[0]: ["WT"]}
    assert result.failures[NAMES[0]].startswith("ET is not predicted")
    assert "--region ET --at-maximum" in result.failures[NAMES[0]]
    at_maximum = run(scans / NAMES[0], model, output, **options, at_maximum=True, pictures=True)
    assert at_maximum.done == {NAMES[0]: ["WT", "ET"]}
    assert at_maximum.failures == {}


def test_maps_of_the_voxel_of_highest_probability_lie_beside_those_of_the_mask(
    scans, model, output
):
    run(scans / NAMES[0], model, output, pictures=True)
    before = contents(output)

    found = run(scans / NAMES[0], model, output, pictures=True, at_maximum=True)

    other = "saliency-at-maximum"
    made = {f"{NAMES[0]}_{n}" for n in (f"WT_{other}.nii.gz", f"WT_{other}.png")}
    made.add(f"{NAMES[0]}_{other}_channels.png")
    after = contents(output)
    assert {path.name for path in after.keys() - before.keys()} == made
    maps = [path for path in before if path.name.startswith(NAMES[0])]
    assert all(after[path] == before[path] for path in maps)
    assert found.pictures == (output / f"{NAMES[0]}_WT_{other}.png",)
    assert found.example[1].name in made <= explanations_in(output)
    with (output / "channel_shares.csv").open(newline="") as file:
        assert {row["method"] for row in csv.DictReader(file)} == {"saliency", other}
    again = run(scans / NAMES[0], model, output, pictures=True)
    assert (again.done, again.kept) == ({}, {NAMES[0]: ("WT",)})
    assert [case.case_id for case in find_cases(scans).cases] == NAMES


def test_an_old_map_does_not_stand_for_a_region_that_is_no_longer_predicted(scans, model, output):
    run(scans / NAMES[0], model, output, regions=("WT", "ET"), pictures=True)

    run(
        *(scans / NAMES[0], model, output),
        regions=("WT", "ET"),
        overrides=(UNREACHED,),
        pictures=True,
    )

    assert not list(output.glob("*_ET_*"))
    assert list(record_of(output)["cases"][NAMES[0]]["maps"]) == ["WT_saliency"]


def test_bars_are_removed_with_the_last_map_that_they_show(scans, model, output):
    run(scans / NAMES[0], model, output, regions=("ET",), pictures=True)
    bars = output / f"{NAMES[0]}_saliency_channels.png"
    assert bars.is_file()

    run(scans / NAMES[0], model, output, regions=("ET",), overrides=(UNREACHED,), pictures=True)

    assert not bars.exists()
    assert record_of(output)["cases"][NAMES[0]]["bars"] == {}


def test_edited_bars_are_replaced_only_when_all_are(scans, model, output):
    run(scans / NAMES[0], model, output, pictures=True)
    bars = output / f"{NAMES[0]}_saliency_channels.png"
    bars.write_bytes(b"edited")

    result = run(scans / NAMES[0], model, output, regions=("TC",), pictures=True)

    assert result.done == {NAMES[0]: ["TC"]}
    assert result.failures[NAMES[0]].startswith(f"bars: {bars} was edited or damaged")
    assert bars.read_bytes() == b"edited"
    options = {"regions": ("TC",), "pictures": True, "overwrite": True}
    assert run(scans / NAMES[0], model, output, **options).failures == {}
    assert record_of(output)["failures"] == {}
    assert is_ours(bars)


def test_failures_of_regions_that_are_not_asked_for_stay_recorded(scans, model, output):
    options = {"overrides": (UNREACHED,)}
    failed = run(scans / NAMES[0], model, output, regions=("WT", "ET"), **options).failures

    for regions in (("WT",), ("TC",)):
        assert run(scans / NAMES[0], model, output, regions=regions, **options).failures == {}
        assert record_of(output)["failures"] == failed

    run(scans / NAMES[0], model, output, regions=("ET",))
    assert record_of(output)["failures"] == {}


def test_a_stopped_run_is_done_by_the_same_command(scans, model, output):
    answers = iter([False, False, False, True])

    stopped = run(scans, model, output, stop=lambda: next(answers))

    assert (stopped.stopped, list(stopped.done)) == (True, NAMES[:1])
    resumed = run(scans, model, output)
    assert (resumed.kept, list(resumed.done)) == ({NAMES[0]: ("WT",)}, NAMES[1:])


def test_what_a_killed_process_left_is_known_as_ours(scans, model, output, monkeypatch):
    def killed(path, values, header):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(result_files, "write_map", killed)
        with pytest.raises(KeyboardInterrupt):
            run(scans / NAMES[0], model, output)
    assert MAP in explanations_in(output)

    assert run(scans / NAMES[0], model, output).done == {NAMES[0]: ["WT"]}


def test_maps_among_scans_and_results_are_taken_for_neither(scans, model):
    expected = [case.case_id for case in find_cases(scans).cases]
    run(scans, model, scans, pictures=True)

    assert [case.case_id for case in find_cases(scans).cases] == expected
    infer(scans, [model], scans, InferOptions(device="cpu", preview=False))
    again = run(scans, model, scans, pictures=True)
    assert again.kept == dict.fromkeys(NAMES, ("WT",))
    assert [case.case_id for case in find_cases(scans).cases] == expected


def test_results_with_maps_beside_them_are_scored(scans, model, output):
    for name in NAMES:
        source = nib.load(scans / name / f"{name}_t1.nii.gz")
        labels = np.zeros(source.shape, np.uint8)
        labels[WHOLE] = 2
        nib.save(nib.Nifti1Image(labels, source.affine), scans / name / f"{name}_seg.nii.gz")
    infer(scans, [model], output, InferOptions(device="cpu", preview=False))
    run(scans, model, output, pictures=True)

    scored = evaluate(output, scans, output / "scores")

    assert {row.case_id for row in scored.table.rows} == set(NAMES)


@pytest.mark.parametrize("names", [["a.png"], [f"{PATIENTS[0]}_{n}.tif" for n in (1, 2, 3)]])
def test_slices_get_a_map_on_the_grid_of_their_stack(tmp_path, output, names):
    model = write_model(tmp_path / "slices.safetensors", **OF_SLICES)
    write_images(tmp_path / "images" / PATIENTS[0], names)

    result = run(tmp_path / "images", model, output, regions=(), pictures=True)

    ((case_id, (region,)),) = result.done.items()
    assert nib.load(output / f"{case_id}_{region}_saliency.nii.gz").shape == (18, 14, len(names))
    assert is_ours(output / f"{case_id}_{region}_saliency.png")
    assert result.example is None


@pytest.mark.parametrize(
    ("options", "kind", "sentence"),
    [
        (
            {"regions": ("et",)},
            AttributionError,
            "no region 'et'; did you mean 'ET'. use one of WT",
        ),
        ({"method": "salency"}, ConfigError, "'salency'; did you mean 'saliency'. use one of grad"),
        ({"method": "grad-cam", "layer": "none"}, AttributionError, "no layer 'none'"),
    ],
)
def test_a_name_that_does_not_exist_is_refused_with_those_that_do(
    scans, model, output, options, kind, sentence
):
    with pytest.raises(kind, match=sentence):
        run(scans, model, output, **options)

    assert not output.exists()


@pytest.mark.parametrize("text", ["{", '{"cases": []}', '{"volseg": "1", "cases": {"a": 3}}'])
def test_a_record_that_cannot_be_used_is_refused_and_stays(scans, model, output, text):
    output.mkdir(parents=True)
    (output / "explanations.json").write_text(text)

    with pytest.raises(OutputError, match=r"explanations\.json is no record of explanations"):
        run(scans, model, output)

    assert (output / "explanations.json").read_text() == text
    assert explanations_in(output) == set()
    with pytest.raises(ValueError, match="is no record"):
        read_explanations(output)


def test_a_reference_whose_scheme_is_not_clear_is_not_drawn(scans, model, output, caplog):
    source = nib.load(scans / NAMES[0] / f"{NAMES[0]}_t1.nii.gz")
    labels = np.zeros(source.shape, np.uint8)
    labels[0] = 77
    nib.save(nib.Nifti1Image(labels, source.affine), scans / NAMES[0] / f"{NAMES[0]}_seg.nii.gz")

    result = run(scans / NAMES[0], model, output, pictures=True)

    assert result.failures == {}
    assert (output / PICTURE).is_file()
    assert "the reference is not drawn" in caplog.text


def test_an_error_of_one_region_stops_no_other(scans, model, output, monkeypatch):
    real = explaining.explained_mask

    def broken(predicted, region, *, at_maximum):
        if region == "WT":
            raise ZeroDivisionError("by chance")
        return real(predicted, region, at_maximum=at_maximum)

    monkeypatch.setattr(explaining, "explained_mask", broken)

    result = run(scans / NAMES[0], model, output, regions=())

    assert result.failures == {NAMES[0]: "WT: unexpected ZeroDivisionError: by chance"}
    assert result.done == {NAMES[0]: ["TC", "ET"]}


def command(*words):
    return CliRunner().invoke(app, ["explain", *map(str, words), "--device", "cpu"])


def test_the_command_names_pictures_shares_and_failures(scans, model, output):
    words = ("-m", model, "-o", output, "--method", "saliency", UNREACHED)

    done = command(scans / NAMES[0], *words, "--region", "WT,ET")

    assert done.exit_code == 3, done.output
    assert "1 map of 1 case made, 1 case with a failure" in done.output
    assert PICTURE in done.output.replace("\n", "")
    assert "Share of each channel in saliency" in done.output
    assert "ET is not predicted" in " ".join(done.output.split())
    assert "itksnap -g" in done.output
    assert "A map does not show that the prediction is right" in done.output


def test_the_side_of_the_boxes_stands_beside_the_shares_also_of_kept_maps(scans, model, output):
    words = ("-m", model, "-o", output, "--method", "occlusion", "--region", "WT", REACHED)

    for _ in range(2):
        done = command(scans / NAMES[0], *words, "--no-preview")

        assert done.exit_code == 0, done.output
        assert "box, mm" in done.output
        side = record_of(output)["cases"][NAMES[0]]["maps"]["WT_occlusion"]["box_mm"]
        row = next(line for line in done.output.splitlines() if " WT " in line)
        assert f" {side:g} " in row


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("--samples", "16"),
            "--samples is 16, but saliency does not use it; leave it out, or use",
        ),
        (("--steps", "8"), "--steps is 8, but saliency does not use it; leave it out, or use"),
    ],
)
def test_options_of_other_methods_are_refused(scans, model, output, words, sentence):
    done = command(scans, "-m", model, "-o", output, "--method", "saliency", *words)

    assert done.exit_code == 2
    assert sentence in " ".join(done.output.split())


def test_kept_maps_do_not_read_like_a_failure(scans, model, output):
    run(scans, model, output)

    words = ("-m", model, "-o", output, "--method", "saliency", "--region", "WT", REACHED)
    done = command(scans, *words, "--no-preview")

    assert done.exit_code == 0, done.output
    assert "all 2 maps kept; maps and explanations.json are in" in done.output
    assert "made" not in done.output


def test_a_file_in_place_of_the_folder_is_called_a_file(scans, model, tmp_path):
    (tmp_path / "maps").write_text("mine")

    with pytest.raises(OutputError, match=r"maps is a file, but a folder for the maps is expected"):
        run(scans, model, tmp_path / "maps")


def test_the_same_model_twice_is_said(scans, model, output, caplog):
    options = ExplainOptions("saliency", regions=("WT",), device="cpu", overrides=(REACHED,))
    explain(scans / NAMES[0], [model, model], output, options)

    assert "are the same model, which therefore counts twice" in caplog.text


def test_voxels_above_the_threshold_that_were_removed_are_said(scans, model, output):
    removed = "inference.min_component_mm3={ET: 1e9}"

    result = run(scans / NAMES[0], model, output, regions=("ET",), overrides=(REACHED, removed))

    assert "at least the threshold of 0.001, but its voxels lie" in result.failures[NAMES[0]]


def test_the_layers_of_a_model_are_listed_without_a_scan(model):
    done = command("-m", model, "--layer", "list")

    assert done.exit_code == 0, done.output
    assert done.output.count("default") == 1


def test_an_output_is_asked_for(scans, model):
    done = command(scans, "-m", model)

    assert done.exit_code == 2
    assert "no folder for the maps is given; give one with -o" in done.output


def test_the_command_has_the_methods_and_defaults_of_its_options():
    options = inspect.signature(explain_command, eval_str=True).parameters
    helps = {name: one.annotation.__metadata__[0] for name, one in options.items()}

    for name in ("method", "layer", "at_maximum", "pictures", "device"):
        assert options[name].default == getattr(ExplainOptions(), name)
    for name in ("samples", "steps"):
        assert helps[name].show_default == str(getattr(ExplainOptions(), name))
    assert all(method in helps["method"].help for method in METHODS)
    assert f"{PASSES:,} windows" in helps["box"].show_default
    assert f"about {SIDES_MM[0]:g} mm" in helps["box"].show_default
