# SPDX-License-Identifier: Apache-2.0
"""Stores engines and their accuracy gate results on disk, with the key of their machine.

One entry is NAME.json with the whole key, the digest of the plan and the verdict of the gate, and
beside it NAME.plan, what TensorRT built. Every part of the key is compared when an entry is read. A
refused entry has no plan: the same build would be refused again. Runtimes without engine files have
only the verdict.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from segmif_ros.documents import DocumentError, read_json
from segmif_ros.engines.gate import GateError, GateResult
from segmif_ros.engines.key import EngineKey, difference
from segmif_ros.files import read_file
from segmif_ros.outputs import write_whole

LOCK_DEADLINE_S = 1800.0
"""Longest wait for another process that builds the same engine, seconds."""
LARGEST_BLOB = 256 << 20
"""Largest size of a file stored beside an engine, bytes."""

_POLL_S = 0.2
_TELL_S = 5.0
_UNSAFE = re.compile(r"[^A-Za-z0-9.]+")


class _DamagedError(ValueError):
    """A file of the cache is damaged."""


class CacheError(RuntimeError):
    """The cache cannot be written or locked; the message names the path and the remedy."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Entry of the cache for a key.

    Attributes:
        plan: the engine as bytes, empty for a refused one.
        gate: result of the accuracy gate, as JSON; empty if the engine has not run on a GPU yet.
        facts: further facts of the build: seconds, date, sizes.
    """

    plan: bytes
    gate: Mapping[str, Any]
    facts: Mapping[str, Any]

    @property
    def refused(self) -> bool:
        """Whether the gate refused this engine."""
        return self.gate.get("passed") is False

    def verdict(self) -> GateResult | None:
        """Return the gate's result, None if there is none or it cannot be read."""
        try:
            return GateResult.from_json(json.dumps(dict(self.gate)))
        except GateError:
            return None


@dataclass(frozen=True, slots=True)
class Missing:
    """Reason in one line why no stored engine can be used."""

    reason: str


