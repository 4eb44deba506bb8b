"""Options of a job, its script, and what is refused before it waits in a queue; without SLURM."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from experiments import change_cases, checkpoint_in, run_in
from typer.testing import CliRunner

from volseg import cli
from volseg.cli.log import PlainLog
from volseg.config import ExperimentConfig, SlurmConfig, load_config, read_slurm
from volseg.errors import CheckpointError, ConfigError, DataListError, ModelError, OutputError
from volseg.slurm.queue import job_of
from volseg.slurm.script import fit_script, infer_script
from volseg.slurm.submission import InferCall, submit_fit, submit_infer

HOSTILE = Path('it\'s 100% "mine" $HOME `x` a;b')


def run(*words):
    return CliRunner().invoke(cli.app, [str(word) for word in words])


def config(path, *words):
    return load_config(path, words)


def slurm(text):
    """The section as YAML gives it."""
    options = {"labels": "brats2023", "data": {"data_list": "x"}, "slurm": yaml.safe_load(text)}
    return ExperimentConfig.from_dict(options).slurm


# Options


def test_words_name_options_of_volseg_and_of_sbatch():
    options = read_slurm(["nodes=2,gpus=4,time=24:00:00,partition=gpu,exclusive=true"])

    assert (options.nodes, options.gpus, options.time) == (2, 4, "24:00:00")
    assert options.sbatch == {"partition": "gpu", "exclusive": True}


def test_a_part_without_a_key_goes_on_with_the_value_before():
    options = read_slurm(["mail-type=END,FAIL,nodes=3", "gres=gpu:a100:1,lscratch:20"])

    assert options.nodes == 3
    assert options.sbatch == {"mail-type": "END,FAIL", "gres": "gpu:a100:1,lscratch:20"}


def test_words_go_over_the_section_and_later_ones_over_earlier_ones():
    section = slurm("{nodes: 2, partition: old, account: us, mail-type: END, time: '5'}")

    words = ["nodes=3,mail_type=FAIL", "partition=new,account=false,time=false"]
    options = read_slurm(words, section)

    assert (options.nodes, options.time) == (3, None)
    assert options.sbatch == {"partition": "new", "mail-type": "FAIL"}


@pytest.mark.parametrize("word", ["", "defaults"])
def test_the_section_alone_may_be_asked_for(word):
    section = slurm("{nodes: 2, partition: gpu}")

    assert read_slurm([word], section) == section
    assert read_slurm([f"{word},nodes=3"], section).nodes == 3


def test_a_file_gives_its_section(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text("slurm: {partition: gpu, setup: [module load cuda], time: 24:00:00}\n")

    options = read_slurm([f"{path},shards=8"])

    assert (options.shards, options.time) == (8, "24:00:00")
    assert options.setup == ("module load cuda",)
    assert options.sbatch == {"partition": "gpu"}


@pytest.mark.parametrize(
    ("written", "time"),
    [
        ("24:00:00", "24:00:00"),
        ("'90:00'", "90:00"),
        ("2-12:30:00", "2-12:30:00"),
        ("1:00:05",) * 2,
    ],
)
def test_a_time_in_yaml_is_what_was_written(written, time):
    # YAML reads 24:00:00 as 86400.
    assert slurm(f"time: {written}").time.removeprefix("0") == time


def test_a_config_with_a_section_is_read_back_as_it_was():
    options = {"time": 86400, "mail_type": "END", "exclusive": True, "nice": 5, "setup": "a"}
    before = ExperimentConfig.from_dict(
        {"labels": "lgg", "data": {"data_list": "x"}, "slurm": options}
    )

    written = yaml.safe_dump(before.to_dict())

    assert ExperimentConfig.from_dict(yaml.safe_load(written)) == before
    assert before.slurm.sbatch == {"mail-type": "END", "exclusive": True, "nice": 5}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("gpu", "'gpu' is not of the form key=value"),
        ("nodes=two", "nodes: input should be a valid integer"),
        ("nodes=0", "nodes: input should be greater than 0"),
        ("time=soon", "time: a time is HH:MM:SS, D-HH:MM:SS or minutes, got 'soon'"),
        ("ntasks=4", "ntasks cannot be set: there is a process for each GPU"),
        ("ntasks_per_node=4", "ntasks-per-node cannot be set"),
        ("array=1-4", "array cannot be set: fit --folds"),
        ("requeue=true", "requeue cannot be set: use max_requeues"),
        ("no-requeue=true", "no-requeue cannot be set"),
        ("wrap=ls", "wrap cannot be set"),
        ("open-mode=truncate", "open-mode cannot be set"),
        ("parsable=true", "parsable cannot be set"),
        ("chdir=/tmp", "chdir cannot be set: paths in a config are relative to"),
        ("cpus-per-gpu=4", "cpus-per-gpu cannot be set"),
        ("gpus-per-task=1", "gpus-per-task cannot be set: each process must see all"),
        ("signal=B:USR1@60", "signal B:USR1@60 would not make the program save"),
        ("signal=40", "signal 40 would not make the program save; write USR1@SECONDS"),
        ("requeue=false", "requeue cannot be set: use max_requeues"),
        ("p=gpu", "'p' is no long option of sbatch"),
        ("comment=a\nb", r"comment: 'a\\nb' has more than one line"),
        ("command=a\nb", r"command: 'a\\nb' has more than one line"),
        ("setup=a\nb", "setup: 'a.nb' has more than one line"),
        ("gres=gpu:a100:4", "gres gpu:a100:4 and gpus 1 differ"),
        ("gpus=2,gpus-per-node=a100:4", "gpus-per-node a100:4 and gpus 2 differ"),
        ("missing.yaml,nodes=2", "missing.yaml cannot be read"),
    ],
)
def test_what_would_break_the_script_is_refused(words, message):
    with pytest.raises(ConfigError, match=message):
        read_slurm([words])


@pytest.mark.parametrize("name", ["r\nscancel --me", "r\r", "r\x1b[2J", "r\u2028echo"])
def test_a_path_that_would_begin_a_command_is_refused(tmp_path, monkeypatch, name):
    options = read_slurm(["gpus=0"])

    def scripts_in(folder):
        yield lambda: fit_script(options, folder, cpus=1, words=[])
        yield lambda: infer_script(options, folder, cpus=1, words=[], shards=1)

    (tmp_path / name).mkdir()
    for write in scripts_in(tmp_path / name):
        with pytest.raises(ConfigError, match="holds a line break or another character") as error:
            write()
        assert len(str(error.value).splitlines()) == 1
    with pytest.raises(ConfigError, match="is not allowed in a job script; rename it"):
        infer_script(options, Path("r"), cpus=1, words=[name], shards=1)
    monkeypatch.chdir(tmp_path / name)
    for write in scripts_in(Path("r")):
        with pytest.raises(ConfigError, match="is not allowed in a job script; rename it"):
            write()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{time: 90}", "slurm.time: 90 may be minutes or seconds; write it as 'HH:MM:SS'"),
        ('{setup: ["a\\nb"]}', "setup: a line holds a line break"),
        ("{mem: 1.5}", "mem: give a text, a whole number or true, got 1.5"),
        ("{mail-type: A, mail_type: B}", "mail-type is given twice"),
        ("[a]", "a section holds lines of `option: value`"),
    ],
)
def test_a_section_that_says_no_clear_thing_is_refused(text, message):
    with pytest.raises(ConfigError) as caught:
        slurm(text)

    assert message in str(caught.value)


def test_a_file_without_a_section_is_refused(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text("labels: lgg\n")

    with pytest.raises(ConfigError, match=r"has no section slurm"):
        read_slurm([str(path)])


# Script


def test_the_script_asks_for_what_the_options_say(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = read_slurm(
        ["nodes=2,gpus=4,time=24:00:00,partition=gpu,exclusive=true,setup=module load cuda"]
    )

    lines = fit_script(options, Path("runs/unet"), cpus=8, words=["a.b=4", "c.d=5"])

    assert lines.splitlines()[3:24] == [
        "#SBATCH --job-name=unet",
        "#SBATCH --nodes=2",
        "#SBATCH --ntasks-per-node=4",
        "#SBATCH --gres=gpu:4",
        "#SBATCH --cpus-per-task=8",
        "#SBATCH --time=24:00:00",
        f"#SBATCH --chdir={tmp_path}",
        "#SBATCH --output=runs/unet/slurm/%j.log",
        "#SBATCH --open-mode=append",
        "#SBATCH --requeue",
        "#SBATCH --signal=USR1@120",
        "#SBATCH --partition=gpu",
        "#SBATCH --exclusive",
        "",
        "module load cuda",
        "",
        "job=$SLURM_JOB_ID",
        "failures=runs/unet/slurm/failures-$job # number of failures in a row",
        "restarts=${SLURM_RESTART_COUNT:-0}",
        "max_requeues=100",
        "max_failures=3",
    ]
    assert (
        'srun --kill-on-bad-exit=1 --label --cpus-per-task="$SLURM_CPUS_PER_TASK" \\\n'
        f"  {shlex.quote(sys.executable)} -m volseg fit runs/unet/slurm/config.yaml"
        ' -o "$run" \\\n'
        '  a.b=4 c.d=5 "${resume[@]}"\n'
    ) in lines


def test_what_the_user_gives_takes_the_place_of_what_volseg_would_say():
    words = "gpus=2,gpus-per-node=a100:2,job-name=mine,output=%j.out,signal=TERM@60,cpus-per-task=3"
    options = read_slurm([words, "command=apptainer run --nv volseg.sif"])

    script = fit_script(options, Path("runs/unet"), cpus=8, words=[])

    for word in ("--gpus-per-node=a100:2", "--job-name=mine", "--output=%j.out"):
        assert f"#SBATCH {word}\n" in script
    for word in ("--signal=TERM@60", "--cpus-per-task=3"):
        assert f"#SBATCH {word}\n" in script
    assert "--gres" not in script
    assert "USR1@" not in script
    assert script.count("#SBATCH --cpus-per-task") == 1
    assert "  apptainer run --nv volseg.sif fit runs/unet/slurm/config.yaml" in script


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("gpus=2,gres=lscratch:20", "#SBATCH --gres=gpu:2,lscratch:20\n"),
        ("gpus=2,gres=lscratch:20,gpu:a100:2", "#SBATCH --gres=lscratch:20,gpu:a100:2\n"),
        ("gpus=0,gres=lscratch:20", "#SBATCH --gres=lscratch:20\n"),
        ("gpus=2,gpus-per-node=2,gres=lscratch:20", "#SBATCH --gres=lscratch:20\n"),
    ],
)
def test_other_resources_leave_the_gpus_asked_for(words, asked):
    assert asked in fit_script(read_slurm([words]), Path("r"), cpus=2, words=[])


def test_a_job_that_must_not_come_back_is_not_sent_back_by_slurm_either():
    script = fit_script(read_slurm(["max_requeues=0"]), Path("r"), cpus=2, words=[])

    assert "#SBATCH --no-requeue\n" in script


def test_only_some_tasks_of_an_array_may_run_at_a_time():
    options = read_slurm(["max_parallel=2"])

    folds = fit_script(options, Path("r"), cpus=2, words=[], folds=[0, 1, 4])
    shards = infer_script(options, Path("r"), cpus=2, words=[], shards=8)

    assert "#SBATCH --array=0,1,4%2\n" in folds
    assert "#SBATCH --array=1-8%2\n" in shards
    assert "--array" not in fit_script(options, Path("r"), cpus=2, words=[])


def scripts_of(folder):
    options = read_slurm(['gpus=0,comment=it\'s "new" \\ $x `y`'])
    words = [str(folder), "-m", "a b", "-o", str(folder)]
    yield fit_script(options, folder, cpus=1, words=["training.devices=1"])
    yield fit_script(options, folder, cpus=1, words=[], folds=[0, 2])
    yield infer_script(options, folder, cpus=1, words=words, shards=3)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_script_is_sound_bash(number, tmp_path):
    path = tmp_path / "job.sh"
    path.write_text(list(scripts_of(HOSTILE))[number])

    checks = [["bash", "-n"]]
    checker = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:/usr/bin:/bin")
    if checker:
        # A $ or ` in the name of a folder is to be taken as it is.
        checks.append([checker, "--exclude=SC2016"])
    for check in checks:
        done = subprocess.run([*check, path], capture_output=True, text=True, check=False)
        assert done.stdout + done.stderr == ""


@pytest.mark.parametrize("resumed", [False, True])
def test_paths_and_words_reach_the_program_as_they_are(tmp_path, monkeypatch, resumed):
    monkeypatch.chdir(tmp_path)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "srun").write_text(
        f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n"
    )
    (programs / "srun").chmod(0o755)
    if resumed:
        checkpoint_in(HOSTILE / "fold2")
    options = SlurmConfig.model_validate({"gpus": 0, "command": "volseg"})
    script = fit_script(options, HOSTILE, cpus=1, words=["a=b c"], folds=[0, 2])

    done = subprocess.run(
        ["bash", "-c", script],
        env={
            "PATH": f"{programs}:/usr/bin:/bin",
            **{"SLURM_CPUS_PER_TASK": "5", "SLURM_JOB_ID": "9"},
            **{"SLURM_ARRAY_JOB_ID": "8", "SLURM_ARRAY_TASK_ID": "2"},
        },
        capture_output=True,
        text=True,
        check=True,
    )

    called, said = done.stdout.splitlines()
    assert json.loads(called) == [
        *("--kill-on-bad-exit=1", "--label", "--cpus-per-task=5"),
        *("volseg", "fit", f"{HOSTILE}/slurm/config.yaml", "-o", f"{HOSTILE}/fold2"),
        *("a=b c", "data.fold=2", *(["--resume"] if resumed else [])),
    ]
    assert said == "volseg: job 8_2 ends here: done"


# Submission


def test_a_dry_run_prints_the_script_and_writes_nothing(experiment):
    before = sorted(Path().rglob("*"))

    done = run("fit", experiment, "-o", "r", "--slurm", "nodes=2", "--dry-run")

    assert done.exit_code == 0
    assert done.stdout.startswith("#!/bin/bash\n")
    assert "#SBATCH --nodes=2\n" in done.stdout
    # From the section of the config.
    assert "#SBATCH --gres=gpu:2\n" in done.stdout
    assert "training.devices=2 training.nodes=2 " in done.stdout
    assert sorted(Path().rglob("*")) == before


def heavy_after(words):
    """What a fresh interpreter holds of the heavy packages after a command."""
    script = f"import sys\nfrom volseg import cli\ntry:\n    cli.app({words})\nexcept SystemExit:\n"
    script += "    print({'torch', 'monai', 'pytorch_lightning'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=600
    )
    assert done.stdout.startswith("#!/bin/bash")
    return done.stdout.splitlines()[-1]


def test_submitting_imports_no_torch(experiment):
    Path("model.safetensors").touch()
    fit = ["fit", str(experiment), "--folds", "all", "--slurm", "defaults", "--dry-run"]
    Path("scans").mkdir()
    infer = ["infer", "scans", "-m", "model.safetensors", "-o", "out", "--slurm", "shards=2"]

    assert heavy_after(fit) == heavy_after([*infer, "--dry-run"]) == "set()"


def test_cores_follow_the_loader_processes(experiment):
    def cores(words, *overrides):
        options = read_slurm([words])
        found = config(experiment, *overrides).model_copy(update={"slurm": options})
        script = submit_fit(found, Path("r"), dry_run=True).script
        return script.partition("--cpus-per-task=")[2].partition("\n")[0]

    assert cores("nodes=1") == "8"
    assert cores("nodes=1", "data.workers=3") == "4"
    assert cores("cpus=5", "data.workers=3") == "5"


def test_a_job_without_gpus_trains_on_the_cpu(experiment):
    done = run("fit", experiment, "--slurm", "gpus=0,tasks=2", "--dry-run")

    assert "training.devices=2 training.nodes=1 training.accelerator=cpu " in done.stdout
    assert "--ntasks-per-node=2\n" in done.stdout
    assert "gres" not in done.stdout


def test_folds_become_tasks_without_those_that_are_finished(experiment):
    run_in(Path("r/fold1"), 1, finished=True)
    words = ["fit", experiment, "-o", "r", "--folds", "all", "--slurm", "defaults", "--dry-run"]

    assert "#SBATCH --array=0,2\n" in run(*words, "--resume").stdout
    # Until the config asks for more epochs.
    more = run(*words, "--resume", "training.max_epochs=999")
    assert "#SBATCH --array=0,1,2\n" in more.stdout
    refused = run(*words)
    assert refused.exit_code == 2
    assert "r/fold1 already holds a run; resume it with: volseg fit" in refused.stderr


def test_mistakes_are_found_before_the_queue(experiment):
    def refused(message, *overrides, error=ConfigError, folds=None, resume=False):
        found = config(experiment, *overrides)
        with pytest.raises(error, match=message):
            submit_fit(found, Path("r"), folds, resume=resume, dry_run=True)

    refused("gone.json", "data.data_list=gone.json", error=DataListError)
    refused("has no fold 9", "data.fold=9", error=DataListError)
    refused(r"has no fold 7, but \[0, 1, 2\]", folds="0,7", error=DataListError)
    refused("--folds some is neither all nor numbers", folds="some")
    refused("named interactive, each process would train", "slurm.job-name=interactive")
    refused("shards are for volseg infer", "slurm.shards=3")
    weights = "network={name: deeplabv3plus, encoder_weights: gone.pth}"
    refused("gone.pth does not exist", weights, error=ModelError)
    refused("holds no checkpoint; start the run", error=CheckpointError, resume=True)
    checkpoint_in(Path("r"))
    refused("r already holds a run; resume it with: volseg fit", error=OutputError)
    shutil.rmtree("r")
    Path("r").mkdir()
    Path("r/model.safetensors").touch()
    refused("r already holds a run; choose another -o", error=OutputError)
    refused("r/checkpoints holds no checkpoint; choose", error=CheckpointError, resume=True)


def test_a_run_goes_on_with_its_own_experiment_alone(experiment):
    run_in(Path("r"))

    submit_fit(config(experiment, "slurm.nodes=7"), Path("r"), resume=True, dry_run=True)
    other = config(experiment, "training.learning_rate=0.5")
    with pytest.raises(CheckpointError, match=r"another training\.learning_rate than this config"):
        submit_fit(other, Path("r"), resume=True, dry_run=True)


def test_a_list_of_files_that_are_not_there_is_refused(experiment, monkeypatch, caplog):
    monkeypatch.setenv("PATH", "/nowhere")
    change_cases(label="gone.nii")
    with pytest.raises(
        DataListError, match=r"no case .*gone\.nii does not exist; check data\.data"
    ):
        submit_fit(load_config(experiment), Path("r"))

    listed = json.loads(Path("list.json").read_text())
    listed["training"][0]["label"] = "seg.nii"
    Path("list.json").write_text(json.dumps(listed))
    # Of some, `fit` says which, and trains on the others.
    with pytest.raises(OutputError, match="sbatch was not found"):
        submit_fit(load_config(experiment), Path("r"))
    assert caplog.messages[0].startswith("2 of 3 cases lack files and will be left out")


def test_without_sbatch_nothing_is_written(experiment, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")

    done = run("fit", experiment, "-o", "r", "--slurm", "defaults")

    assert done.exit_code == 2
    assert done.stderr == (
        "Error: sbatch was not found; run this on a login node of the cluster, or see --dry-run\n"
    )
    assert not Path("r").exists()


def test_dry_run_without_slurm_is_refused(experiment):
    done = run("fit", experiment, "--dry-run")

    assert done.exit_code == 2
    assert "--dry-run shows the script of --slurm" in done.stderr


def test_infer_is_refused_what_it_cannot_use(tmp_path):
    scans, model = tmp_path / "scans", tmp_path / "run"
    scans.mkdir()

    def refused(message, words="shards=2", output=tmp_path / "out", error=ConfigError):
        with pytest.raises(error, match=message):
            submit_infer(InferCall(scans, [model], output), read_slurm([words]), dry_run=True)

    refused("run does not exist; check the path")
    model.mkdir()
    refused("run holds no model.safetensors; give a run with a model")
    refused("but a task of infer is one process", "nodes=2")
    (model / "model.safetensors").touch()
    refused("but a task of infer is one process", "gpus=2")
    refused("would be among the scans", output=scans / "results", error=OutputError)


def infer_of(tmp_path, *words):
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "scans").mkdir(exist_ok=True)
    start = ("infer", tmp_path / "scans", "-m", tmp_path / "model.safetensors")
    start += ("-o", tmp_path / "out")
    return run(*start, "--slurm", "shards=8,partition=gpu", *words)


def test_infer_becomes_a_job_array_whose_tasks_get_all_options(tmp_path):
    words = ["inference.window_batch=2", "--no-tta", "--overlap", "0.7", "--labels", "brats2021"]
    more = [
        "--probabilities",
        "--uncertainty",
        "--no-preview",
        "--device",
        "cuda",
        "--data-root",
        "a b",
        "--patient-regex",
        "^p",
    ]

    done = infer_of(tmp_path, *words, *more, "--dry-run")

    assert done.exit_code == 0
    assert "#SBATCH --array=1-8\n" in done.stdout
    model, out = tmp_path / "model.safetensors", tmp_path / "out"
    called = f"-m volseg infer {tmp_path / 'scans'} -m {model} -o {out} '--data-root=a b' "
    called += "inference.window_batch=2 inference.tta=false inference.overlap=0.7 "
    called += "--probabilities --uncertainty --no-preview --device=cuda "
    called += "--labels=brats2021 '--patient-regex=^p' \\\n  --shard \"$SLURM_ARRAY_TASK_ID/8\"\n"
    assert called in done.stdout
    assert not out.exists()


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"12\nrm -rf x", b"1" * 1000])
def test_what_is_no_number_of_a_job_is_not_asked_for(tmp_path, content):
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm" / "job_id").write_bytes(content)

    with pytest.raises(OutputError, match=r"slurm/job_id (holds|cannot be read).*; remove it"):
        job_of(tmp_path)


def test_infer_without_gpus_does_not_take_those_of_others(tmp_path):
    assert "--device=cpu" in infer_of(tmp_path, "--slurm", "gpus=0", "--dry-run").stdout
    asked = infer_of(tmp_path, "--slurm", "gpus=0", "--device", "cuda:1", "--dry-run").stdout
    assert "--device=cuda:1" in asked


def test_a_job_of_infer_refuses_a_shard_as_its_tasks_are_the_shards(tmp_path):
    done = infer_of(tmp_path, "--shard", "1/2")

    assert done.exit_code == 2
    assert "shards=N distributes the cases; leave out --shard" in done.stderr


def test_each_task_of_a_job_that_replaces_results_gets_overwrite(tmp_path):
    done = infer_of(tmp_path, "--overwrite", "--dry-run")

    assert done.exit_code == 0, done.stderr
    assert "--overwrite" in done.stdout.partition("-m volseg infer")[2].partition("--shard")[0]


def test_a_model_file_does_not_name_the_cluster(tmp_path):
    from volseg.model_file import load_model, save_model
    from volseg.networks import build_network

    options = {
        "labels": "lgg",
        "data": {"data_list": "x", "patch_size": [16, 16], "channels": ["t2f"]},
        "network": {"name": "unet", "widths": [4, 8]},
        "slurm": {"account": "secret"},
    }
    trained = ExperimentConfig.from_dict(options)
    weights = build_network(trained.network, 1, 1, (16, 16)).state_dict()

    save_model(tmp_path / "model.safetensors", weights, trained, {})

    assert b"secret" not in (tmp_path / "model.safetensors").read_bytes()
    assert load_model(tmp_path / "model.safetensors").config.slurm == SlurmConfig()


def test_a_signal_that_comes_while_python_ends_does_not_change_the_exit_code():
    # As srun sends one to the other processes when the first has ended with an error.
    script = (
        "import atexit, os, signal, sys\n"
        "from volseg.__main__ import main\n"
        "class Late:\n    def __del__(self, kill=os.kill, pid=os.getpid(), term=signal.SIGTERM):\n"
        "        kill(pid, term)\n"
        "sys.late = Late()\n"
        "sys.argv = ['volseg', 'fit', 'gone.yaml']\nmain()\n"
    )

    done = subprocess.run([sys.executable, "-c", script], check=False, timeout=600)

    assert done.returncode == 2


@pytest.fixture(autouse=True)
def _plain_log():
    yield
    import logging

    root = logging.getLogger()
    root.handlers = [h for h in root.handlers if not isinstance(h, PlainLog)]
