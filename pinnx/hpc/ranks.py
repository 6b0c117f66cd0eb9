"""Which of several processes of one job this is, as the launcher says it in the environment: torchrun, srun, mpirun."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from pinnx.errors import InputError

#: Ports that are derived from a job's number lie in this range, above the well-known and below the ephemeral ones.
_PORTS = range(12_000, 32_000)
_HOST = re.compile(r"(?P<head>[^\[,]*)(?:\[(?P<first>\d+)[^\]]*\](?P<tail>[^,\[]*))?")


@final
@dataclass(frozen=True)
class Ranks:
    """This process among those of its job.

    Attributes:
        rank: its number, from 0.
        count: number of processes.
        local: its number among those of its machine.
        launcher: "torchrun", "srun" or "mpirun".
        address: host of rank 0.
        port: where rank 0 listens.
    """

    rank: int
    count: int
    local: int
    launcher: str
    address: str
    port: int

    @property
    def leads(self) -> bool:
        """Whether this process writes the run directory and speaks to the user."""
        return self.rank == 0


def current_ranks(environ: Mapping[str, str] = os.environ) -> Ranks | None:
    """This process among those of its job, or None for a process on its own.

    torchrun's words are taken before those of the launcher that may have started it.

    Raises:
        InputError: the environment says that there are several processes, and not how they can meet.
    """
    if "RANK" in environ and "WORLD_SIZE" in environ:
        return _ranks(environ, "torchrun", "RANK", "WORLD_SIZE", ("LOCAL_RANK",))
    # SLURM_NTASKS is set in a batch script, too, which is one process; this one is set by srun only
    if "SLURM_STEP_NUM_TASKS" in environ and "SLURM_PROCID" in environ:
        return _ranks(environ, "srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", ("SLURM_LOCALID",))
    if "OMPI_COMM_WORLD_SIZE" in environ:
        return _ranks(
            environ, "mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", ("OMPI_COMM_WORLD_LOCAL_RANK",)
        )
    if "PMI_SIZE" in environ:
        return _ranks(environ, "mpirun", "PMI_RANK", "PMI_SIZE", ("MPI_LOCALRANKID", "PALS_LOCAL_RANKID"))
    return None


def first_host(hosts: str) -> str:
    """The first host of a list in Slurm's notation.

    Example:
        >>> first_host("gpu[007-011,014],login1")
        'gpu007'
    """
    match = _HOST.match(hosts)
    return "" if match is None else f"{match['head']}{match['first'] or ''}{match['tail'] or ''}"


def _ranks(environ: Mapping[str, str], launcher: str, rank: str, count: str, local: tuple[str, ...]) -> Ranks | None:
    try:
        number, total = int(environ[rank]), int(environ[count])
        place = next((int(environ[name]) for name in local if name in environ), number)
        port = int(environ["MASTER_PORT"]) if "MASTER_PORT" in environ else _port(environ, launcher)
    except (KeyError, ValueError):
        raise InputError(
            f"the environment looks like that of {launcher}, but {rank}, {count} and MASTER_PORT are not all numbers"
        ) from None
    if total == 1:
        return None
    return Ranks(number, total, place, launcher, _address(environ, launcher, total), port)


def _address(environ: Mapping[str, str], launcher: str, total: int) -> str:
    if "MASTER_ADDR" in environ:
        return environ["MASTER_ADDR"]
    if launcher == "srun":
        if environ.get("SLURM_STEP_NUM_NODES", "1") == "1":
            return "127.0.0.1"
        return first_host(environ.get("SLURM_STEP_NODELIST", "")) or environ.get("SLURM_LAUNCH_NODE_IPADDR", "")
    on_this_machine = environ.get("OMPI_COMM_WORLD_LOCAL_SIZE") or environ.get("MPI_LOCALNRANKS")
    if launcher == "mpirun" and (on_this_machine is None or int(on_this_machine) == total):
        return "127.0.0.1"
    raise InputError(
        f"{launcher} has started processes on several machines and does not say where rank 0 is; set MASTER_ADDR to "
        "its host, such as mpirun -x MASTER_ADDR=host1"
    )


def _port(environ: Mapping[str, str], launcher: str) -> int:
    """A port that all processes of a job agree upon and other jobs on the machine are unlikely to use."""
    if launcher == "srun":
        name = f"{environ.get('SLURM_JOB_ID')}.{environ.get('SLURM_STEP_ID')}.{environ.get('SLURM_RESTART_COUNT')}"
    else:
        known = ("PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "PMI_JOBID", "PMI_KVS")
        name = next((environ[each] for each in known if each in environ), str(os.getppid()))
    return _PORTS[zlib.crc32(name.encode()) % len(_PORTS)]
