"""Runs a command and ends all of its processes when the process that started it is gone.

``python guard.py COMMAND...``, with a pipe as standard input whose other end only the starter holds. When
the starter closes it or dies, by SIGKILL too, the guard kills the command and every process below it.

A pipe, not PR_SET_PDEATHSIG alone: that signal comes when the *thread* that started the child ends, it does
not reach grandchildren, and torchrun's workers are in sessions of their own, beyond a process group's reach.
This file is run by path and imports the standard library only, so that it starts within 50 ms.
"""

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
import threading
import time

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_KILL_SECONDS = 10.0


def _descendants() -> list[int]:
    """Ids of the processes below this one, zombies left out."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as stream:
                    # The name, in parentheses, may hold anything; state and parent follow the last one.
                    state, parent = stream.read().rpartition(b")")[2].split()[:2]
            except (OSError, ValueError):
                continue
            if state != b"Z":
                children.setdefault(int(parent), []).append(int(entry))
    found, open_list = [], [os.getpid()]
    while open_list:
        below = children.get(open_list.pop(), [])
        found += below
        open_list += below
    return found


def adopt_orphans() -> None:
    """From now on orphans below this process come to it, where :func:`kill_descendants` finds them."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill_descendants() -> None:
    """Kill all processes below this one, until none is left: one may start another while it is killed."""
    deadline = time.monotonic() + _KILL_SECONDS
    while (processes := _descendants()) and time.monotonic() < deadline:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.01)


def _kill_when_starter_is_gone() -> None:
    while os.read(0, 1024):
        pass
    kill_descendants()
    os._exit(128 + signal.SIGKILL)


def leave_like(status: int) -> None:
    """End as the waited-for process ended, so that its status reaches the starter."""
    if os.WIFSIGNALED(status):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal_number = os.WTERMSIG(status)
        if signal_number != signal.SIGKILL:
            signal.signal(signal_number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal_number])
        os.kill(os.getpid(), signal_number)
    os._exit(os.waitstatus_to_exitcode(status))


def main(command: list[str]) -> None:
    """Run ``command`` under guard; does not return."""
    # Two processes: a Ray worker kills its direct children as it exits, and the guard must outlive it.
    guard = os.fork()
    if guard:
        leave_like(os.waitpid(guard, 0)[1])
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    adopt_orphans()
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            # No thread runs yet, so this is safe; it serves if somebody kills the guard itself.
            preexec_fn=lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0),
        )
    except OSError as error:
        print(f"error: cannot start {command[0]} ({error.strerror})", flush=True)
        os._exit(127)
    threading.Thread(target=_kill_when_starter_is_gone, daemon=True).start()
    process, status = os.waitpid(-1, 0)
    while process != child.pid:  # an adopted orphan
        process, status = os.waitpid(-1, 0)
    kill_descendants()
    leave_like(status)


if __name__ == "__main__":
    main(sys.argv[1:])
