"""A real SLURM cluster of two nodes on this machine: two pretended GPUs and four CPUs each."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

NODES = ("n1", "n2")
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "scancel", "sinfo")
# Of several processes that test, one may be ended before it comes to `Cluster.stop`.
WITH_PARENT = ("setpriv", "--pdeathsig", "TERM")

CONFIG = """\
ClusterName=test
# Ranks of a job meet at the port 15000 + its last four digits: not at that of another cluster here.
FirstJobId={first_job}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
# A requeued job waits until its old credential is over.
AuthInfo=cred_expire=5
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool.%n
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.%n.pid
SlurmctldLogFile={home}/log/slurmctld.log
SlurmdLogFile={home}/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
SlurmdTimeout=20
MinJobAge=3600
JobRequeue=1
GresTypes=gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} {hardware}
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} {hardware}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 \
PreemptMode=REQUEUE GraceTime=15
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""
HARDWARE = "CPUs=4 RealMemory=8000 Gres=gpu:2 State=UNKNOWN"


@dataclass
class Cluster:
    """A running cluster.

    Attributes:
        home: Its configuration, state and logs.
        env: Environment for every command that talks to it.
    """

    home: Path
    env: dict[str, str]
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def call(self, *words: object, **options: object) -> str:
        """What a command prints; fails if the command does."""
        done = subprocess.run(
            [str(word) for word in words],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            **options,
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def submit(self, script: Path, *sbatch_options: str, cwd: Path | None = None) -> str:
        """Number of the job of a script."""
        return self.call("sbatch", "--parsable", *sbatch_options, script, cwd=cwd)

    def job(self, job_id: str) -> dict[str, str]:
        """What `scontrol show job` tells: JobState, Restarts, ExitCode, StdOut and more.

        For a task of a job array, `job_id` is JOB_TASK.
        """
        # Of an array, the first line is the task asked for, or what is left of the array.
        line = self.call("scontrol", "--oneliner", "show", "job", job_id).splitlines()[0]
        return dict(re.findall(r"(\w[\w:/]*)=(.*?)(?= \w[\w:/]*=|$)", line))

    def state(self, job_id: str) -> str:
        """PENDING, RUNNING, COMPLETED, FAILED, CANCELLED, ...; COMPLETING while it ends."""
        return self.job(job_id)["JobState"]

    def restarts(self, job_id: str) -> int:
        """How often a job was given back to the queue."""
        return int(self.job(job_id)["Restarts"])

    def is_over(self, job_id: str) -> bool:
        """Whether a job has ended for good."""
        # A state may also be one of passage, such as SIGNALING or COMPLETING.
        return self.state(job_id) in {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"}

    def wait_until(
        self, predicate: Callable[[], object], timeout: float = 60, what: str = ""
    ) -> None:
        """Poll until `predicate()` is true; fails, with the logs, after `timeout` seconds."""
        end = time.monotonic() + timeout
        while not predicate():
            if time.monotonic() > end:
                raise AssertionError(f"waited {timeout} s for {what or predicate}\n{self.story()}")
            time.sleep(0.1)

    def wait_for_end(self, *job_ids: str, timeout: float = 60) -> None:
        """Wait until the jobs have ended for good."""
        for job_id in job_ids:
            self.wait_until(lambda job=job_id: self.is_over(job), timeout, f"the end of {job_id}")

    def job_log(self, job_id: str) -> str:
        """Log of a job so far."""
        # SLURM tells a % in a name as it was written.
        path = Path(self.job(job_id)["StdOut"].replace("%%", "%"))
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def cancel(self, job_id: str) -> None:
        self.call("scancel", job_id)

    def kill_node(self, name: str) -> None:
        """Kill a node's daemon and all that runs on it at once, as if its power failed."""
        self.daemons[name].kill()
        self.daemons[name].wait()
        tasks = self._processes(f"SLURMD_NODENAME={name}")
        for pid in {*tasks, *self._keepers(tasks)}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def start_node(self, name: str) -> None:
        """Start a node, and wait until it takes jobs."""
        self._start(name, "slurmd", "-N", name)
        self.wait_until(lambda: self.node_state(name) in ("idle", "mixed", "allocated"), 30, name)

    def node_state(self, name: str) -> str:
        return self.call("sinfo", "--noheader", "--Node", "--node", name, "-o", "%T").split()[0]

    def story(self) -> str:
        """Jobs and the ends of all logs, for a test that failed."""
        jobs = self.call("scontrol", "--oneliner", "show", "job")
        logs = sorted((self.home / "log").glob("*"))
        ends = [f"{path.name}:\n{path.read_text(errors='replace')[-3000:]}" for path in logs]
        return "\n\n".join([jobs, *ends])

    def start(self) -> None:
        self._start("slurmctld", "slurmctld", "-c")
        for name in NODES:
            self._start(name, "slurmd", "-N", name)
        self.wait_until(self._is_up, 30, "two idle nodes")

    def stop(self) -> None:
        """End all jobs and daemons, and remove everything."""
        try:
            with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
                self.call("scancel", "--user=root", "--quiet")
                self.wait_until(lambda: not self.call("squeue", "--noheader"), 15, "no jobs")
        finally:
            for process in reversed(self.daemons.values()):
                process.terminate()
            for process in self.daemons.values():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=10)
                process.kill()
                process.wait()
            left = self._processes(f"SLURM_CONF={self.home}/slurm.conf")
            for pid in {*left, *self._keepers(left)} - {os.getpid()}:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            shutil.rmtree(self.home, ignore_errors=True)

    def _is_up(self) -> bool:
        states = subprocess.run(
            ["sinfo", "--noheader", "--Node", "--partition=main", "-o", "%T"],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return states.stdout.split() == ["idle", "idle"]

    def _start(self, name: str, program: str, *options: str) -> None:
        with (self.home / "log" / f"{name}.out").open("ab") as out:
            self.daemons[name] = subprocess.Popen(
                [*WITH_PARENT, _path(program), "-D", "-f", str(self.home / "slurm.conf"), *options],
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                # Ctrl-C in the test is not for the daemons, which `stop` ends.
                start_new_session=True,
            )

    def _processes(self, *marks: str) -> list[int]:
        """Processes of jobs of this cluster, with these entries in their environment."""
        wanted = {mark.encode() for mark in (f"SLURM_CONF={self.home}/slurm.conf", *marks)}
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                entries = set((folder / "environ").read_bytes().split(b"\0"))
                if wanted <= entries and any(e.startswith(b"SLURM_JOB_ID=") for e in entries):
                    found.append(int(folder.name))
        return found

    def _keepers(self, pids: Sequence[int]) -> list[int]:
        """The processes of SLURM that started these."""
        parents = []
        for pid in pids:
            with contextlib.suppress(OSError, IndexError):
                status = Path(f"/proc/{pid}/stat").read_text()
                parent = int(status.rpartition(")")[2].split()[1])
                if Path(f"/proc/{parent}/comm").read_text().startswith("slurmstepd"):
                    parents.append(parent)
        return parents


@contextlib.contextmanager
def running_cluster() -> Iterator[Cluster]:
    """A cluster that ends with the block, whatever happens in it."""
    # Sockets lie in it, and their paths must be short.
    home = Path(tempfile.mkdtemp(prefix="volseg-slurm-", dir="/tmp"))
    # The address of rank 0 would else be the name of a node, which is no host here.
    added = {"SLURM_CONF": str(home / "slurm.conf"), "MASTER_ADDR": "127.0.0.1"}
    inherited = {name: value for name, value in os.environ.items() if name[:6] != "SLURM_"}
    cluster = Cluster(home, inherited | added)
    try:
        _write_config(home)
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def why_not() -> str | None:
    """Why no cluster can run here, or None."""
    if not sys.platform.startswith("linux"):
        return "a SLURM cluster for tests runs on Linux alone"
    if os.geteuid() != 0:
        return "a SLURM cluster for tests needs root"
    missing = [program for program in PROGRAMS if not shutil.which(_path(program))]
    if missing:
        return f"{', '.join(missing)} not found; install slurmctld, slurmd and slurm-client"
    return None


def must_run() -> bool:
    """Whether a missing cluster is an error: in CI, where one can be had."""
    return bool(os.environ.get("CI")) and sys.platform.startswith("linux") and os.geteuid() == 0


def _path(program: str) -> str:
    # Debian keeps the daemons where only root looks.
    return shutil.which(program) or f"/usr/sbin/{program}"


def _write_config(home: Path) -> None:
    for name in ("state", "log", "dev", *(f"spool.{node}" for node in NODES)):
        (home / name).mkdir()
    for number in range(2):
        # SLURM wants GPUs to be devices.
        (home / "dev" / f"gpu{number}").symlink_to("/dev/null")
    text = CONFIG.format(
        first_job=random.randrange(1, 9000),
        home=home,
        host=socket.gethostname().split(".")[0],
        ports=_free_ports(3),
        hardware=HARDWARE,
    )
    (home / "slurm.conf").write_text(text, encoding="utf-8")
    (home / "gres.conf").write_text(f"Name=gpu File={home}/dev/gpu[0-1]\n", encoding="utf-8")
    (home / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n", encoding="utf-8")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
