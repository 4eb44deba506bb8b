from __future__ import annotations

import json
import logging
import re
import shutil
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from experiments import run_in
from score_rows import scored_row
from typer.testing import CliRunner

import volseg
from volseg import cli, signals
from volseg.__main__ import main
from volseg.cases.data_list import DataList, read_data_list
from volseg.cases.volume_case import VolumeCase
from volseg.cli.log import PlainLog
from volseg.config import CHANNELS
from volseg.errors import DataListError, OutputError
from volseg.finding.finding import Finding, Skipped
from volseg.inference.options import InferOptions
from volseg.metrics.overlap import Overlap
from volseg.metrics.record import ScoreRecord
from volseg.metrics.table import ScoreRow, ScoreTable
from volseg.tasks.check import CheckResult
from volseg.tasks.demo import DemoResult
from volseg.tasks.evaluate import EvaluateResult
from volseg.tasks.fit import FitResult
from volseg.tasks.infer import InferResult
from volseg.tasks.report import ReportResult
from volseg.tasks.split import SplitOptions, SplitResult

HEAVY = (
    "torch",
    "monai",
    "pytorch_lightning",
    "lightning",
    "numpy",
    "nibabel",
    "scipy",
)
COMMANDS = ("demo", "split", "check", "fit", "infer", "evaluate", "compare", "report", "info")

CONFIG = """\
labels: brats2023
data:
  data_list: list.json
"""


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch):
    """Help and tables without folded lines, so that a test can look for a phrase."""
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("TERMINAL_WIDTH", "300")


def run(*words):
    return CliRunner().invoke(cli.app, [str(word) for word in words])


@dataclass
class StandIn:
    """Takes the place of a task: keeps what it is given, returns or raises what it is told."""

    result: object

    def __call__(self, *args, **options):
        self.args, self.options = args, options
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


@pytest.fixture
def stand_in(monkeypatch):
    def replace_task(name, result):
        task = StandIn(result)
        monkeypatch.setattr(f"volseg.tasks.{name}.{name}", task)
        return task

    return replace_task


def infer_result(**changes):
    fields = {"done": ("a",), "kept": (), "failures": {}, "manifest": Path("o/manifest.json")}
    return InferResult(**{**fields, **changes})


# Import and help


def modules_after(statements):
    """Names of the top-level packages that a fresh interpreter holds after `statements`."""
    script = f"{statements}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=600
    )
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_importing_the_command_line_imports_nothing_heavy():
    assert modules_after("import volseg.cli").isdisjoint(HEAVY)


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["infer", "--help"]])
def test_help_imports_nothing_heavy(words):
    found = modules_after(
        f"import volseg.cli\ntry:\n    volseg.cli.app({words})\nexcept SystemExit:\n    pass"
    )

    assert "rich" in found or words == ["--version"]
    assert found.isdisjoint(HEAVY)


def test_python_m_volseg_is_the_same_command():
    words = [sys.executable, "-m", "volseg", "--version"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=600)

    assert done.stdout == f"volseg {volseg.__version__}\n"


def test_help_names_every_command_and_the_limits_of_use():
    result = run("--help")

    assert result.exit_code == 0
    assert all(re.search(rf"\b{command}\b", result.output) for command in COMMANDS)
    assert "For research only, not for clinical use." in result.output


def test_no_words_show_the_help():
    assert "For research only" in run().output


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_shows_an_example(command):
    result = run(command, "--help")

    assert result.exit_code == 0
    assert re.search(rf"Examples?: *\n *volseg {command} ", result.output)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_options_has_room_in_a_narrow_terminal(command):
    options = typer.main.get_command(cli.app).commands[command].params

    metavars = [option.metavar or "" for option in options if option.param_type_name == "option"]

    assert [metavar for metavar in metavars if len(metavar) > 15] == []


def test_defaults_in_the_help_are_the_true_ones():
    assert ",".join(CHANNELS) in run("split", "--help").output


# Words become arguments


NAMED = ["--name", "t1c=*GD*", "--name", "t1n=*T1*", "--label-name", "_lesion"]


def test_infer_passes_what_the_user_says_of_names(stand_in):
    task = stand_in("infer", infer_result())

    run("infer", "scans", "-m", "a", "-o", "out", *NAMED)

    options = task.args[3]
    assert (options.names, options.label_name) == (("t1c=*GD*", "t1n=*T1*"), "_lesion")


