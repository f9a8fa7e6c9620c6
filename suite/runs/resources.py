"""What a run is given of a machine, as far as it can change the run's numbers."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Resources:
    """CPUs and GPUs of one run.

    Attributes:
        cpus: CPU cores, > 0; may be a fraction.
        gpus: GPUs: 0, a fraction below 1 (runs share a GPU), or a whole number.
        cpu_processes: Training processes of a run without GPUs.
    """

    cpus: float
    gpus: float
    cpu_processes: int = 1

    @property
    def processes(self) -> int:
        """Training processes: one per GPU. Images per forward pass are this times the batch size."""
        return max(1, int(self.gpus)) if self.gpus else self.cpu_processes

    @property
    def threads(self) -> int:
        """Threads of each process."""
        return max(1, int(self.cpus) // self.processes)

    @property
    def identity(self) -> dict[str, Any]:
        """What of it can change numbers: kind of device, processes, and on CPUs the threads.

        A sum over more threads is rounded otherwise on a CPU; on a GPU the CPU's threads compute nothing.
        Which GPU it is, and whose software, is no part of an identity: the report shows where rows of one
        table differ in it (:mod:`suite.runs.environments`).
        """
        if self.gpus:
            return {"device": "GPU", "processes": self.processes}
        return {"device": "CPU", "processes": self.processes, "threads": self.threads}
