"""A private Slurm with two nodes on this machine: partition `cpu` on one, `gpu` on the other.

Files, keys and sockets are in a temporary folder and ports are free ones; it reads neither /etc/slurm nor /etc/munge,
so a cluster that the machine belongs to is not touched. The two GPUs are labels for /dev/null and /dev/zero.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
_DAEMONS = ("munged", "slurmctld", "slurmd")
_CLIENTS = ("sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun")
_START_S = 30
_CONF = """\
ClusterName=headwater
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={ports[0]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,bf_interval=2
ReturnToService=2
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
KillWait=2
MinJobAge=3600
JobRequeue=0
GresTypes=gpu
NodeName=c1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4 RealMemory=64000 State=UNKNOWN
NodeName=g1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=4 RealMemory=64000 Gres=gpu:2 State=UNKNOWN
PartitionName=cpu Nodes=c1 Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=g1 MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """Return a sentence that names what this machine lacks for a private Slurm; None if nothing is missing."""
    lacking = [name for name in (*_DAEMONS, *_CLIENTS) if _program(name) is None]
    return f"Slurm is not installed: no {', '.join(lacking)} (Debian: slurm-wlm munge)." if lacking else None


@dataclass(frozen=True)
class Box:
    """A running Slurm."""

    folder: Path

    @property
    def bin(self) -> Path:
        """Slurm's commands for this Slurm; to be first on the PATH of the submitting process."""
        return self.folder / "bin"

    def call(self, name: str, *arguments: str) -> str:
        """Run one of Slurm's commands; return its output."""
        done = subprocess.run([self.bin / name, *arguments], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def records(self) -> list[dict[str, str]]:
        """Return Slurm's record of each job, including ended ones."""
        lines = self.call("scontrol", "show", "jobs", "--oneliner").splitlines()
        return [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in lines if line.startswith("JobId=")]

    def jobs(self) -> list[str]:
        """Return the ids of waiting and running jobs."""
        return self.call("squeue", "--noheader", "--format=%i").split()


@contextmanager
def running_slurm() -> Iterator[Box]:
    """Start munge, the controller and two nodes; stop them and remove their files when the block ends."""
    lack = missing()
    assert lack is None, lack
    # Not under pytest's folders: a socket's path has at most 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="headwater-slurm-"))
    folder.chmod(0o755)
    try:
        box = Box(folder)
        _write_files(box)
        with ExitStack() as stack:
            munge = (
                "--key-file", folder / "munge/key", "--socket", folder / "munge/socket", "--log-file",
                folder / "munge/log", "--pid-file", folder / "munge/pid", "--seed-file", folder / "munge/seed",
            )  # fmt: skip
            stack.enter_context(_daemon("munged", "--foreground", *munge, log=folder / "log/munged"))
            _wait_for(lambda: (folder / "munge/socket").exists(), folder)
            conf = folder / "slurm.conf"
            stack.enter_context(_daemon("slurmctld", "-D", "-f", conf, log=folder / "log/controller"))
            for node in ("c1", "g1"):
                (folder / "spool" / node).mkdir(parents=True)
                stack.enter_context(_daemon("slurmd", "-D", "-f", conf, "-N", node, log=folder / f"log/{node}"))
            _wait_for(lambda: _idle_nodes(box) == {"c1", "g1"}, folder)
            stack.callback(_cancel_all, box)
            yield box
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_files(box: Box) -> None:
    folder = box.folder
    for name in ("state", "log", "munge", "bin"):
        (folder / name).mkdir()
    (folder / "munge/key").write_bytes(os.urandom(128))
    (folder / "munge/key").chmod(0o600)
    user = pwd.getpwuid(os.geteuid()).pw_name
    host = socket.gethostname().split(".")[0]
    (folder / "slurm.conf").write_text(_CONF.format(host=host, user=user, ports=_free_ports(3), folder=folder))
    (folder / "gres.conf").write_text("NodeName=g1 Name=gpu File=/dev/null\nNodeName=g1 Name=gpu File=/dev/zero\n")
    # The plugin clears SLURM_* from a job's environment, including SLURM_CONF: each command sets it again.
    for name in _CLIENTS:
        path = box.bin / name
        path.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {_program(name)} "$@"\n')
        path.chmod(0o755)


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SBIN}")


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]


@contextmanager
def _daemon(name: str, *arguments: str | Path, log: Path) -> Iterator[None]:
    program = _program(name)
    assert program is not None
    with log.open("wb") as output:
        process = subprocess.Popen([program, *arguments], stdout=output, stderr=output, start_new_session=True)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _idle_nodes(box: Box) -> set[str]:
    command: Sequence[str | Path] = [box.bin / "sinfo", "--noheader", "--Node", "--states=idle", "--format=%N"]
    return set(subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout.split())


def _cancel_all(box: Box) -> None:
    """Cancel jobs that a failed test left; the nodes end their processes."""
    with suppress(AssertionError, subprocess.TimeoutExpired):
        for job in box.jobs():
            box.call("scancel", job)
        deadline = time.monotonic() + 15
        while box.jobs() and time.monotonic() < deadline:
            time.sleep(0.2)


def _wait_for(ready: Callable[[], bool], folder: Path) -> None:
    deadline = time.monotonic() + _START_S
    while not ready():
        if time.monotonic() > deadline:
            logs = "\n".join(path.read_text()[-2000:] for path in sorted((folder / "log").iterdir()))
            raise AssertionError(f"Slurm did not start in {_START_S} s.\n{logs}")
        time.sleep(0.2)