def test_a_job_of_infer_is_given_what_the_user_says_of_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("scans").mkdir()
    Path("a.safetensors").touch()
    job = ["--slurm", "shards=2", "--dry-run"]

    script = run("infer", "scans", "-m", "a.safetensors", "-o", "out", *NAMED, *job).output

    assert "'--name=t1c=*GD*' '--name=t1n=*T1*'" in script
    assert "--label-name=_lesion" in script


def test_split_passes_folders_and_options(stand_in):
    task = stand_in("split", DataListError("enough"))

    run("split", "one", "two", "-o", "list.json")
    paths = ([Path("one"), Path("two")], Path("list.json"))
    assert task.args == (*paths, 5, None, 0, None, SplitOptions())

    words = ["--folds", "3", "--labels", "msd", "--seed", "7", "--channels", "t1c, t2f"]
    run("split", "one", "-o", "list.json", *words)
    assert task.args[2:] == (3, "msd", 7, ("t1c", "t2f"), SplitOptions())
    words = ["--patient-regex", "^p", "--spacing", "1,1,5.5", "--table", "a.csv"]
    run("split", "one", "-o", "list.json", *words, "--group-columns", "sex,grade")
    assert task.args[6] == SplitOptions("^p", (1, 1, 5.5), Path("a.csv"), ("sex", "grade"))
    run("split", "one", "-o", "list.json", *NAMED)
    assert task.args[6] == SplitOptions(names=("t1c=*GD*", "t1n=*T1*"), label_name="_lesion")
    assert run("split", "one", "-o", "list.json", "--spacing", "1,x").exit_code == 2


def test_check_passes_the_config_and_the_overrides(stand_in):
    task = stand_in("check", CheckResult((), ()))

    run("check", "a.yaml", "data.fold=1", "training.seed=2")

    assert task.args == (Path("a.yaml"), ["data.fold=1", "training.seed=2"])


def test_fit_reads_the_config_with_its_overrides(stand_in, tmp_path):
    task = stand_in("fit", FitResult(Path("r"), Path("r/model.safetensors")))
    (tmp_path / "small.yaml").write_text(CONFIG)

    run("fit", tmp_path / "small.yaml", "training.max_epochs=3", "-o", "r", "--resume")

    config, folder = task.args
    assert (config.training.max_epochs, config.labels.name) == (3, "brats2023")
    assert (folder, task.options) == (Path("r"), {"resume": True, "data_list": None})


def test_fit_resumes_a_run_from_its_folder_alone(stand_in, experiment):
    task = stand_in("fit", FitResult(Path("r"), Path("r/model.safetensors")))
    run_in(Path("r"), fold=1)
    Path("list.json").unlink()

    run("fit", "--resume", "r", "training.max_epochs=3")

    config, folder = task.args
    assert (config.training.max_epochs, config.data.fold, folder) == (3, 1, Path("r"))
    assert config.data.data_list == Path("list.json")
    assert task.options["resume"]
    assert [case.case_id for case in task.options["data_list"].training] == ["c0", "c1", "c2"]
    assert task.options["data_list"].training[0].images[0] == Path("t1n.nii").absolute()


@pytest.mark.parametrize(
    ("run_folder", "words"), [("r", ["--slurm", "defaults"]), ("r/fold0", ["--folds", "all"])]
)
def test_a_run_that_other_processes_resume_keeps_its_data_list(
    experiment, monkeypatch, run_folder, words
):
    told = []

    def task(config, *_, **options):
        told.append(config)
        raise OutputError("not now")

    monkeypatch.setattr("volseg.slurm.submission.submit_fit", task)
    monkeypatch.setattr("volseg.runs.folds.fit_folds", task)
    run_in(Path(run_folder))
    if run_folder != "r":
        shutil.copy(Path(run_folder, "config.yaml"), "r")
    Path("list.json").unlink()

    run("fit", "--resume", "r", *words)

    (config,) = told
    assert config.data.data_list == Path(run_folder, "data_list.json")
    assert len(read_data_list(config.data.data_list, config.data.data_root).training) == 3


