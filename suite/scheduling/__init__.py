"""Starting runs: what an executor promises, on this machine and on Ray, and the live table of runs."""

from suite.scheduling.executor import Executor, Job, Outcome, command
from suite.scheduling.live import watch
from suite.scheduling.local import LocalExecutor
from suite.scheduling.ray import RayExecutor

__all__ = ["Executor", "Job", "LocalExecutor", "Outcome", "RayExecutor", "command", "watch"]
