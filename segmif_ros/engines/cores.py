# SPDX-License-Identifier: Apache-2.0
"""How many threads an engine may use, where its thread was given only some of the cores."""

from __future__ import annotations

import os


def restricted_cores() -> int | None:
    """Return how many cores the calling thread may run on, None when it may use all of them.

    Runtimes count the cores of the machine instead, and would start a thread for each on the few
    that `cpu_affinity`, `taskset` or a container leaves them.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    cores = len(os.sched_getaffinity(0))
    return cores if cores < (os.cpu_count() or cores) else None