def test_a_data_list_that_is_named_when_a_run_is_resumed_is_read(stand_in, experiment):
    task = stand_in("fit", FitResult(Path("r"), Path("r/model.safetensors")))
    run_in(Path("r"))
    Path("moved").mkdir()

    run("fit", "--resume", "r", "data.data_root=moved")

    case = task.options["data_list"].training[0]
    assert case.images[0] == Path("moved/t1n.nii").absolute()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["r"], "r is a folder, but a config (.yaml) is expected; if it is a run folder, resume"),
        (
            ["--resume", "r", "-o", "s"],
            "--resume r writes into that folder, but -o is s; leave out",
        ),
        (["--resume", "."], ". holds no run, since it has no config.yaml; check the path"),
    ],
)
def test_a_folder_in_the_place_of_a_config_is_a_run_to_resume_or_refused(experiment, words, said):
    run_in(Path("r"))

    result = run("fit", *words)

    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {said}")


def test_a_folder_that_holds_a_run_names_the_command_that_resumes_it(experiment):
    run_in(Path("my run"))

    result = run("fit", "small.yaml", "-o", "my run")

    assert "resume it with: volseg fit --resume 'my run', or choose another -o" in result.stderr


def test_fit_names_the_run_after_the_config(stand_in, tmp_path):
    task = stand_in("fit", FitResult(Path("r"), Path("r/model.safetensors")))
    (tmp_path / "small.yaml").write_text(CONFIG)

    run("fit", tmp_path / "small.yaml")

    assert task.args[1] == Path("runs/small")
    assert task.options == {"resume": False, "data_list": None}


def test_a_stopped_infer_says_so_in_its_exit_code_on_any_rank(stand_in, monkeypatch):
    # As `srun --ntasks=8` starts shards by hand.
    monkeypatch.setenv("SLURM_PROCID", "3")
    stand_in("infer", infer_result(stopped=True))

    result = run("infer", "scans", "-m", "run", "-o", "out")

    assert result.exit_code == 75
    assert "Stopped by a signal: the same command segments the remaining cases" in result.output


def test_infer_leaves_to_the_model_what_is_not_said(stand_in):
    task = stand_in("infer", infer_result())

    run("infer", "scans", "-m", "run", "-o", "out")

    assert task.args == (Path("scans"), [Path("run")], Path("out"), InferOptions())
    assert set(task.options) == {"stop"}


def test_infer_passes_models_and_options(stand_in):
    task = stand_in("infer", infer_result())
    words = ["--tta", "--overlap", "0.7", "--probabilities", "--device", "cuda:1", "--overwrite"]
    words += ["--uncertainty"]

    run("infer", "scans", "-m", "a", "-m", "b", "-o", "out", *words, "--labels", "brats2021")

    assert task.args[1] == [Path("a"), Path("b")]
    assert task.args[3] == InferOptions(
        overrides=("inference.tta=true", "inference.overlap=0.7"),
        probabilities=True,
        uncertainty=True,
        device="cuda:1",
        overwrite=True,
        labels="brats2021",
    )


@pytest.mark.parametrize(
    ("manifest", "failures", "said", "code"),
    [
        ("manifest.json", {}, "Report: o/report.html", 0),
        ("manifest.json", {"a": "not drawn"}, "Report: o/report.html", 3),
        ("manifest-1-of-2.json", {}, "Report: written by the shard that ends last", 0),
    ],
)
def test_infer_reports_once_all_cases_are_there(stand_in, manifest, failures, said, code):
    stand_in("infer", infer_result(manifest=Path("o") / manifest))
    task = stand_in("report", ReportResult((Path("o/report.html"),), failures))

    done = run("infer", "scans", "-m", "run", "-o", "o", "--report")

    assert said in done.stdout
    assert done.exit_code == code
    assert hasattr(task, "args") == (manifest == "manifest.json")


