# SPDX-License-Identifier: Apache-2.0
"""Starting ROS: one line where it cannot be started, a clean end at a signal however early."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from time import time

import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from segmif_ros.interrupts import STOP_SIGNALS
from segmif_ros.ros.session import RosError, join
from segmif_ros.ros.transport import other_users, remove_dead_segments

SEGMIF = (sys.executable, "-m", "segmif_ros.cli.main")
NODE = (sys.executable, "-m", "segmif_ros.ros.start")
RIG = (sys.executable, "-c", "from segmif_ros.ros.start import rig; raise SystemExit(rig())")


@pytest.mark.parametrize("domain", ["abc", "-1", "233", "5000", "9" * 300])
def test_a_bad_domain_is_named_before_anything_starts(monkeypatch, domain):
    monkeypatch.setenv("ROS_DOMAIN_ID", domain)
    with pytest.raises(RosError, match="from 0 to 232"):
        join()


@pytest.mark.system
@pytest.mark.parametrize(
    "command",
    [
        (*NODE,),
        (*RIG, "--frames", "1"),
        (*SEGMIF, "bag", "record", "{out}", "--topics", "/a"),
        (*SEGMIF, "sync-check", "--live", "--rgb-topic", "/a", "--thermal-topic", "/b"),
    ],
    ids=["node", "rig", "record", "sync-check"],
)
def test_a_log_folder_that_cannot_be_written_is_one_line(command, tmp_path):
    ran = subprocess.run(
        [word.format(out=tmp_path / "bag") for word in command],
        env=os.environ | {"ROS_LOG_DIR": "/proc/nope"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode in (1, 2)
    assert "Traceback" not in ran.stderr
    last = ran.stderr.strip().splitlines()[-1]
    assert "ROS cannot be started" in last
    assert "'/proc/nope'" in last


@pytest.mark.system
@pytest.mark.parametrize("number", STOP_SIGNALS)
@pytest.mark.parametrize("delay_s", [0.25, 0.6])
def test_a_signal_while_the_node_starts_ends_it_with_0(number, delay_s, tmp_path):
    process = subprocess.Popen(
        [*NODE, "--ros-args", "-p", "engine:=null"],
        env=os.environ | {"ROS_LOG_DIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    # Python itself has to be there; the signal comes while the package is being imported.
    until = time() + 30.0
    while "rclpy" not in Path(f"/proc/{process.pid}/maps").read_text() and time() < until:
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
    try:
        process.wait(delay_s)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
    _, errors = process.communicate(timeout=30.0)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors


NOHUP = """
import os, signal
from threading import Event
from segmif_ros.cli.managed_process import terminable, uninterrupted
from segmif_ros.interrupts import stopping
stop = Event()
signal.signal(signal.SIGHUP, signal.SIG_IGN)
with stopping(stop):
    os.kill(os.getpid(), signal.SIGHUP)
    assert not stop.is_set()
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop.is_set()
for block in (terminable, uninterrupted):
    with block():
        os.kill(os.getpid(), signal.SIGHUP)
"""


def test_hang_up_stays_ignored_under_nohup():
    """In a process of its own: rclpy of other tests has put its handlers into this one."""
    subprocess.run([sys.executable, "-c", NOHUP], check=True, timeout=60)


@pytest.fixture
def segment(tmp_path):
    def segment(ident: int, age_s: float = 60.0, name: str = "fastrtps_{:016x}") -> Path:
        made = tmp_path / name.format(ident)
        for path in (made, lock_of(made)):
            path.write_bytes(b"x")
            os.utime(path, (time() - age_s, time() - age_s))
        return made

    return segment


def lock_of(segment: Path) -> Path:
    return segment.with_name(f"{segment.name}_el")


def test_segments_of_ended_processes_are_removed_and_no_others(tmp_path, segment):
    dead = [segment(0x123456789ABCDEF), segment(0xFF, name="fastdds_{:016x}")]
    alive, young = segment(1), segment(2, 1.0)
    others = [segment(7411, name="fastrtps_port{}"), segment(3, name="fastfood_{:016x}")]
    with lock_of(alive).open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert sorted(remove_dead_segments(tmp_path)) == sorted(dead)
    assert not any(path.exists() for path in (*dead, *map(lock_of, dead)))
    assert all(path.exists() for path in (alive, young, *others))


@pytest.mark.parametrize("foreign", ["segment", "lock", "both"])
@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_another_users_segment_stays(tmp_path, segment, foreign: str, mode: int):
    if os.geteuid() != 0:
        pytest.skip("only root can make files of another user")
    kept, dead = segment(1), segment(2)
    for path in {"segment": [kept], "lock": [lock_of(kept)]}.get(foreign, [kept, lock_of(kept)]):
        path.chmod(mode)
        os.chown(path, 12345, 12345)
    assert remove_dead_segments(tmp_path) == [dead]
    assert kept.exists()
    assert lock_of(kept).exists()


def test_another_user_is_one_with_a_running_process(tmp_path, segment):
    """Files of a killed process stay for ever, and are no reason for a silent camera."""
    if os.geteuid() != 0:
        pytest.skip("only root can make files of another user")
    living, killed, own = segment(1), segment(2), segment(3)
    os.chown(lock_of(living), 12345, 12345)
    os.chown(lock_of(killed), 12346, 12346)
    with lock_of(living).open("rb") as lock, lock_of(own).open("rb") as ours:
        for held in (lock, ours):
            fcntl.flock(held, fcntl.LOCK_EX)
        assert other_users(tmp_path) == ["uid 12345"]
    assert other_users(tmp_path) == []


def test_names_that_are_no_segments_neither_end_nor_stop_the_start(tmp_path, segment):
    """Anyone may create them in shared memory: links, named pipes, folders."""
    target, dead = segment(0, name="mine{}"), segment(9)
    linked, pipe, folder, inside = map(segment, range(1, 5))
    for path in (lock_of(linked), lock_of(pipe), lock_of(folder), inside):
        path.unlink()
    lock_of(linked).symlink_to(target)
    os.mkfifo(lock_of(pipe))
    lock_of(folder).mkdir()
    inside.mkdir()
    assert remove_dead_segments(tmp_path) == [dead]
    for path in (linked, pipe, folder, inside):
        assert path.exists()
        assert lock_of(path).exists()
    assert target.exists()
