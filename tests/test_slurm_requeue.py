"""What batch scripts do on a real cluster, with a stand-in for volseg that acts as it is told."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from experiments import write_experiment

from volseg.config import ExperimentConfig, SlurmConfig, load_config, read_slurm
from volseg.errors import ConfigError, OutputError
from volseg.slurm.submission import InferCall, submit_fit, submit_infer
from volseg.tasks.info import info

# Called as `stand_in fit CONFIG -o RUN ...`; of several processes the first notes its words.
STAND_IN = """\
#!/bin/bash
here={here}
restart=${{SLURM_RESTART_COUNT:-0}}
if [[ $SLURM_PROCID == 0 ]]; then echo "$*" >>"$here/calls$SLURM_ARRAY_TASK_ID"; fi
{acts}
"""
# A folder as nobody should call it, and some do.
RUNS = Path('it\'s 100% "mine" $HOME `x` a;b #1')


@dataclass
class Job:
    """A submitted job, and where its stand-in keeps its notes."""

    job_id: str
    home: Path
    run: Path

    def calls(self, task: int | str = "") -> list[str]:
        return (self.home / f"calls{task}").read_text(encoding="utf-8").splitlines()


class Submitted:
    """Jobs that run side by side, since each waits for seconds before it comes back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fit(self, name: str, acts: str, words: str = "gpus=0", folds: str | None = None) -> Job:
        home = self._stand_in(name, acts)
        run = RUNS / name
        job = submit_fit(self.config(home, words), run, folds).job
        assert job is not None
        return Job(job, home, self.folder / run)

    def config(self, home: Path, words: str) -> ExperimentConfig:
        path = write_experiment(home, data={"data_list": str(home / "list.json")})
        slurm = SlurmConfig.model_validate(self._options(home, words))
        return load_config(path).model_copy(update={"slurm": slurm})

    def infer(self, name: str, acts: str, shards: int) -> Job:
        home = self._stand_in(name, acts)
        for path in (home / "scans", home / "model.safetensors"):
            path.touch()
        options = read_slurm([f"gpus=0,shards={shards}"])
        options = options.model_copy(update=self._options(home, ""))
        call = InferCall(home / "scans", [home / "model.safetensors"], Path(name), words=["--tta"])
        job = submit_infer(call, options).job
        assert job is not None
        return Job(job, home, self.folder / name)

    def _stand_in(self, name: str, acts: str) -> Path:
        home = self.folder / f"stand in {name}"
        home.mkdir(exist_ok=True)
        program = home / "volseg"
        program.write_text(STAND_IN.format(here=f"'{home}'", acts=acts), encoding="utf-8")
        program.chmod(0o755)
        return home

    def _options(self, home: Path, words: str) -> dict[str, object]:
        given = read_slurm([words]).model_dump(exclude_unset=True)
        return {"cpus": 1, "command": f"'{home}/volseg'"} | given


@dataclass
class Jobs:
    """The jobs of this file by name, and what submits more."""

    submit: Submitted
    named: dict[str, Job]

    def __getitem__(self, name: str) -> Job:
        return self.named[name]


