# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.dds.processes import Reading, cost, machine_busy_s, read_process

BUSY = """
import sys, threading, time
from pathlib import Path
def burn():
    Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text("segmif-worker")
    while time.thread_time() < 0.3: pass
kept = bytearray(40 << 20)
thread = threading.Thread(target=burn); thread.start(); thread_id = thread.native_id
print("go", flush=True)
while time.thread_time() < 0.5: pass
sys.stdin.readline()
"""


def test_a_busy_process_is_charged_for_what_it_did() -> None:
    with subprocess.Popen(
        [sys.executable, "-S", "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        begin, machine = _empty(), machine_busy_s()
        child.stdout.readline()
        deadline = time.monotonic() + 30.0
        after = read_process(child.pid)
        while after.cpu_s < 0.7 and time.monotonic() < deadline:
            after = read_process(child.pid)
        child.stdin.write("\n")
    assert after.cpu_s >= 0.7, "0.3 s of one thread and 0.5 s of another were not counted"
    spent = cost(begin, after)
    assert spent.cpu_s == after.cpu_s
    assert 40.0 < spent.anonymous_mb <= spent.rss_mb <= spent.peak_mb < 500.0
    assert machine_busy_s() - machine > 0.5 * after.cpu_s


def _empty() -> Reading:
    return Reading(time.monotonic(), 0.0, {}, 0.0, 0.0, 0.0)


def test_costs_are_differences_over_wall_time() -> None:
    before = Reading(10.0, 1.0, {"executor": 0.5, "worker": 0.5}, 100.0, 80.0, 120.0)
    after = Reading(20.0, 3.0, {"executor": 1.0, "worker": 2.0}, 105.0, 82.0, 130.0)
    spent = cost(before, after)
    assert spent.core_percent == pytest.approx(20.0)
    assert spent.threads_percent == pytest.approx({"executor": 5.0, "worker": 15.0})
    assert (spent.rss_mb, spent.peak_mb, spent.growth_mb) == (105.0, 130.0, pytest.approx(2.0))


def test_threads_are_distinguished_by_their_names(tmp_path: Path) -> None:
    tick = os.sysconf("SC_CLK_TCK")
    folder = tmp_path / "7"
    (folder / "task").mkdir(parents=True)
    fields = " ".join(["S", *["0"] * 10, str(3 * tick), str(tick), *["0"] * 30])
    (folder / "stat").write_text(f"7 (odd) name (x) {fields}")
    (folder / "status").write_text("VmHWM:\t 4096 kB\nVmRSS:\t 2048 kB\nRssAnon:\t 1024 kB\n")
    names = {
        7: "python",
        8: "segmif-worker_0",
        9: "dds.shm.7",
        10: "dds.ev",
        11: "pool",
        12: "segmif-intake",
    }
    for number, name in names.items():
        (folder / "task" / str(number)).mkdir()
        (folder / "task" / str(number) / "comm").write_text(f"{name}\n")
        (folder / "task" / str(number) / "stat").write_text(f"{number} ({name}) {fields}")
    found = read_process(7, tmp_path)
    assert found.cpu_s == pytest.approx(4.0)
    assert found.threads_s == pytest.approx(
        {"executor": 4.0, "intake": 4.0, "worker": 4.0, "transport": 8.0, "other": 4.0}
    )
    assert (found.rss_mb, found.anonymous_mb, found.peak_mb) == (2.0, 1.0, 4.0)
