"""What starts runs: the contract that every executor keeps."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from suite.errors import SuiteError
from suite.runs.configs import preset_info
from suite.runs.resolved import ResolvedRun
from suite.runs.resources import Resources


@dataclass(frozen=True)
class Part:
    """The part of a run that one of several machines carries out.

    Attributes:
        index: Which one, from 0; process 0 of the run is on the first.
        count: How many there are.
        address: Host name or address of the first, as the others see it.
        port: A port that is free there.
    """

    index: int
    count: int
    address: str
    port: int


@dataclass(frozen=True)
class Job:
    """One run to start.

    Attributes:
        run_id: Names the run; unique among the jobs that an executor holds.
        directory: The run directory, which exists and holds the run's config.
        cpus: CPU cores that the run occupies, > 0; may be a fraction. A run on GPUs gets less where a machine
            has fewer for each GPU.
        gpus: GPUs that the run occupies: 0, a fraction below 1 (runs share a GPU), or a whole number.
        cpu_processes: Processes of a run without GPUs.
        part: Where the run spans machines, which part of it this is; cores and GPUs are then the part's.
        rehearsal: Kill the run after its first checkpoint and start it again (:mod:`.rehearsal`).
    """

    run_id: str
    directory: Path
    cpus: float
    gpus: float
    cpu_processes: int = 1
    part: Part | None = None
    rehearsal: bool = False

    @classmethod
    def of(cls, run: ResolvedRun) -> "Job":
        """The job that carries out a run."""
        given = run.resources
        return cls(
            run.run_id, run.directory.path.resolve(), given.cpus, given.gpus, given.cpu_processes,
            rehearsal=bool(preset_info(run.spec.preset).get("rehearsal")),
        )  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        run_id: The job's.
        ok: The child exited with 0 and left a valid ``result.json``.
        reason: Why the run failed, in one line or several; empty if ``ok``.
    """

    run_id: str
    ok: bool
    reason: str = ""


CANCELLED = "cancelled"
"""The reason of a run that :meth:`Executor.cancel` ended. Such a run has not failed: no ``failure.json``."""

BUSY = "another process works on this run"
"""The reason of a run that another driver was faster with. Such a run has not failed either."""

Command = Callable[[Job], tuple[list[str], dict[str, str]]]
"""Makes a job's argument vector and the variables added to its environment."""


def command(job: Job) -> tuple[list[str], dict[str, str]]:
    """The command that carries out a run: the one place where it is built.

    More than one process means torchrun, with one process per GPU, or the asked-for number on CPUs. A CPU run
    sees no GPU, whatever the machine has: Ray hides none from a task that asked for none, and mmengine would
    take one. Thread counts are those asked for, because two single-threaded runs side by side beat one run on
    two threads.
    """
    worker = ["-m", "suite.training.worker", str(job.directory)]
    launched = is_launched(job)
    argv, environment = launch(job, [*worker, "--launcher", "pytorch"] if launched else worker)
    if job.rehearsal:
        argv = [sys.executable, "-m", "suite.scheduling.rehearsal", str(job.directory), *argv]
    return argv, environment


def is_launched(job: Job) -> bool:
    """Whether a job, or the run that it is a part of, has several processes."""
    return job.part is not None or Resources(job.cpus, job.gpus, job.cpu_processes).processes > 1


