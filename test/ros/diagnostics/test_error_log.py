# SPDX-License-Identifier: Apache-2.0
"""What goes to the log: an error when it begins and when it ends, and no flood."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from segmif_ros.ros.diagnostics.levels import DiagnosticEntry, Level
from segmif_ros.ros.diagnostics.reporter import ErrorLog

S = 1_000_000_000
STALE = DiagnosticEntry("rgb", Level.ERROR, "stale", "no image for 2.1 s")
FROZEN = DiagnosticEntry("rgb", Level.ERROR, "frozen", "one and the same picture")
LATE = DiagnosticEntry("rgb", Level.WARN, "late", "old images")
GOOD = DiagnosticEntry("rgb")


def test_an_error_is_told_once_while_it_lasts_and_when_it_ends():
    log = ErrorLog()
    assert log.errors([STALE, DiagnosticEntry("thermal")], 0) == ["rgb: no image for 2.1 s"]
    assert log.errors([STALE], 60 * S) == []
    assert log.recoveries([STALE]) == []
    assert log.recoveries([LATE]) == ["rgb: no error any more, still a warning: old images"]
    assert log.recoveries([GOOD]) == []


def test_an_error_that_ends_with_the_activation_was_not_mended():
    log = ErrorLog()
    log.errors([STALE], 0)
    assert log.recoveries([DiagnosticEntry("rgb", state="inactive", text="inactive")]) == []
    assert log.recoveries([GOOD]) == []


def test_another_error_of_the_same_status_is_told():
    log = ErrorLog()
    log.errors([STALE], 0)
    assert log.errors([FROZEN], 11 * S) == ["rgb: one and the same picture"]


def test_a_status_that_comes_and_goes_is_told_every_ten_seconds():
    log = ErrorLog()
    told = []
    for second in range(31):
        told += log.errors([STALE if second % 2 == 0 else GOOD], second * S)
        log.recoveries([STALE if second % 2 == 0 else GOOD])
    assert len(told) == 4


def test_warnings_and_modes_are_not_told():
    log = ErrorLog()
    stopped = DiagnosticEntry("mode", Level.ERROR, "stopped", "stopped: because")
    assert log.errors([LATE, stopped, GOOD], 0) == []
    assert log.recoveries([stopped, GOOD]) == []
