# SPDX-License-Identifier: Apache-2.0
"""What a process that sends or receives images must set before it imports rclpy, and undo after.

Fast DDS's default shared-memory segment holds less than one colour image, so best-effort images get
lost; and image-sized memory blocks are returned to the kernel and faulted in again every frame.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import os
import pwd
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import time
from typing import NamedTuple

from segmif_ros.share import share_path

PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""The name up to Jazzy, and the one since Kilted."""

MALLOC_ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 1024 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(512 * 1024 * 1024),
}

_SEGMENT_LOCK = re.compile(r"fast(rtps|dds)_[0-9a-f]{16}_el")
_YOUNG_S = 10.0
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


def remove_dead_segments(folder: Path = Path("/dev/shm")) -> list[Path]:  # noqa: S108
    """Remove shared memory of this user's processes that were killed: 17 MB each, for ever.

    Fast DDS holds a lock on the file beside a segment until its process ends.

    Returns:
        The segments that were removed.
    """
    removed = []
    for segment in dead_segments(folder):
        with suppress(OSError):
            segment.unlink(missing_ok=True)
            segment.with_name(f"{segment.name}_el").unlink(missing_ok=True)
            removed.append(segment)
    return removed


def dead_segments(folder: Path, *, youngest_s: float = _YOUNG_S) -> list[Path]:
    """Return the segments of this user that no living process owns.

    Args:
        folder: where Fast DDS keeps them.
        youngest_s: one that was made just now may not be locked yet.
    """
    dead = [lock.path for lock in _locks(folder, youngest_s, own=True) if not lock.held]
    segments = [path.with_name(path.name.removesuffix("_el")) for path in sorted(dead)]
    return [segment for segment in segments if _may_go(segment)]


def other_users(folder: Path = Path("/dev/shm")) -> list[str]:  # noqa: S108
    """Return the other users whose processes hold shared memory of Fast DDS here: none can be read.

    Its files have mode 0644 whatever the umask is, and a reader has to write to them.
    """
    held = [lock for lock in _locks(folder, _YOUNG_S, own=False) if lock.held]
    return sorted({_user_name(lock.owner) for lock in held})


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _may_go(segment: Path) -> bool:
    """Return whether a segment is a file of this user, or gone while its lock was left."""
    try:
        known = segment.lstat()
    except FileNotFoundError:
        return True
    return stat.S_ISREG(known.st_mode) and known.st_uid == os.geteuid()


class _Lock(NamedTuple):
    path: Path
    owner: int
    held: bool


def _locks(folder: Path, youngest_s: float, *, own: bool) -> Iterator[_Lock]:
    """Yield the locks of segments of this user, or of others, and whether a process holds them.

    Anyone may create names there: a link is not followed, and a named pipe is not waited for.
    """
    for path in folder.glob("fast*_el"):
        if not _SEGMENT_LOCK.fullmatch(path.name):
            continue
        try:
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            known = os.fstat(file)
            if stat.S_ISREG(known.st_mode) and (known.st_uid == os.geteuid()) is own:
                young = time() - known.st_mtime < youngest_s
                yield _Lock(path, known.st_uid, held=young or not _take(file))
        finally:
            os.close(file)


def _take(file: int) -> bool:
    """Return whether no process held the lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def return_memory() -> None:
    """Give freed memory back to the system; `prepare_process` made malloc keep it."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
