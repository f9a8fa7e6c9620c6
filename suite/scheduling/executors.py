"""The executors by name."""

from typing import Literal

from suite.scheduling.executor import Executor

ExecutorName = Literal["ray", "local"]


def make_executor(
    name: ExecutorName, *, address: str | None, cpus: float | None, gpus: float | None
) -> Executor:
    """The executor called ``ray`` or ``local``."""
    if name == "local":
        from suite.scheduling.local import LocalExecutor

        return LocalExecutor(cpus=cpus, gpus=gpus)
    from suite.scheduling.ray import RayExecutor

    return RayExecutor(address=address, cpus=cpus, gpus=gpus)
