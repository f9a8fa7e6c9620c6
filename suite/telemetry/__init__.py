"""What is seen of a training while it runs; importing this registers the hooks that only watch.

Nothing here leaves a trace in a training, so nothing here is part of a run's identity.
"""

from suite.telemetry.assignments import Assignment, assignments
from suite.telemetry.hook import AssignmentHook
from suite.telemetry.validation import ValidationHook

__all__ = ["Assignment", "AssignmentHook", "ValidationHook", "assignments"]
