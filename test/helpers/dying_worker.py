# SPDX-License-Identifier: Apache-2.0
"""Work for `drive_jobs.in_processes` that kills its own process, as running out of memory would."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from segmif_ros.evaluation.jobs import Task, evaluate_task
from segmif_ros.evaluation.state import BagResult


def dies_once(task: Task) -> BagResult:
    """Crash at the first try of a bag called "deadly"; a file beside it marks the try."""
    marker = Path(task.bag).parent / "died"
    if Path(task.bag).name == "deadly" and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return evaluate_task(task)


def always_dies(task: Task) -> BagResult:
    """Crash at every bag called "deadly"."""
    if Path(task.bag).name == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    return evaluate_task(task)
