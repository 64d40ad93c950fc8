# SPDX-License-Identifier: Apache-2.0
"""Where the worker and the engine's threads run, and how urgently.

Called on the worker thread before the engine is opened: Linux gives a new thread the cores and the
priority of the thread that makes it, so the runtime's pool has them too.
"""

from __future__ import annotations

import os
import resource
import sys

_LIMITS = "/etc/security/limits.d/realtime.conf"
_BACKGROUND_NICENESS = 10
_MOST_DIGITS = 4
"""Of a core number; Linux knows 8192 at most."""


class SchedulingError(ValueError):
    """Cores or a priority that cannot be had; the message names the value and the remedy."""


def parse_cores(text: str) -> tuple[int, ...]:
    """Read a list of cores as `taskset -c` writes it: "2,3", "0-3", "0-1,6"; "" is none.

    Raises:
        SchedulingError: it is no such list.
    """
    cores: set[int] = set()
    for part in filter(None, text.replace(" ", "").split(",")):
        first, dash, last = part.partition("-")
        run = range(int(first), int(last or first) + 1) if _is_run(first, dash, last) else range(0)
        if not run:
            raise SchedulingError(
                f"cpu_affinity is {text!r}, expected core numbers such as 2,3 or 0-3; "
                "leave it empty for all cores"
            )
        cores.update(run)
    return tuple(sorted(cores))


def _is_run(first: str, dash: str, last: str) -> bool:
    if max(len(first), len(last)) > _MOST_DIGITS:
        return False  # a slip of the finger, and a list that would fill the memory
    return first.isdecimal() and (last.isdecimal() or not dash)


def format_cores(cores: tuple[int, ...]) -> str:
    """Write sorted cores the way `parse_cores` reads them."""
    runs: list[list[int]] = []
    for core in cores:
        if runs and runs[-1][1] == core - 1:
            runs[-1][1] = core
        else:
            runs.append([core, core])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def bind_thread(cores: tuple[int, ...]) -> None:
    """Let the calling thread, and threads that it makes from now on, run only on these cores.

    Args:
        cores: core numbers, none for no change.

    Raises:
        SchedulingError: this process may not use one of them, or the system has no such call.
    """
    if not cores:
        return
    if sys.platform != "linux":
        raise SchedulingError(f"cpu_affinity needs Linux, this is {sys.platform}; leave it empty")
    usable = tuple(sorted(os.sched_getaffinity(0)))
    if not set(cores) <= set(usable):
        raise SchedulingError(
            f"cpu_affinity is {format_cores(cores)}, but this process may use "
            f"{format_cores(usable)}; choose among these, or lift the limit (taskset, cpuset, "
            "docker --cpuset-cpus)"
        )
    os.sched_setaffinity(0, cores)


def lower_priority() -> None:
    """Let the calling thread step back for all others.

    On Linux alone: elsewhere niceness belongs to the whole process.
    """
    if sys.platform == "linux":
        os.nice(_BACKGROUND_NICENESS)


def raise_priority(priority: int) -> None:
    """Run the calling thread, and threads that it makes from now on, under SCHED_FIFO.

    Args:
        priority: 1 to 99, 0 for no change.

    Raises:
        SchedulingError: this user may not do that, or the system has no such call.
    """
    if priority == 0:
        return
    if sys.platform != "linux":
        raise SchedulingError(f"realtime_priority needs Linux, this is {sys.platform}; set it to 0")
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError as err:
        allowed = resource.getrlimit(resource.RLIMIT_RTPRIO)[0]
        raise SchedulingError(
            f"realtime_priority is {priority}, but this user may go up to {allowed} (ulimit -r): "
            f"write '<user> - rtprio {priority}' to {_LIMITS} and log in again, give a container "
            f"--cap-add=sys_nice --ulimit rtprio={priority}, or set it to 0"
        ) from err
