# SPDX-License-Identifier: Apache-2.0
"""What a process that sends or receives images must set before it imports rclpy, and undo after.

Fast DDS's default shared-memory segment holds less than one colour image, so best-effort images get
lost; and image-sized memory blocks are returned to the kernel and faulted in again every frame.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys

from segmif_ros.share import share_path

PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""The name up to Jazzy, and the one since Kilted."""

MALLOC_ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 1024 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(512 * 1024 * 1024),
}

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def transport_environment() -> dict[str, str]:
    """Return the variables for a child process; a profile that the user chose stays in force.

    Raises:
        FileNotFoundError: the shipped profile is missing from this installation.
    """
    chosen = dict(MALLOC_ENVIRONMENT)
    if not any(os.environ.get(name) for name in PROFILE_VARIABLES):
        profile = str(share_path("config", "fastdds_shm.xml"))
        chosen.update(dict.fromkeys(PROFILE_VARIABLES, profile))
    return chosen


def prepare_process() -> None:
    """Set this process up; call it before rclpy is imported.

    Raises:
        FileNotFoundError: the shipped profile is missing from this installation.
    """
    for name, value in transport_environment().items():
        os.environ.setdefault(name, value)
    if sys.platform == "linux":
        # The malloc variables are read at process start, so this process needs the call as well.
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, 32 * 1024 * 1024)
            mallopt(_M_TRIM_THRESHOLD, 512 * 1024 * 1024)


def return_memory() -> None:
    """Give freed memory back to the system; `prepare_process` made malloc keep it."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