@pytest.fixture(scope="module")
def jobs(cluster, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster jobs")
    before = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", cluster.env["SLURM_CONF"])
        os.chdir(folder)
        submit = Submitted(folder)
        yield Jobs(submit, _submit_all(submit))
        os.chdir(before)


def _submit_all(submit: Submitted) -> dict[str, Job]:
    checkpoint = 'mkdir -p "$4/checkpoints"; touch "$4/checkpoints/step-1.ckpt"'
    return {
        "stopped twice": submit.fit(
            "stopped twice",
            f"if ((restart == 1)); then {checkpoint}; fi\nexit $((restart < 2 ? 75 : 0))",
        ),
        "broken": submit.fit(
            "broken",
            f"if ((restart == 0)); then {checkpoint}; fi\nexit 1",
            "gpus=0,max_failures=1",
        ),
        "broken later": submit.fit(
            "broken later",
            'mkdir -p "$4/checkpoints"; touch "$4/checkpoints/step-$restart.ckpt"\n'
            "exit $((restart < 2))",
            "gpus=0,max_failures=1",
        ),
        "wrong": submit.fit("wrong", "exit 2"),
        "too often": submit.fit("too often", "exit 75", "gpus=0,max_requeues=0"),
        "cancelled": submit.fit(
            "cancelled",
            f"trap 'exit 75' TERM\n{checkpoint}\nfor ((i = 0; i < 600; i++)); do sleep 0.1; done",
        ),
        "out of time": submit.fit(
            "out of time",
            "trap 'exit 75' USR1\nif ((restart)); then exit 0; fi\n"
            "for ((i = 0; i < 600; i++)); do sleep 0.1; done",
            "gpus=0,time=1,signal=USR1@50",
        ),
        "killed rank": submit.fit(
            "killed rank",
            f"{checkpoint}\nif ((restart)); then exit 0; fi\n"
            # Not before the first process has noted its words.
            'if ((SLURM_PROCID == 1)); then until [[ -s "$here/calls" ]]; do sleep 0.1; done; '
            "kill -9 $$; fi\nsleep 60",
            "nodes=2,gpus=1",
        ),
        "folds": submit.fit("folds", "exit 0", "gpus=0,max_parallel=2", folds="0,2"),
        "shards": submit.infer("shards", "exit 0", 3),
    }


def test_a_stopped_job_comes_back_until_it_is_done(cluster, jobs):
    job = jobs["stopped twice"]

    cluster.wait_for_end(job.job_id)

    assert cluster.state(job.job_id) == "COMPLETED"
    assert cluster.restarts(job.job_id) == 2
    log = cluster.job_log(job.job_id)
    assert (
        f"volseg: stopped in good order, job {job.job_id} goes back into the queue (restart 1"
        in log
    )
    assert "(restart 2)" in log
    assert log.splitlines()[-1] == f"volseg: job {job.job_id} ends here: done"


def test_a_job_goes_on_once_there_is_a_checkpoint(cluster, jobs):
    job = jobs["stopped twice"]

    cluster.wait_for_end(job.job_id)

    first = f"fit {RUNS}/stopped twice/slurm/config.yaml -o {RUNS}/stopped twice"
    options = "training.devices=1 training.nodes=1 training.accelerator=cpu"
    assert job.calls() == [f"{first} {options}"] * 2 + [f"{first} {options} --resume"]


def test_a_job_that_breaks_again_and_again_is_given_up(cluster, jobs):
    job = jobs["broken"]

    cluster.wait_for_end(job.job_id)

    assert cluster.state(job.job_id) == "FAILED"
    assert cluster.job(job.job_id)["ExitCode"] == "1:0"
    assert len(job.calls()) == 2
    assert "ends here: code 1, failure 2 in a row (max_failures)" in cluster.job_log(job.job_id)
    assert not list((job.run / "slurm").glob("failures*"))


def test_failures_count_anew_once_there_is_a_new_checkpoint(cluster, jobs):
    job = jobs["broken later"]

    cluster.wait_for_end(job.job_id)

    assert (cluster.state(job.job_id), cluster.restarts(job.job_id)) == ("COMPLETED", 2)
    assert cluster.job_log(job.job_id).count("failure 1 in a row, job") == 2


def test_an_error_of_the_user_does_not_come_back(cluster, jobs):
    job = jobs["wrong"]

    cluster.wait_for_end(job.job_id)

    assert cluster.job(job.job_id)["ExitCode"] == "2:0"
    assert (cluster.restarts(job.job_id), len(job.calls())) == (0, 1)


def test_a_job_comes_back_no_more_often_than_it_may(cluster, jobs):
    job = jobs["too often"]

    cluster.wait_for_end(job.job_id)

    assert cluster.job(job.job_id)["ExitCode"] == "75:0"
    assert (cluster.restarts(job.job_id), len(job.calls())) == (0, 1)
    assert "ends here: stopped in good order, after 0 restarts (max_requeues)" in cluster.job_log(
        job.job_id
    )


def test_a_cancelled_job_stays_cancelled(cluster, jobs):
    job = jobs["cancelled"]
    cluster.wait_until((job.run / "checkpoints" / "step-1.ckpt").exists)

    cluster.cancel(job.job_id)
    cluster.wait_for_end(job.job_id)

    assert cluster.state(job.job_id) == "CANCELLED"
    assert (cluster.restarts(job.job_id), len(job.calls())) == (0, 1)


def test_the_program_is_told_before_its_time_is_up(cluster, jobs):
    job = jobs["out of time"]

    cluster.wait_for_end(job.job_id)

    assert cluster.state(job.job_id) == "COMPLETED"
    assert (cluster.restarts(job.job_id), len(job.calls())) == (1, 2)


def test_a_killed_process_takes_the_others_along_and_the_job_comes_back(cluster, jobs):
    job = jobs["killed rank"]

    cluster.wait_for_end(job.job_id)

    assert cluster.state(job.job_id) == "COMPLETED"
    log = cluster.job_log(job.job_id)
    assert "failure 1 in a row, job" in log
    assert [line.split()[-1] for line in job.calls()] == ["training.nodes=2", "--resume"]


def test_each_fold_is_a_task_of_its_own(cluster, jobs):
    job = jobs["folds"]
    tasks = {fold: f"{job.job_id}_{fold}" for fold in (0, 2)}

    cluster.wait_for_end(*tasks.values())

    for fold, task in tasks.items():
        (words,) = job.calls(fold)
        assert f"-o {RUNS}/folds/fold{fold} " in words
        assert words.endswith(f" data.fold={fold}")
        assert cluster.job_log(task).endswith(f"volseg: job {task} ends here: done\n")


def test_a_job_that_sbatch_refuses_leaves_its_script(jobs):
    with pytest.raises(ConfigError, match=r"sbatch refused .*invalid partition.*; change --slurm"):
        jobs.submit.fit("refused", "exit 0", "gpus=0,partition=nowhere")

    assert (RUNS / "refused" / "slurm" / "job.sh").exists()


def test_a_folder_takes_no_second_job_while_the_first_waits(cluster, jobs):
    job = jobs.submit.fit("held", "exit 0", "gpus=0,hold=true")

    with pytest.raises(OutputError, match=rf"job {job.job_id} for .*held is pending; wait until"):
        submit_fit(jobs.submit.config(job.home, "gpus=0"), RUNS / "held")
    assert info(RUNS / "held")["job"] == {"number": job.job_id, "state": "pending"}

    cluster.cancel(job.job_id)
    cluster.wait_for_end(job.job_id)
    assert jobs.submit.fit("held", "exit 0").job_id != job.job_id


def test_each_shard_is_a_task_of_its_own(cluster, jobs):
    job = jobs["shards"]

    cluster.wait_for_end(*(f"{job.job_id}_{task}" for task in (1, 2, 3)))

    words = [job.calls(task)[0] for task in (1, 2, 3)]
    start = f"infer {job.home}/scans -m {job.home}/model.safetensors -o shards --tta --shard"
    assert words == [f"{start} {task}/3" for task in (1, 2, 3)]
