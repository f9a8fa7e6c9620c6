"""What starts runs: the contract that every executor keeps."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from suite.errors import SuiteError
from suite.runs.resources import Resources


@dataclass(frozen=True)
class Job:
    """One run to start.

    Attributes:
        run_id: Names the run; unique among the jobs that an executor holds.
        directory: The run directory, which exists and holds the run's config.
        cpus: CPU cores that the run occupies, > 0; may be a fraction.
        gpus: GPUs that the run occupies: 0, a fraction below 1 (runs share a GPU), or a whole number.
    """

    run_id: str
    directory: Path
    cpus: float
    gpus: float


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

    More than one GPU means one process per GPU under torchrun. A CPU run sees no GPU, whatever the machine
    has: Ray hides none from a task that asked for none, and mmengine would take one. Thread counts are
    those asked for, because two single-threaded runs side by side beat one run on two threads.
    """
    resources = Resources(job.cpus, job.gpus)
    processes, threads = resources.processes, str(resources.threads)
    worker = ["-m", "suite.training.worker", str(job.directory)]
    environment = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    if job.gpus == 0:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    if processes > 1:
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        return [sys.executable, *torchrun, *worker, "--launcher", "pytorch"], environment
    return [sys.executable, *worker], environment


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


def refuse_impossible(job: Job, machines: Sequence[tuple[float, float]], remedy: str) -> None:
    """Refuse a job that no machine could ever start.

    Args:
        job: The job.
        machines: CPUs and GPUs of each machine; a run never spans two.
        remedy: What the user may do when there is not enough.

    Raises:
        SuiteError: The job's needs are impossible, or more than any machine has.
    """
    if job.cpus <= 0 or job.gpus < 0 or (job.gpus > 1 and job.gpus != int(job.gpus)):
        raise SuiteError(
            f"{job.run_id}: cpus={job.cpus:g}, gpus={job.gpus:g}: expected cpus above 0, and gpus that are "
            "0, a fraction below 1 or a whole number.",
            "Correct cpus and gpus in the preset or on the command line.",
        )
    if not any(job.cpus <= cpus and job.gpus <= gpus for cpus, gpus in machines):
        available = "; ".join(sorted({f"{cpus:g} CPUs and {gpus:g} GPUs" for cpus, gpus in machines}))
        raise SuiteError(
            f"{job.run_id} needs {job.cpus:g} CPUs and {job.gpus:g} GPUs on one machine; "
            f"available: {available or 'no machine'}.",
            remedy,
        )