def test_infer_takes_the_images_of_a_case(stand_in):
    task = stand_in("infer", infer_result())
    words = ["--t1n", "a.nii", "--image", "CT=b.nii", "inference.tta=true", "--spacing", "1,1,5"]

    run("infer", "-m", "m", "-o", "out", *words)

    assert task.args[0] == {"t1n": Path("a.nii"), "CT": Path("b.nii")}
    assert task.args[3] == InferOptions(overrides=("inference.tta=true",), spacing_mm=(1, 1, 5))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing to segment is given; give a folder of scans, a data list, or images"),
        (["scans", "--t1c", "a.nii"], "scans is given, and so are the images of a case, t1c"),
        (["--t1c", "a.nii", "--image", "t1c=b.nii"], "t1c is given twice"),
        (["--image", "b.nii"], "--image is 'b.nii', expected CHANNEL=FILE"),
        (["--t1c", "a.nii", "--slurm", "shards=2"], "--slurm shares the cases of a folder"),
    ],
)
def test_infer_refuses_images_that_are_given_unclearly(words, message):
    result = run("infer", "-m", "m", "-o", "out", *words)

    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize("near", [True, False])
def test_infer_ends_with_how_to_look_at_results_and_score_them(stand_in, near):
    found = {"has_references": near, "example": (Path("a_t2f.nii"), Path("out/a.nii.gz"))}
    stand_in("infer", infer_result(**found))

    lines = run("infer", "scans", "-m", "m", "-o", "out").stdout.splitlines()

    assert "  itksnap -g a_t2f.nii -s out/a.nii.gz" in lines
    assert f"  volseg evaluate out {'scans' if near else 'REFERENCE'} -o scores" in lines


def test_evaluate_passes_both_label_schemes(stand_in):
    task = stand_in("evaluate", EvaluateResult(ScoreRecord(ScoreTable()), Path("scores")))

    run("evaluate", "p", "r", "-o", "s", "--labels", "msd", "--reference-labels", "brats2021")

    assert task.args == ([Path("p")], Path("r"), Path("s"), "msd", "brats2021", None, None)


def test_one_fold_of_a_list_is_segmented_and_scored(stand_in):
    segmenting = stand_in("infer", infer_result())
    scoring = stand_in("evaluate", EvaluateResult(ScoreRecord(ScoreTable()), Path("scores")))

    run("infer", "list.json", "-m", "run", "-o", "out", "--fold", "0")
    run("evaluate", "out", "list.json", "-o", "s", "--fold", "0")

    assert segmenting.args[3] == InferOptions(fold=0)
    assert scoring.args[5] == 0


def test_the_root_of_a_list_is_passed_on(stand_in):
    segmenting = stand_in("infer", infer_result())
    scoring = stand_in("evaluate", EvaluateResult(ScoreRecord(ScoreTable()), Path("scores")))

    run("infer", "list.json", "-m", "run", "-o", "out", "--data-root", "scans")
    run("evaluate", "out", "list.json", "-o", "s", "--data-root", "scans")

    assert segmenting.args[3] == InferOptions(data_root=Path("scans"))
    assert scoring.args[6] == Path("scans")


def test_infer_passes_what_replaces_options_of_the_model(stand_in):
    task = stand_in("infer", infer_result())
    words = ("inference.window_batch=2", "inference.min_component_mm3={ET: 50}")

    run("infer", "scans", *words, "-m", "run", "-o", "out")

    assert task.args[0] == Path("scans")
    assert task.args[3] == InferOptions(overrides=words)


@pytest.mark.parametrize("words", [["infer", "scans", "-o", "out"], ["split"], ["fit", "--sheds"]])
def test_words_that_make_no_sense_exit_with_2(words):
    assert run(*words).exit_code == 2


# Results become tables


