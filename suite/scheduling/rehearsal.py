"""Carries a run out as a rehearsal does: ``python -m suite.scheduling.rehearsal RUN_DIR COMMAND...``.

The command is killed with all its processes as soon as the first checkpoint is there, and started again: so
every rehearsed run shows that it resumes after a crash.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from suite.runs.directory import RunDirectory
from suite.scheduling.guard import adopt_orphans, kill_descendants, leave_like

_POLL_SECONDS = 0.02


def main(arguments: Sequence[str]) -> None:
    """Run the command, twice if it comes to a checkpoint; does not return."""
    checkpoint, command = RunDirectory(Path(arguments[0])).checkpoint_file, list(arguments[1:])
    if not checkpoint.exists():
        adopt_orphans()
        child, status = subprocess.Popen(command).pid, None
        while status is None and not checkpoint.exists():
            time.sleep(_POLL_SECONDS)
            ended, code = os.waitpid(child, os.WNOHANG)
            status = code if ended else None
        if status:
            leave_like(status)
        kill_descendants()
        print("rehearsal: killed after the first checkpoint; starts again", flush=True)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