def launch(job: Job, program: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Starts a Python program as :func:`command` starts the worker: in the job's processes.

    Args:
        job: The run.
        program: Arguments of ``python``.
    """
    resources = Resources(job.cpus, job.gpus, job.cpu_processes)
    threads = str(resources.threads)
    environment = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    if job.gpus == 0:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    if not is_launched(job):
        return [sys.executable, *program], environment
    torchrun = ["-m", "torch.distributed.run"]
    if job.part is None:
        torchrun.append("--standalone")
    else:
        torchrun += ["--nnodes", str(job.part.count), "--node-rank", str(job.part.index)]
        torchrun += ["--master-addr", job.part.address, "--master-port", str(job.part.port)]
    torchrun += ["--nproc-per-node", str(resources.processes)]
    return [sys.executable, *torchrun, *program], environment


class Executor(ABC):
    """Starts runs, as many side by side as the machine holds, and tells how each one ended.

    What every executor promises:

    - **One child process per run.** All it prints is appended to ``log.txt`` of the run directory.
    - **Queue.** :meth:`submit` returns at once. A run waits until its CPUs and GPUs are free; jobs with the
      same needs start in the order of submission.
    - **One outcome per job.** Each submitted job, cancelled ones included, gives exactly one
      :class:`Outcome`, as they end. When it arrives, no process of the run is left.
    - **Isolation.** A run that fails, or is killed, leaves the others alone. The reason is in the outcome and
      in ``failure.json``; a run that starts again loses its old ``failure.json``.
    - **No retry of a failure.** A child that fails is not started again. An executor may start a run again
      when the machine under it is lost: runs resume from their checkpoint.
    - **GPUs never wait for cores.** A run on GPUs gets as many cores as its machine has for its GPUs.
    - **GPUs.** A run sees in ``CUDA_VISIBLE_DEVICES`` only the devices assigned to it; fractions share one.
    - **Nothing outlives the driver.** :meth:`cancel`, :meth:`close` and the driver's own death, even by
      SIGKILL, end a run's child and all processes that it started.
    - **No endless wait.** A job that needs more than there is is refused by :meth:`submit`.

    An executor belongs to one thread. It is a context manager: leaving it means :meth:`close`.
    """

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Queue a run.

        Raises:
            SuiteError: The job needs more CPUs or GPUs than one machine has, or an impossible number.
            ValueError: A job with this ``run_id`` has not ended yet, or the executor is closed.
        """

    @abstractmethod
    def next_outcome(self, timeout: float | None = None) -> Outcome | None:
        """Wait for the next run to end.

        Args:
            timeout: Seconds to wait at most; None waits for as long as a job has not ended.

        Returns:
            The outcome; None after the timeout, or at once if there is no job left.
        """

    @abstractmethod
    def running(self) -> list[str]:
        """The ids of the runs that have started and not ended, in order of submission."""

    @abstractmethod
    def cancel(self, run_id: str) -> None:
        """Take a run from the queue, or end its processes; its outcome's reason is ``cancelled``.

        Nothing happens if the run has ended or is not known.
        """

    @abstractmethod
    def close(self) -> None:
        """End everything that runs and give back what the executor holds. May be called twice."""

    def __enter__(self) -> "Executor":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def fitted(job: Job, machines: Sequence[tuple[float, float]]) -> Job:
    """A job on GPUs with no more cores than a machine has for so many of its GPUs.

    Cores change no number of such a run, and GPUs should never wait for them: loader workers follow the cores
    (:mod:`suite.training.worker`). A job on CPUs stays as it is.
    """
    shares = [cpus * job.gpus / gpus for cpus, gpus in machines if job.gpus and gpus >= job.gpus]
    return replace(job, cpus=min(job.cpus, max(shares))) if shares else job


def machines_of(gpus: float, machines: Sequence[tuple[float, float]]) -> int | None:
    """The smallest number of machines that have a run's GPUs, equally many on each; None if none has."""
    for count in range(1, len(machines) + 1):
        if gpus % count == 0 and sum(has >= gpus / count for _, has in machines) >= count:
            return count
    return None


def refuse_impossible(
    job: Job, machines: Sequence[tuple[float, float]], remedy: str, may_span: bool = False
) -> None:
    """Refuse a job that no machine could ever start.

    Args:
        job: The job.
        machines: CPUs and GPUs of each machine.
        remedy: What the user may do when there is not enough.
        may_span: Whether a run on several GPUs may span machines.

    Raises:
        SuiteError: The job's needs are impossible, or more than any machine has.
    """
    if job.cpus <= 0 or job.gpus < 0 or (job.gpus > 1 and job.gpus != int(job.gpus)):
        raise SuiteError(
            f"{job.run_id}: cpus={job.cpus:g}, gpus={job.gpus:g}: expected cpus above 0, and gpus that are "
            "0, a fraction below 1 or a whole number.",
            "Correct cpus and gpus in the preset or on the command line.",
        )
    if may_span and job.gpus > 1 and machines_of(job.gpus, machines):
        return
    if not any(job.cpus <= cpus and job.gpus <= gpus for cpus, gpus in machines):
        available = "; ".join(sorted({f"{cpus:g} CPUs and {gpus:g} GPUs" for cpus, gpus in machines}))
        raise SuiteError(
            f"{job.run_id} needs {job.cpus:g} CPUs and {job.gpus:g} GPUs on one machine; "
            f"available: {available or 'no machine'}.",
            remedy,
        )
