# SPDX-License-Identifier: Apache-2.0
"""What a process costs, as the kernel counts it: processor time by thread, and memory."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

THREAD_PREFIX = "segmif-"
"""Threads of a node that are counted apart are named so, what they do behind it."""
NAME_LENGTH = 15
"""Characters that the kernel keeps of a thread's name."""

THREAD_KINDS = ("executor", "intake", "worker", "transport", "other")
"""Those that are always counted."""

_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
_IDLE_COLUMNS = (3, 4)
"""Of /proc/stat: idle and iowait."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One process at one moment.

    Attributes:
        at_s: steady time, seconds.
        cpu_s: processor time of the whole process since its start, user and system, seconds.
        threads_s: the same by kind of thread: executor (the first one), what named threads do
            (worker, intake, ...), transport (of Fast DDS), other.
        rss_mb: resident memory with the shared memory it has touched.
        anonymous_mb: resident memory that is its own.
        peak_mb: largest resident memory since its start.
    """

    at_s: float
    cpu_s: float
    threads_s: Mapping[str, float]
    rss_mb: float
    anonymous_mb: float
    peak_mb: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process took between two readings.

    Attributes:
        cpu_s: processor time, seconds.
        core_percent: processor time over wall time; 100 is one core all the time.
        threads_percent: the same by kind of thread.
        rss_mb: resident memory at the end.
        anonymous_mb: of which its own.
        peak_mb: largest resident memory so far.
        growth_mb: own memory at the end minus at the begin.
    """

    cpu_s: float
    core_percent: float
    threads_percent: Mapping[str, float]
    rss_mb: float
    anonymous_mb: float
    peak_mb: float
    growth_mb: float


def read_process(pid: int, root: Path = Path("/proc")) -> Reading:
    """Read the counters of a running process.

    Args:
        pid: its id.
        root: where the kernel's files are.

    Raises:
        OSError: it has ended.
    """
    folder = root / str(pid)
    fields = _after_name((folder / "stat").read_text())
    memory = _memory_mb((folder / "status").read_text())
    return Reading(
        at_s=time.monotonic(),
        cpu_s=(int(fields[11]) + int(fields[12])) * _TICK_S,
        threads_s=_threads_s(folder, pid),
        rss_mb=memory["VmRSS"],
        anonymous_mb=memory["RssAnon"],
        peak_mb=memory["VmHWM"],
    )


def cost(before: Reading, after: Reading) -> Cost:
    """Return what happened between two readings of one process."""
    wall_s = after.at_s - before.at_s
    cpu_s = after.cpu_s - before.cpu_s
    threads = {
        kind: 100.0 * (spent - before.threads_s.get(kind, 0.0)) / wall_s
        for kind, spent in after.threads_s.items()
    }
    return Cost(
        cpu_s=cpu_s,
        core_percent=100.0 * cpu_s / wall_s,
        threads_percent=threads,
        rss_mb=after.rss_mb,
        anonymous_mb=after.anonymous_mb,
        peak_mb=after.peak_mb,
        growth_mb=after.anonymous_mb - before.anonymous_mb,
    )


def machine_busy_s(root: Path = Path("/proc")) -> float:
    """Return the processor time that the whole machine has spent since its start, seconds."""
    columns = [int(text) for text in (root / "stat").read_text().splitlines()[0].split()[1:9]]
    return _TICK_S * sum(n for i, n in enumerate(columns) if i not in _IDLE_COLUMNS)


def _after_name(stat: str) -> list[str]:
    """Fields after the name, which may hold spaces and brackets itself."""
    return stat.rpartition(")")[2].split()


def _memory_mb(status: str) -> dict[str, float]:
    wanted = ("VmRSS", "RssAnon", "VmHWM")
    lines = (line.partition(":") for line in status.splitlines())
    return {key: float(text.split()[0]) / 1024.0 for key, _, text in lines if key in wanted}


def _threads_s(folder: Path, pid: int) -> dict[str, float]:
    found = dict.fromkeys(THREAD_KINDS, 0.0)
    for task in (folder / "task").iterdir():
        try:
            name = (task / "comm").read_text().strip()
            fields = _after_name((task / "stat").read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread has ended since the folder was listed
        spent = (int(fields[11]) + int(fields[12])) * _TICK_S
        kind = _kind(name, is_main=int(task.name) == pid)
        found[kind] = found.get(kind, 0.0) + spent
    return found


def _kind(name: str, *, is_main: bool) -> str:
    if is_main:
        return "executor"
    if name.startswith(THREAD_PREFIX):
        return name.removeprefix(THREAD_PREFIX).partition("_")[0]
    return "transport" if name.startswith("dds.") else "other"
