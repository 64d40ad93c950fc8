# SPDX-License-Identifier: Apache-2.0
"""Child processes that are started, watched and ended without leaving anything behind."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from segmif_ros.interrupts import handling

_SEGMENT = re.compile(r"/dev/shm/\S*fast(?:rtps|dds)\S*")  # noqa: S108


class ManagedProcess:
    """One process in a separate session: a Ctrl-C at the terminal reaches only the parent.

    Attributes:
        name: for messages.
        log: file that holds everything it writes.
        segments: shared-memory files that it had when they were noted.
    """

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        """Start it.

        Args:
            name: for messages.
            command: program and arguments; no shell.
            environment: the complete environment.
            log: file to write standard output and error to.
        """
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as stream:
            self._process = subprocess.Popen(
                list(command),
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._interrupted = False
        self.segments: set[Path] = set()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code, None while it runs; negative is the signal that ended it."""
        return self._process.poll()

    def tail(self, lines: int = 12) -> str:
        """Return the last lines of its log, indented."""
        text = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(f"    {line}" for line in text[-lines:]) or "    (it wrote nothing)"

    def last_words(self) -> str:
        """Return the last line of its log without the log's own prefix, empty if there is none."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return lines[-1].rpartition("]: ")[2].strip() if lines else ""

    def send(self, number: int) -> None:
        """Send it a signal; nothing happens if it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def note_shared_memory(self) -> None:
        """Note its shared memory, in case it ends without removing it."""
        self.segments |= shared_memory(self._process.pid)

    def interrupt(self) -> None:
        """Send SIGINT once."""
        if self._interrupted or self.exit_code is not None:
            return
        self._interrupted = True
        self.note_shared_memory()
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)

    def stop(self, grace_s: float = 5.0) -> int:
        """End it: SIGINT, after the grace period SIGTERM, then SIGKILL; return the exit code.

        Shared memory that it left behind is removed.
        """
        self.interrupt()
        for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 2.0)):
            if self.wait(wait_s) is not None:
                break
            self._process.send_signal(number)
        code = self._process.wait()
        remove_orphans(self.segments)
        return code

    def wait(self, seconds: float) -> int | None:
        """Wait for its end at most so long; return the exit code or None."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self.exit_code


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Treat `STOP_SIGNALS` like Ctrl-C: the children have separate sessions and would stay."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with handling(interrupt):
        yield


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Defer `STOP_SIGNALS` until the end of the block; then raise KeyboardInterrupt.

    Starting a process and ending one must be atomic: the child would be orphaned.
    """
    pending: list[int] = []
    with handling(lambda number, _: pending.append(number)):
        yield
    if pending:
        raise KeyboardInterrupt


def shared_memory(pid: int) -> set[Path]:
    """Return the Fast DDS shared-memory files that a process has mapped; empty if it is gone."""
    try:
        maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    return {Path(found) for found in _SEGMENT.findall(maps)}


def _is_own(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return path.lstat().st_uid == os.geteuid()
    return False


def remove_orphans(segments: set[Path], *, of_us_too: bool = False) -> None:
    """Remove this user's of the given shared-memory files that no living process has mapped.

    Args:
        segments: candidates.
        of_us_too: also what only this process has mapped. Fast DDS keeps the memory of a killed
            peer mapped even after the context is closed.
    """
    left = {path for path in segments if _is_own(path)}
    if not left:
        return
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and not (of_us_too and int(entry.name) == os.getpid()):
            left -= shared_memory(int(entry.name))
    for path in left:
        path.unlink(missing_ok=True)
        # Its lock file is held open and its mutex may be unmapped: neither shows in the maps.
        for companion in (f"{path.name}_el", f"sem.{path.name}_mutex"):
            path.with_name(companion).unlink(missing_ok=True)


def private_domain(pid: int | None = None) -> int:
    """Return a ROS_DOMAIN_ID from 1 to 101 (the range that is safe everywhere) for this process."""
    return 1 + (os.getpid() if pid is None else pid) % 101
