# SPDX-License-Identifier: Apache-2.0
"""No engine is used that is not exactly the one that is wanted, whatever lies in the folder."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from segmif_ros.engines import cache as engine_cache
from segmif_ros.engines.cache import (
    CacheError,
    EngineCache,
    Entry,
    Missing,
    default_folder,
)
from segmif_ros.engines.key import EngineKey

KEY = EngineKey(
    model_sha256="a" * 64,
    runtime="10.3.0",
    gpu="NVIDIA H200",
    capability="9.0",
    memory_mib=0,
    driver="580",
    precision="fp16",
    shapes={"rgb": (480, 640, 3), "thermal": (480, 640)},
    options={"workspace_mib": 1024, "gate": {"mask_agreement": 0.98}},
)
OTHERS: dict[str, Any] = {
    "model_sha256": "b" * 64,
    "runtime": "10.3.1",
    "gpu": "NVIDIA H100",
    "capability": "8.7",
    "memory_mib": 7620,
    "driver": "570",
    "precision": "fp32",
    "shapes": {"rgb": (512, 640, 3), "thermal": (512, 640)},
    "options": {"workspace_mib": 512, "gate": {"mask_agreement": 0.98}},
}
PLAN = bytes(range(256)) * 40
GATE = {"passed": True}


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines")


def test_what_was_stored_is_found(cache: EngineCache) -> None:
    path = cache.store("nano", KEY, PLAN, GATE, build_s=12.5)
    entry = cache.find("nano", KEY)
    assert isinstance(entry, Entry)
    assert entry.plan == PLAN == path.read_bytes()
    assert entry.gate == GATE
    assert entry.facts["build_s"] == 12.5
    assert not entry.refused
    assert cache.folder.stat().st_mode & 0o077 == 0, "others could put an engine there"
    assert len(list(cache.folder.iterdir())) == 2, "a part was left behind"


def test_every_part_of_the_key_counts(cache: EngineCache) -> None:
    assert set(OTHERS) == {field.name for field in fields(EngineKey)}
    cache.store("nano", KEY, PLAN, GATE)
    for name, value in OTHERS.items():
        other = replace(KEY, **{name: value})
        assert other.digest != KEY.digest, name
        assert isinstance(cache.find("nano", other), Missing), name
    assert isinstance(cache.find("other", KEY), Missing)


def test_the_reason_names_what_has_changed(cache: EngineCache) -> None:
    assert "no fp16 engine of nano" in reason(cache, KEY)
    cache.store("nano", KEY, PLAN, GATE)
    assert "runtime was 10.3.0, is 10.7.0" in reason(cache, replace(KEY, runtime="10.7.0"))
    assert "the model file has changed" in reason(cache, replace(KEY, model_sha256="c" * 64))
    text = reason(cache, replace(KEY, options={**KEY.options, "workspace_mib": 64}))
    assert "options: workspace_mib was 1024, is 64" in text


def reason(cache: EngineCache, key: EngineKey) -> str:
    found = cache.find("nano", key)
    assert isinstance(found, Missing)
    return found.reason


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda plan: plan.write_bytes(PLAN[:-1]), "has 10239 bytes, expected 10240"),
        (lambda plan: plan.write_bytes(b""), "has 0 bytes"),
        (lambda plan: plan.write_bytes(PLAN[:-1] + b"?"), "is damaged: its sha256"),
        (lambda plan: plan.unlink(), "cannot be read"),
        (lambda plan: plan.with_suffix(".json").write_bytes(b"{"), "is damaged"),
        (lambda plan: plan.with_suffix(".json").write_bytes(b"\xff\xfe"), "is damaged"),
        (lambda plan: plan.with_suffix(".json").write_text("[]"), "is no description"),
        (lambda plan: plan.with_suffix(".json").write_text('{"key": 1}'), "is no description"),
        (lambda plan: change(plan, format=0), "format was 0, is 1"),
        (lambda plan: change(plan, gpu="NVIDIA A100"), "gpu was NVIDIA A100, is NVIDIA H200"),
        (lambda plan: change(plan, newer=1), "newer is no longer known"),
    ],
)
def test_a_bad_file_is_a_reason_to_build_again(cache: EngineCache, damage: Any, words: str) -> None:
    damage(cache.store("nano", KEY, PLAN, GATE))
    assert words in reason(cache, KEY)
    cache.store("nano", KEY, PLAN, GATE)
    assert isinstance(cache.find("nano", KEY), Entry)


def change(plan: Path, **changes: Any) -> None:
    """As if the files of another engine were copied here under this one's name."""
    path = plan.with_suffix(".json")
    raw = json.loads(path.read_text())
    raw["key"] |= changes
    path.write_text(json.dumps(raw))


