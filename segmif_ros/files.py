# SPDX-License-Identifier: Apache-2.0
"""Files that people name, opened in one place: only regular ones, so that no read waits forever.

Opening a named pipe without a writer blocks; a device may never end.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}


class _NoRegularFileError(OSError):
    """Something other than a file has this name; `strerror` says what."""

    def __str__(self) -> str:
        """Return the message in the words that people read; OSError's begin with a number."""
        return f"{str(self.filename)!r} is {self.strerror}"


def require_file(path: Path) -> None:
    """Check that a path leads to a regular file.

    Raises:
        OSError: a folder, a named pipe, a socket or a device, as `strerror` says; nothing there,
            or it cannot be looked at; a name with a NUL in it, too.
    """
    try:
        mode = path.stat().st_mode
    except ValueError as err:
        raise OSError(errno.EINVAL, str(err), str(path)) from err
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "a device")
        raise _NoRegularFileError(errno.EINVAL, f"{kind}, expected a regular file", str(path))


def open_file(path: Path) -> BinaryIO:
    """Open a regular file for reading.

    Raises:
        OSError: see `require_file`; or it cannot be opened.
    """
    require_file(path)
    # It may have been replaced since.
    return open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))


def read_file(path: Path, most_bytes: int = -1) -> bytes:
    """Return what a regular file holds.

    Args:
        path: the file.
        most_bytes: read one byte more than that at most, so that the caller can refuse the file;
            all where it is negative.

    Raises:
        OSError: see `open_file`.
    """
    with open_file(path) as stream:
        return stream.read(most_bytes + 1 if most_bytes >= 0 else -1)


def read_text(path: Path) -> str:
    """Return a regular file of UTF-8 text.

    Raises:
        OSError: see `open_file`.
        UnicodeDecodeError: it is no text.
    """
    return read_file(path).decode("utf-8")
