# SPDX-License-Identifier: Apache-2.0
import mmap
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from segmif_ros.cli.managed_process import (
    ManagedProcess,
    private_domain,
    remove_orphans,
    shared_memory,
    uninterrupted,
)

READY = "import sys, time, signal; print('ready', flush=True)"


def start(tmp_path, code: str) -> ManagedProcess:
    return ManagedProcess(
        "child", [sys.executable, "-c", code], os.environ, tmp_path / "log" / "c.log"
    )


def until(condition, seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        os.sched_yield()
    return condition()


@pytest.fixture
def ready():
    def wait(child: ManagedProcess) -> None:
        assert until(lambda: "ready" in child.tail()), child.tail()

    return wait


def test_output_of_both_streams_lands_in_the_log(tmp_path):
    child = start(tmp_path, "import sys; print('out'); sys.stderr.write('err\\n')")
    assert child.wait(10) == 0
    assert {line.strip() for line in child.tail().splitlines()} == {"out", "err"}
    assert child.stop() == 0


def test_tail_is_the_last_lines_and_says_when_there_are_none(tmp_path):
    child = start(tmp_path, "[print(i) for i in range(50)]")
    child.wait(10)
    assert child.tail(3) == "    47\n    48\n    49"
    silent = start(tmp_path, "pass")
    silent.wait(10)
    assert silent.tail() == "    (it wrote nothing)"


def test_last_words_leave_out_the_prefix_of_ros_logs(tmp_path):
    child = start(tmp_path, "print('first'); print('[INFO] [17.5] [rig.rig]: 3 of 9 images')")
    child.wait(10)
    assert child.last_words() == "3 of 9 images"
    silent = start(tmp_path, "pass")
    silent.wait(10)
    assert silent.last_words() == ""


def test_stop_sends_sigint_first(tmp_path, ready):
    code = (
        "import sys, time\n"
        "try:\n    print('ready', flush=True)\n    time.sleep(60)\n"
        "except KeyboardInterrupt:\n    sys.exit(7)"
    )
    child = start(tmp_path, code)
    ready(child)
    assert child.exit_code is None
    assert child.stop() == 7
    assert child.stop() == 7


def test_stop_ends_a_process_that_ignores_sigint_and_sigterm(tmp_path, ready):
    ignore = "[signal.signal(s, signal.SIG_IGN) for s in (signal.SIGINT, signal.SIGTERM)]"
    code = f"import signal; {ignore}\n{READY}\ntime.sleep(60)"
    child = start(tmp_path, code)
    ready(child)
    assert child.stop(grace_s=0.2) == -signal.SIGKILL


def test_a_ctrl_c_at_the_terminal_does_not_reach_the_child(tmp_path, ready):
    child = start(tmp_path, f"import os; print(os.getpgrp())\n{READY}\ntime.sleep(60)")
    ready(child)
    assert int(child.tail().split()[0]) != os.getpgrp()
    child.stop()


def test_shared_memory_of_a_killed_process_is_removed(tmp_path, ready):
    name = f"/dev/shm/fastdds_test{os.getpid()}"
    code = (
        f"import mmap; f = open({name!r}, 'w+b'); f.truncate(4096); m = mmap.mmap(f.fileno(), 4096)"
        f"\n{READY}\ntime.sleep(60)"
    )
    lock = Path(f"{name}_el")
    lock.touch()
    child = start(tmp_path, code)
    ready(child)
    child.note_shared_memory()
    (segment,) = shared_memory(child._process.pid)
    assert str(segment) == name
    remove_orphans({segment})
    assert segment.exists()
    assert lock.exists()
    child._process.kill()
    assert child.stop() == -signal.SIGKILL
    assert not segment.exists()
    assert not lock.exists()


def test_what_only_this_process_has_mapped_goes_on_request():
    segment = Path(f"/dev/shm/fastdds_own{os.getpid()}")
    with segment.open("w+b") as file:
        file.truncate(4096)
        mapped = mmap.mmap(file.fileno(), 4096)
    remove_orphans({segment})
    assert segment.exists()
    remove_orphans({segment}, of_us_too=True)
    assert not segment.exists()
    mapped.close()


def test_shared_memory_of_a_gone_process_is_empty():
    assert shared_memory(2**22 + 1) == set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_waits_until_the_block_is_done(number):
    steps = []
    with pytest.raises(KeyboardInterrupt), uninterrupted():  # noqa: PT012
        os.kill(os.getpid(), number)
        steps.append("finished")
    assert steps == ["finished"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with uninterrupted():
        steps.append("quiet")
    assert steps == ["finished", "quiet"]


def test_domains_stay_in_the_range_that_is_safe_everywhere():
    domains = {private_domain(pid) for pid in range(5000)}
    assert domains == set(range(1, 102))
    assert private_domain() == private_domain(os.getpid())