def test_split_shows_what_was_found_left_out_decided_and_shared_out(stand_in):
    cases = [
        VolumeCase(f"c{n}", f"p{n // 2}", (Path("x"),), ("t1c",), Path("y"), "msd", fold=n // 2)
        for n in range(4)
    ]
    skipped = [Skipped(Path("/data/[odd] name.txt"), "not .nii or .nii.gz")]
    finding = Finding.of(cases, skipped, {case.case_id: "MSD" for case in cases})
    data_list = DataList("list", ("t1c",), tuple(cases))
    stand_in("split", SplitResult(Path("list.json"), finding, data_list, ("MSD: labels msd",)))

    output = run("split", "data", "-o", "list.json").stdout

    assert re.search(r"MSD +│ 4 ", output)
    assert re.search(r"/data/\[odd\] name.txt +│ not .nii or .nii.gz", output)
    assert "MSD: labels msd" in output
    assert "4 cases with a label map, 0 without" in output
    assert re.search(r"│ 1 +│ 2 +│ 1 +│", output)
    assert "Data list: list.json" in output


def test_check_counts_the_problems_beyond_the_first(stand_in):
    stand_in("check", CheckResult((), tuple(f"case {n}: gone" for n in range(60))))

    result = run("check", "config.yaml")

    assert result.stderr.count("gone") == 20
    assert "Error: and 40 more problems" in result.stderr


def test_check_lists_every_problem_and_exits_with_2(stand_in):
    stand_in("check", CheckResult((("grids", "4 x 4 x 4"),), ("case a: broken", "case b: gone")))

    result = run("check", "a.yaml")

    assert result.exit_code == 2
    assert re.search(r"grids +│ 4 x 4 x 4", result.stdout)
    assert result.stderr == "Error: case a: broken\nError: case b: gone\n"


def test_fit_shows_the_scores_by_region(stand_in, tmp_path):
    (tmp_path / "small.yaml").write_text(CONFIG)
    scores = {"loss": 0.3, "dice/WT": 0.91, "dice/TC": 0.82, "iou/WT": 0.85}
    stand_in("fit", FitResult(Path("r"), Path("r/model.safetensors"), scores))

    result = run("fit", tmp_path / "small.yaml")

    assert result.exit_code == 0
    assert re.search(r"WT +│ 0.910 +│ 0.850", result.stdout)
    assert re.search(r"TC +│ 0.820 +│ - ", result.stdout)
    assert "Model: r/model.safetensors" in result.stdout


def test_evaluate_shows_statistics_and_what_has_none(stand_in):
    rows = [
        scored_row("a", "WT", Overlap(tp=2, fp=0, fn=2), 0.001, 4.0),
        scored_row("b", "WT", Overlap(tp=0, fp=0, fn=0), 0.001, 0.0),
        ScoreRow("c", "WT", status="missing"),
    ]
    table = ScoreTable.of(rows)
    stand_in("evaluate", EvaluateResult(ScoreRecord(table), Path("s"), (), ("stranger",)))

    result = run("evaluate", "p", "r", "-o", "s")

    assert result.exit_code == 3
    # Dice 2/3 and 1; IoU 1/2 and 1; precision 1 and 1; recall 1/2 and 1; HD95 4 and 0 mm.
    assert re.search(r"WT +│ mean +│ 0.833 +│ 0.750 +│ 1.000 +│ 0.750 +│ 2.00", result.stdout)
    assert re.search(r"│ std +│ 0.236 +│ 0.354 +│ 0.000 +│ 0.354 +│ 2.83", result.stdout)
    # The missing case counts as 0, and as 373.13 mm.
    assert re.search(r"as worst +│ 0.556 +│ 0.500 +│ 0.667 +│ 0.500 +│ 125.71", result.stdout)
    assert re.search(r"WT +│ 2 +│ 1 +│ 1 +│ 1 +│ 0 ", result.stdout)
    assert "Missing, as there is no prediction: c" in result.stdout
    assert "Not scored, as there is no reference: stranger" in result.stdout


def test_evaluate_of_every_case_says_nothing_of_missing_ones(stand_in):
    rows = [scored_row("a", "WT", Overlap(tp=2, fp=0, fn=2), 0.001, 4.0)]
    stand_in("evaluate", EvaluateResult(ScoreRecord(ScoreTable.of(rows)), Path("s")))

    result = run("evaluate", "p", "r", "-o", "s")

    assert result.exit_code == 0
    assert "as worst" not in result.stdout
    assert result.stdout.endswith(
        "Next, to compare with other runs:\n  volseg compare s RUN -o comparison\n"
    )


def test_demo_shows_its_steps_its_scores_and_its_picture(monkeypatch):
    def demo(output, on_step):
        on_step("volseg split x -o [y].json")
        files = (output / "demo.png", output / "m", {"WT": 0.9, "TC": 0.8}, output / "r.html")
        return DemoResult(output, *files)

    monkeypatch.setattr("volseg.tasks.demo.demo", demo)

    output = run("demo", "-o", "here").stdout

    assert "volseg split x -o [y].json\n" in output
    assert re.search(r"WT +┃ TC", output)
    assert re.search(r"0.900 +│ 0.800", output)
    assert "Picture: here/demo.png" in output
    assert "Report: here/r.html" in output
    assert output.endswith("with your own scans:\n  volseg split FOLDER -o list.json\n")


def test_info_is_read_by_people_and_by_programs(stand_in):
    facts = {"kind": "scan", "shape": [240, 240, 155], "labels": None}
    stand_in("info", facts)

    assert json.loads(run("info", "x.nii.gz", "--json").stdout) == facts
    assert run("info", "x.nii.gz").stdout.splitlines()[:2] == [
        "kind: scan",
        "shape: 240, 240, 155",
    ]


# Exit codes


def test_an_error_that_can_be_repaired_is_one_line(stand_in):
    stand_in("info", DataListError("a is empty; give another"))

    result = run("info", "a")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "Error: a is empty; give another\n"


def test_failed_cases_are_named_and_exit_with_3(stand_in):
    stand_in("infer", infer_result(kept=("b", "c"), failures={"d": "t1c in d.nii is constant"}))

    result = run("infer", "scans", "-m", "m", "-o", "out")

    assert result.exit_code == 3
    assert "1 case segmented, 1 failed; results and manifest.json are in out\n" in result.stdout
    named = "Failed, for the reasons above and in the manifest: d\nNext, to"
    assert named in result.stdout
    assert result.stdout.endswith("volseg evaluate out REFERENCE -o scores\n")


def test_where_all_results_were_there_no_case_counts_as_segmented(stand_in):
    stand_in("infer", infer_result(done=(), kept=("b",)))

    assert run("infer", "scans", "-m", "m", "-o", "out").stdout.startswith("no new case segmented;")


def test_a_bug_keeps_its_traceback(stand_in):
    stand_in("info", ZeroDivisionError("ours"))

    result = run("info", "a")

    assert isinstance(result.exception, ZeroDivisionError)


def test_an_interrupt_exits_with_130(stand_in):
    stand_in("info", KeyboardInterrupt())

    result = run("info", "a")

    assert (result.exit_code, result.stderr) == (130, "Error: interrupted\n")


def test_main_runs_the_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["volseg", "--version"])

    with pytest.raises(SystemExit) as exit_:
        main()
    signals.reset()

    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"volseg {volseg.__version__}\n"