def test_a_write_that_was_cut_short_leaves_no_engine(
    cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new plan is there, its description is still the old one."""
    cache.store("nano", KEY, PLAN, GATE)
    move = Path.replace
    monkeypatch.setattr(
        Path, "replace", lambda a, b: move(a, b) if str(b).endswith(".plan") else cut_short()
    )
    with pytest.raises(KeyboardInterrupt):
        cache.store("nano", KEY, PLAN + b"new", GATE)
    monkeypatch.undo()
    assert "bytes, expected" in reason(cache, KEY)
    assert not [path for path in cache.folder.iterdir() if path.name.startswith(".")]


def cut_short() -> None:
    raise KeyboardInterrupt


def test_everything_is_on_the_disk_before_it_is_renamed(
    cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    sync, move = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append("sync"), sync(fd))[1])
    monkeypatch.setattr(Path, "replace", lambda a, b: (order.append(Path(b).suffix), move(a, b))[1])
    cache.store("nano", KEY, PLAN, GATE)
    assert order == ["sync", ".plan", "sync", ".json"]


def test_a_refusal_is_kept_without_the_engine(cache: EngineCache) -> None:
    path = cache.store("nano", KEY, PLAN, GATE)
    cache.store("nano", KEY, b"", {"passed": False, "reasons": ["mask"]})
    entry = cache.find("nano", KEY)
    assert isinstance(entry, Entry)
    assert entry.refused
    assert not path.exists()


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = EngineCache(tmp_path / "file" / "engines")
    with pytest.raises(CacheError, match=r"cannot be written .*--engine-cache"):
        cache.store("nano", KEY, PLAN, GATE)
    with pytest.raises(CacheError, match="cannot be written"), cache.locked("nano", KEY):
        pass
    assert isinstance(cache.find("nano", KEY), Missing)


def test_a_folder_without_locks_says_so(
    cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(engine_cache.fcntl, "flock", no_locks)
    with (
        pytest.raises(CacheError, match=r"cannot be locked .*No locks available.*local disk"),
        cache.locked("nano", KEY),
    ):
        pass


@pytest.mark.parametrize("name", ["../../etc/passwd", "a b/c", "", "..", "v1.2"])
def test_a_name_stays_inside_the_folder(cache: EngineCache, name: str) -> None:
    path = cache.store(name, KEY, PLAN, GATE)
    assert path.parent == cache.folder
    assert isinstance(cache.find(name, KEY), Entry)


def test_timing_belongs_to_a_gpu_and_a_version(cache: EngineCache) -> None:
    def kept(key: EngineKey) -> bytes:
        return cache.read(cache.timing_path(key))

    assert kept(KEY) == b""
    cache.write(cache.timing_path(KEY), b"measured")
    assert kept(replace(KEY, precision="fp32", model_sha256="d" * 64)) == b"measured"
    assert kept(replace(KEY, runtime="10.7.0")) == b""
    assert kept(replace(KEY, gpu="Orin")) == b""


def test_the_folder_is_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "segmif_ros" / "engines"
    for base in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", base)
        assert default_folder() == Path.home() / ".cache" / "segmif_ros" / "engines"


HOLDER = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from segmif_ros.engines.cache import EngineCache
from test_cache import KEY
with EngineCache(Path(sys.argv[1])).locked("nano", KEY):
    print("held", flush=True)
    sys.stdin.readline()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    """Start another process that holds the lock until it reads a line, and wait until it does."""
    code = HOLDER.format(here=str(Path(__file__).parent))
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "held"
    return process


def test_two_processes_take_turns(cache: EngineCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_cache, "_POLL_S", 0.01)
    monkeypatch.setattr(engine_cache, "_TELL_S", 0.02)
    process = holder(cache.folder)
    told: list[str] = []
    try:
        with (
            pytest.raises(CacheError, match=r"another process has been building .* is locked"),
            cache.locked("nano", KEY, deadline_s=0.1, on_progress=told.append),
        ):
            pytest.fail("two processes hold one lock")
        assert "another process builds this engine" in told[0]
        with cache.locked("nano", replace(KEY, precision="fp32"), deadline_s=0.0):
            pass  # another engine is not affected
        told.clear()

        def let_go(text: str) -> None:
            told.append(text)
            if len(told) == 1:
                process.communicate("go\n", timeout=20.0)

        with cache.locked("nano", KEY, deadline_s=20.0, on_progress=let_go):
            assert told
    finally:
        process.kill()
        process.wait(20.0)


def test_a_process_that_ends_holds_nothing(cache: EngineCache) -> None:
    process = holder(cache.folder)
    process.kill()
    process.wait(20.0)
    with cache.locked("nano", KEY, deadline_s=20.0):
        pass


def test_what_is_kept_beside_an_engine_has_a_limit(
    cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cache.compiled_path("nano", KEY)
    cache.write(path, b"kernels")
    written = path.stat().st_mtime_ns
    cache.write(path, b"kernels")
    assert path.stat().st_mtime_ns == written, "the same again is not written again"
    monkeypatch.setattr(engine_cache, "LARGEST_BLOB", 5)
    assert cache.read(path) == b""
    cache.write(path, b"too large")
    assert path.read_bytes() == b"kernels"


def test_a_folder_that_others_can_write_to_is_not_used(cache: EngineCache) -> None:
    cache.store("nano", KEY, b"plan", {"passed": True})
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700
    assert isinstance(cache.find("nano", KEY), Entry)
    cache.folder.chmod(0o777)
    found = cache.find("nano", KEY)
    assert isinstance(found, Missing)
    assert "others can put code there" in found.reason
    with pytest.raises(CacheError, match="mode is 777"):
        cache.store("nano", KEY, b"plan", {"passed": True})
    cache.folder.chmod(0o700)
    assert isinstance(cache.find("nano", KEY), Entry)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_not_used(cache: EngineCache) -> None:
    cache.store("nano", KEY, b"plan", {"passed": True})
    os.chown(cache.folder, 12345, -1)
    found = cache.find("nano", KEY)
    assert isinstance(found, Missing)
    assert "user 12345 owns the folder" in found.reason


def test_a_shared_folder_can_be_read_by_others_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        shared = EngineCache(tmp_path / "engines", shared=True)
        plan = shared.store("nano", KEY, b"plan", {})
    finally:
        os.umask(before)
    assert stat.S_IMODE(shared.folder.stat().st_mode) == 0o755
    assert {stat.S_IMODE(p.stat().st_mode) for p in shared.folder.iterdir()} == {0o644}
    entry = shared.find("nano", KEY)
    assert isinstance(entry, Entry)
    assert not entry.refused
    assert entry.verdict() is None
    assert plan.read_bytes() == entry.plan == b"plan"
