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


ERROR, WARN = Level.ERROR, Level.WARN
BARE = DiagnosticEntry("registration", Level.WARN, "uncalibrated", "no calibration_file")


def test_an_error_is_logged_once_while_it_lasts_and_when_it_ends():
    log = ErrorLog()
    found = log.problems([STALE, DiagnosticEntry("thermal")], 0)
    assert found == [(ERROR, "rgb: no image for 2.1 s")]
    assert log.problems([STALE], 60 * S) == []
    assert log.recoveries([STALE]) == []
    assert log.recoveries([LATE]) == ["rgb: no error any more, still a warning: old images"]
    assert log.recoveries([GOOD]) == []


def test_an_error_that_ends_with_the_activation_is_no_recovery():
    log = ErrorLog()
    log.problems([STALE], 0)
    assert log.recoveries([DiagnosticEntry("rgb", state="inactive", text="inactive")]) == []
    assert log.recoveries([GOOD]) == []


def test_another_error_of_the_same_status_is_logged_at_once():
    log = ErrorLog()
    log.problems([STALE], 0)
    assert log.problems([FROZEN], 1 * S) == [(ERROR, "rgb: one and the same picture")]


def test_states_that_come_and_go_are_logged_every_ten_seconds():
    for other in (GOOD, FROZEN):
        log, lines = ErrorLog(), []
        for second in range(31):
            lines += log.problems([STALE if second % 2 == 0 else other], second * S)
            log.recoveries([STALE if second % 2 == 0 else other])
        assert [line for _, line in lines].count("rgb: no image for 2.1 s") == 4


def test_a_driver_may_start_after_the_node_before_its_absence_is_logged():
    log, absent = ErrorLog(), DiagnosticEntry("rgb", ERROR, "never_seen", "no publisher on /x")
    assert [log.problems([absent], second * S) for second in (2, 15, 31)] == [[], [], []]
    assert log.recoveries([GOOD]) == [], "what was not logged is not over"
    assert log.problems([absent], 32 * S) == [(ERROR, "rgb: no publisher on /x")]
    assert log.problems([absent], 90 * S) == []


def test_a_missing_calibration_is_the_one_warning_in_the_log():
    log = ErrorLog()
    stopped = DiagnosticEntry("mode", Level.ERROR, "stopped", "stopped: because")
    assert log.problems([LATE, stopped, GOOD], 0) == []
    assert log.recoveries([stopped, GOOD]) == []
    assert log.problems([BARE], 0) == [(WARN, "registration: no calibration_file")]
    assert log.problems([BARE], 99 * S) == []
    over = DiagnosticEntry("registration", text="rig (by hand)")
    assert log.recoveries([over]) == ["registration: no warning any more: rig (by hand)"]
