"""A real Slurm on this machine: one controller, one node, without systemd; everything that it writes in one folder."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "mungekey", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "setpriv")
PATIENCE = 60.0

_CONFIGURATION = """\
ClusterName=pinnx
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
SlurmctldPort={control}
SlurmdPort={node}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SlurmdTimeout=5
KillWait=3
MinJobAge=300
SchedulerParameters=sched_interval=2,batch_sched_delay=0,sched_min_interval=0
JobRequeue=1
NodeName=localhost NodeHostname={host} NodeAddr=127.0.0.1 Port={node} CPUs=4 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """Why no cluster can be started here, or None."""
    if os.geteuid() != 0:
        return "starting munge and Slurm needs root"
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    lacking = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    return f"not installed: {', '.join(lacking)} (Debian: slurm-wlm, munge)" if lacking else None


class Cluster:
    """The daemons.

    Args:
        folder: empty; holds configuration, state and logs.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
        self.environment = {**os.environ, "PATH": path, "SLURM_CONF": str(folder / "slurm.conf")}

    def start(self) -> None:
        """Start all daemons and wait until the node takes jobs."""
        folder = self.folder
        for name in ("state", "spool"):
            (folder / name).mkdir()
        text = _CONFIGURATION.format(folder=folder, control=_port(), node=_port(), host=socket.gethostname())
        (folder / "slurm.conf").write_text(text)
        key = folder / "munge.key"
        self.call("mungekey", "--create", f"--keyfile={key}")
        files = [f"--{name}-file={folder}/munge.{name}" for name in ("log", "pid", "seed")]
        # munged distrusts folders that others may write to, such as temporary ones
        self._launch(
            "munged", "--foreground", "--force", f"--socket={folder}/munge.socket", f"--key-file={key}", *files
        )
        wait_for(lambda: (folder / "munge.socket").exists(), "munged")
        self._launch("slurmctld", "-D", "-i")
        self.start_node()

    def start_node(self) -> None:
        """Start the node's daemon, again if it was ended."""
        self._launch("slurmd", "-D", "-N", "localhost")
        wait_for(lambda: "idle" in self.call("sinfo", "-h", "-o", "%T", check=False), "an idle node")

    def lose_node(self) -> None:
        """The node disappears: its daemon and all of its jobs end at once."""
        daemon = self._daemons.pop("slurmd")
        # a job's own daemon is nobody's child; it and what it started have this cluster's configuration
        spared = {each.pid for each in self._daemons.values()}
        mark = f"SLURM_CONF={self.folder / 'slurm.conf'}".encode()
        marked = [process for process in _processes(mark) if process not in spared]
        victims = list(dict.fromkeys([*marked, *_descendants([*marked, daemon.pid]), daemon.pid]))
        # all stand still before the first ends, else a daemon could report the end of its job
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for victim in victims:
                with suppress(ProcessLookupError):
                    os.kill(victim, number)
        daemon.wait()
        # with the machine goes its disk; else the next daemon would take the dead job's socket for the job
        shutil.rmtree(self.folder / "spool")
        (self.folder / "spool").mkdir()

    def stop(self) -> None:
        """End all daemons, all jobs, and whatever else has this cluster's configuration: nothing stays behind."""
        for name in ("slurmd", "slurmctld", "munged"):
            if (daemon := self._daemons.pop(name, None)) is not None:
                daemon.terminate()
                with suppress(subprocess.TimeoutExpired):
                    daemon.wait(3)
                daemon.kill()
                daemon.wait()
        for number in (signal.SIGTERM, signal.SIGKILL):
            self._end(number)

    def _end(self, number: signal.Signals) -> None:
        """Send a signal to the processes of jobs, and wait a little for their end."""
        mark = f"SLURM_CONF={self.folder / 'slurm.conf'}".encode()
        for process in _processes(mark):
            with suppress(ProcessLookupError):
                os.kill(process, number)
        deadline = time.monotonic() + 2
        while _processes(mark) and time.monotonic() < deadline:
            time.sleep(0.05)

    def call(self, *words: str, check: bool = True) -> str:
        """The output of a command of Slurm's."""
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(words)}: {done.stderr}{done.stdout}\n{self.logs()}")
        return done.stdout

    def state(self, job: str) -> str:
        """The state of a job, or of a task of an array, such as "RUNNING"."""
        words = dict(word.partition("=")[::2] for word in self.call("scontrol", "-o", "show", "job", job).split())
        return words["JobState"]

    def wait_until(self, job: str, *states: str, patience: float = PATIENCE) -> str:
        """Wait until a job is in one of the states."""
        found = wait_for(lambda: (now := self.state(job)) in states and now, f"{job} {states}", patience, self.logs)
        return str(found)

    def logs(self) -> str:
        """The ends of the daemons' logs."""
        files = sorted(self.folder.glob("*.log"))
        return "\n".join(f"--- {file.name}\n" + "\n".join(file.read_text().splitlines()[-30:]) for file in files)

    def _launch(self, name: str, *options: str) -> None:
        with open(self.folder / f"{name}.out.log", "ab") as output:
            # whatever becomes of the tests, the daemon does not outlive them
            command = ["setpriv", "--pdeathsig", "KILL", name, *options]
            self._daemons[name] = subprocess.Popen(
                command, env=self.environment, stdout=output, stderr=output, start_new_session=True
            )


@contextmanager
def cluster_in(folder: Path) -> Iterator[Cluster]:
    """A cluster for a while."""
    cluster = Cluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def wait_for(
    condition: Callable[[], object], what: str, patience: float = PATIENCE, logs: Callable[[], str] = lambda: ""
) -> object:
    """The first true value of a condition."""
    deadline = time.monotonic() + patience
    while True:
        if found := condition():
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience} s in vain for {what}\n{logs()}")
        time.sleep(0.2)


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _processes(mark: bytes) -> list[int]:
    """The processes that were started with a word in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:  # it has just ended
            continue
    return found


def _descendants(parents: list[int]) -> list[int]:
    """The processes below some, whatever session they are in."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                above = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # it has just ended
                continue
            children.setdefault(above, []).append(int(entry.name))
    found, queue = [], list(parents)
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found