# Logging


@pytest.fixture
def log(monkeypatch):
    """Lines on stderr of a command that does what it is given."""

    def lines_of(emit):
        monkeypatch.setattr("volseg.tasks.info.info", lambda _: emit() or {"kind": "scan"})
        result = run("info", "x")
        if result.exception:
            raise result.exception
        return result.stderr.splitlines()

    yield lines_of
    root = logging.getLogger()
    root.handlers = [h for h in root.handlers if not isinstance(h, PlainLog)]


def test_our_log_is_plain_lines_on_stderr(log):
    logger = logging.getLogger("volseg.tasks.info")

    def emit():
        logger.debug("too much")
        logger.info("epoch %d", 3)
        logger.warning("slow")

    assert log(emit) == ["epoch 3", "Warning: slow"]


def test_other_packages_are_heard_only_when_it_is_serious(log):
    other = logging.getLogger("pytorch_lightning.utilities")

    def emit():
        other.setLevel(logging.INFO)
        other.info("Tip: use our product")
        logging.getLogger("somebody").error("disk is gone")

    assert log(emit) == ["disk is gone"]


def test_warnings_meant_for_developers_are_not_shown(log):
    def emit():
        warnings.warn("use the new name", FutureWarning, stacklevel=1)
        place = ("pytorch_lightning/trainer.py", 1, "pytorch_lightning.trainer")
        warnings.warn_explicit("you have overridden", UserWarning, *place)

    # Every warning that is let through is an error here.
    assert log(emit) == []


def test_a_warning_about_the_gpu_is_shown(log):
    def emit():
        warnings.warn_explicit("driver too old", UserWarning, "cuda.py", 1, "torch.cuda")

    with pytest.raises(UserWarning, match="driver too old"):
        log(emit)


def test_a_second_command_in_one_process_logs_once(log):
    logger = logging.getLogger("volseg.x")
    log(lambda: None)

    assert log(lambda: logger.info("once")) == ["once"]