def default_folder() -> Path:
    """Return `$XDG_CACHE_HOME/segmif_ros/engines`, by default under ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification: relative paths are ignored.
    root = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return root / "segmif_ros" / "engines"


class EngineCache:
    """A folder of engines."""

    def __init__(self, folder: Path | None = None, *, shared: bool = False) -> None:
        """Set the folder; it is created with the first engine.

        Args:
            folder: None for `default_folder`.
            shared: readable by others, for engines beside their model.
        """
        self.folder = default_folder() if folder is None else folder
        self._shared = shared

    def plan_path(self, model: str, key: EngineKey) -> Path:
        """Return the path of the engine of a key."""
        return self._path(model, key, "plan")

    def find(self, model: str, key: EngineKey) -> Entry | Missing:
        """Return the engine of a key, or why it must be built; damaged files raise nothing.

        Args:
            model: name of the model.
            key: of the engine.
        """
        plan_path = self.plan_path(model, key)
        facts_path = plan_path.with_suffix(".json")
        try:
            check_private(self.folder)
            facts = _description(facts_path)
            if facts["key"] != key.to_json():
                unlike = difference(facts["key"], key.to_json())
                return Missing(f"{facts_path} is of another engine: {unlike}")
            plan = _plan(plan_path, facts) if facts.get("bytes") else b""
        except (FileNotFoundError, NotADirectoryError):
            return Missing(self._why_absent(model, key))
        except (_DamagedError, CacheError) as err:
            return Missing(str(err))
        rest = {name: facts[name] for name in facts if name not in ("key", "gate")}
        return Entry(plan, facts["gate"], rest)

    def store(
        self, model: str, key: EngineKey, plan: bytes, gate: Mapping[str, Any], **facts: Any
    ) -> Path:
        """Write an engine atomically.

        Args:
            model: name of the model.
            key: of the engine.
            plan: the engine, empty if the gate refused it or the runtime has none.
            gate: result of the accuracy gate.
            facts: further entries about the build.

        Returns:
            Path of the plan.

        Raises:
            CacheError: the folder cannot be written.
        """
        path = self.plan_path(model, key)
        description = {
            "key": key.to_json(),
            "sha256": hashlib.sha256(plan).hexdigest(),
            "bytes": len(plan),
            "gate": dict(gate),
            "built": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            **facts,
        }
        # The plan first: after an interruption the description does not match, which is detected.
        if plan:
            self._write(path, plan)
        else:
            try:
                path.unlink(missing_ok=True)
            except OSError as err:
                raise self._unwritable(err) from err
        self._write(path.with_suffix(".json"), json.dumps(description, indent=2).encode() + b"\n")
        return path

    def timing_path(self, key: EngineKey) -> Path:
        """Return the path of the timing cache of this GPU and version."""
        gpu = _plain(f"{key.gpu} {key.capability}")
        return self.folder / f"timing-{gpu}-{_plain(key.runtime)}.cache"

    def compiled_path(self, model: str, key: EngineKey) -> Path:
        """Return the path of the kernels compiled on the GPU for an engine."""
        return self._path(model, key, "kernels")

    def read(self, path: Path) -> bytes:
        """Return the content of a file of `write`, empty if unusable."""
        try:
            content = read_file(path, LARGEST_BLOB)
        except OSError:
            return b""
        return content if len(content) <= LARGEST_BLOB else b""

    def write(self, path: Path, content: bytes) -> None:
        """Store a file beside the engines, unless it exists or exceeds the limit.

        Raises:
            CacheError: the folder cannot be written.
        """
        if content and len(content) <= LARGEST_BLOB and content != self.read(path):
            self._write(path, content)

    @contextmanager
    def locked(
        self,
        model: str,
        key: EngineKey,
        *,
        deadline_s: float = LOCK_DEADLINE_S,
        on_progress: Callable[[str], None] = lambda _: None,
    ) -> Iterator[None]:
        """Lock the build of an engine; the lock ends at the latest with the process.

        Args:
            model: name of the model.
            key: of the engine.
            deadline_s: longest wait for a process that holds it, seconds.
            on_progress: called every few seconds while another process builds.

        Raises:
            CacheError: the wait timed out, or the folder cannot be written.
        """
        path = self._path(model, key, "lock")
        try:
            make_private(self.folder, 0o755 if self._shared else 0o700)
            handle = path.open("wb")
        except OSError as err:
            raise self._unwritable(err) from err
        with handle:
            started = told = monotonic()
            while not self._try_lock(handle.fileno()):
                now = monotonic()
                if now - started >= deadline_s:
                    raise CacheError(
                        f"another process has been building this engine for {deadline_s:.0f} s "
                        f"({path} is locked); wait for it, or end it and try again"
                    )
                if now - told >= _TELL_S:
                    told = now
                    on_progress(
                        f"another process builds this engine, waiting ({now - started:.0f} s)"
                    )
                sleep(min(_POLL_S, deadline_s))
            yield

    def _path(self, model: str, key: EngineKey, suffix: str) -> Path:
        return self.folder / f"{_plain(model)}-{key.precision}-{key.digest}.{suffix}"

    def _why_absent(self, model: str, key: EngineKey) -> str:
        """Describe the difference from the newest engine of this model and precision, if any."""
        others = sorted(
            self.folder.glob(f"{_plain(model)}-{key.precision}-*.json"),
            key=lambda path: path.stat().st_mtime if path.exists() else 0.0,
        )
        for path in reversed(others):
            try:
                other = read_json(path)["key"]
                return f"the engine in {path} is another: {difference(other, key.to_json())}"
            except (DocumentError, KeyError, TypeError, AttributeError):
                continue  # another's damaged file does not affect ours
        return f"no {key.precision} engine of {model} in {self.folder} yet"

    def _write(self, path: Path, content: bytes) -> None:
        try:
            make_private(self.folder, 0o755 if self._shared else 0o700)
            write_whole(path, content)
            if self._shared:
                path.chmod(0o644)  # whatever the umask is
        except OSError as err:
            raise self._unwritable(err) from err

    def _try_lock(self, descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as err:  # some network file systems have no locks
            raise CacheError(
                f"the engine cache {self.folder} cannot be locked ({err}); give a folder on a "
                "local disk (--engine-cache, parameter engine_cache)"
            ) from err
        return True

    def _unwritable(self, err: OSError) -> CacheError:
        return CacheError(
            f"the engine cache {self.folder} cannot be written ({err}); free space, or give "
            "another folder (--engine-cache, parameter engine_cache)"
        )


def make_private(folder: Path, mode: int = 0o700) -> None:
    """Create a folder for engines that no other user can write to: engines are GPU code.

    Raises:
        OSError: it cannot be made.
        CacheError: it exists, and others can write to it.
    """
    missing = not folder.exists()
    folder.mkdir(mode=mode, parents=True, exist_ok=True)
    if missing:
        folder.chmod(mode)  # whatever the umask is
    check_private(folder)


def check_private(folder: Path) -> None:
    """Refuse a folder of engines that another user could have written to.

    Raises:
        FileNotFoundError: there is none.
        CacheError: it belongs to another user, or others may write to it.
    """
    status = folder.stat()
    others = status.st_mode & stat.S_IWOTH
    # A group with write access is usually the user's own, by Ubuntu's umask.
    strangers = status.st_mode & stat.S_IWGRP and status.st_gid not in (os.getegid(), 0)
    if status.st_uid not in (os.geteuid(), 0) or others or strangers:
        raise CacheError(
            f"engines in {folder} are not used: user {status.st_uid} owns the folder and its mode "
            f"is {stat.S_IMODE(status.st_mode):o}, so others can put code there; chown it, chmod "
            "go-w, or give another folder (--engine-cache, parameter engine_cache)"
        )


def _description(path: Path) -> dict[str, Any]:
    """Read the description of a plan."""
    if not path.exists():
        raise FileNotFoundError(path)
    try:
        facts = read_json(path)
    except DocumentError as err:
        raise _DamagedError(f"{path} is damaged ({err})") from err
    kinds = {"key": dict, "gate": dict, "bytes": int}
    if not isinstance(facts, dict) or not all(
        isinstance(facts.get(name), kind) for name, kind in kinds.items()
    ):
        raise _DamagedError(f"{path} is no description of an engine")
    return facts


def _plan(path: Path, facts: Mapping[str, Any]) -> bytes:
    """Read a plan and compare it with its description."""
    try:
        plan = read_file(path)
    except OSError as err:
        raise _DamagedError(f"{path} cannot be read ({err})") from err
    if len(plan) != facts.get("bytes"):
        raise _DamagedError(f"{path} has {len(plan)} bytes, expected {facts.get('bytes')}")
    if not plan or hashlib.sha256(plan).hexdigest() != facts.get("sha256"):
        raise _DamagedError(f"{path} is damaged: its sha256 is not the one it was stored with")
    return plan


def _plain(text: str) -> str:
    return _UNSAFE.sub("_", text).strip("._") or "model"
