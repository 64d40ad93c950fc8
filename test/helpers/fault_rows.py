# SPDX-License-Identifier: Apache-2.0
"""The fault matrix: what is done to the node, and what it must say and do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

OK, WARN, ERROR = 0, 1, 2
LEVELS = ("OK", "WARN", "ERROR")

FUSED = "fused"


@dataclass(frozen=True, slots=True)
class Expect:
    """A diagnostic status that must appear.

    Attributes:
        concern: name of the status.
        level: 0 OK, 1 WARN, 2 ERROR.
        state: value of its key `state`.
        text: regular expression found in its message.
    """

    concern: str
    level: int
    state: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Counted:
    """A counter of the diagnostics that must grow: it shows that the fault reached the node.

    Attributes:
        concern: name of the status.
        key: key of the counter.
        least: by how much it must grow.
    """

    concern: str
    key: str
    least: int = 3


@dataclass(frozen=True, slots=True)
class Shown:
    """A value of the diagnostics that must appear.

    Attributes:
        concern: name of the status.
        key: key of the value.
        value: the value.
    """

    concern: str
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        name: for `pytest -k`.
        fault: what happens, in words.
        inject: faults of the rig; empty when the test does it by other means.
        mode: mode while it lasts; "fused" means that nothing changes.
        says: what the diagnostics must say meanwhile.
        counted: what they must count meanwhile.
        shown: what else they must show meanwhile.
        recovery_s: longest time from the end of the fault to the next fused result.
        results: whether results come while it lasts.
        lasts_s: shortest duration.
        clocks_off_s: how far stamps may be from the truth meanwhile.
        size: height and width of the results; None for any.
        results_hz: highest rate of the results by their stamps, 0 for any.
        measured: so many results are waited for.
        latency_ms: shortest median time from stamp to result.
        via: modes that may or may not be seen on the way back.
        clears: whether the recovery includes that the diagnostics take it back.
        known: why the row fails today; empty when it must pass.
    """

    name: str
    fault: str
    inject: str = ""
    mode: str = FUSED
    says: tuple[Expect, ...] = ()
    counted: tuple[Counted, ...] = ()
    shown: tuple[Shown, ...] = ()
    recovery_s: float = 3.0
    results: bool = True
    lasts_s: float = 0.0
    clocks_off_s: tuple[float, ...] = (0.0,)
    size: tuple[int, int] | None = None
    results_hz: float = 0.0
    measured: int = 12
    latency_ms: float = 0.0
    via: tuple[str, ...] = ()
    clears: bool = False
    known: str = ""

    def modes(self) -> list[str]:
        """Return the changes of the mode that must be seen, in order; before it was fused."""
        return [] if self.mode == FUSED else [self.mode, FUSED]

    def modes_from_start(self) -> list[str]:
        """Return those of a node that was started with the fault, after it began to wait."""
        return [FUSED] if self.mode in (FUSED, "waiting") else [self.mode, FUSED]

    def facts(self) -> dict[str, Any]:
        """Return what the table of docs/faults.md shows of it."""
        return {
            "name": self.name,
            "fault": self.fault,
            "inject": self.inject,
            "mode": self.mode,
            "says": [[e.concern, LEVELS[e.level], e.state] for e in self.says],
            "results": self.results,
            "clears": self.clears,
            "recovery_limit_s": self.recovery_s,
            "known": self.known,
        }


def _mode(mode: str, reason: str) -> Expect:
    return Expect("mode", ERROR if mode == "stopped" else WARN, mode, reason)


THERMAL_ABSENT = Row(
    "thermal absent", "thermal camera sends nothing from the start", "thermal:stop", "rgb_only",
    (_mode("rgb_only", "no thermal image yet"),),
)  # fmt: skip
RGB_ABSENT = Row(
    "rgb absent", "RGB camera sends nothing from the start", "rgb:stop", "thermal_only",
    (_mode("thermal_only", "no rgb image yet"),),
)  # fmt: skip
BOTH_ABSENT = Row(
    "both absent", "no camera sends from the start", "both:stop", "waiting",
    (Expect("rgb", ERROR, "never_seen"), Expect("thermal", ERROR, "never_seen")),
    results=False,
)  # fmt: skip

STEADY: tuple[Row, ...] = (
    Row("thermal lost", "thermal camera goes silent", "thermal:stop", "rgb_only",
        (_mode("rgb_only", "no thermal image any more"), Expect("thermal", ERROR, "stale"))),
    Row("rgb lost", "RGB camera goes silent", "rgb:stop", "thermal_only",
        (_mode("thermal_only", "no rgb image any more"),)),
    Row("both lost", "both cameras go silent", "both:stop", "stopped",
        (_mode("stopped", "no rgb image any more; no thermal image any more"),), results=False),
    Row("short gap", "thermal camera misses 0.3 s", "thermal:stop@0+0.3", lasts_s=0.3,
        counted=(Counted("pairing", "dropped.rgb.too_old", 4),)),
    Row("rgb frozen", "RGB camera repeats one picture", "rgb:freeze", "thermal_only",
        (Expect("rgb", ERROR, "frozen", "one and the same picture"),)),
    Row("thermal frozen", "thermal camera repeats one picture", "thermal:freeze", "rgb_only",
        (Expect("thermal", ERROR, "frozen", "one and the same picture"),)),
    Row("shutter", "thermal shutter (FFC): the picture is frozen for 3 s", "thermal:freeze@0+3",
        says=(Expect("thermal", OK, "shutter", "expected"),), lasts_s=3.0),
    Row("late 80 ms", "thermal images arrive 80 ms late, stamps are right", "thermal:late=0.08",
        latency_ms=75.0),
    Row("9/30 Hz", "thermal camera slows down to 9 Hz", "thermal:rate=9",
        says=(Expect("thermal", WARN, "low_rate"),), results_hz=10.0),
    Row("25/30 Hz", "thermal camera at 25 Hz", "thermal:rate=25", results_hz=27.0,
        measured=25),
    Row("30/60 Hz", "thermal camera at 60 Hz", "thermal:rate=60",
        counted=(Counted("pairing", "dropped.thermal.surplus", 10),)),
    Row("3x rate", "RGB camera at three times its rate", "rgb:rate=90",
        says=(Expect("rgb", WARN, "high_rate"),),
        counted=(Counted("pairing", "dropped.rgb.surplus", 30),)),
    Row("10 % loss", "one message in ten is lost", "both:drop=0.1",
        results_hz=28.9, measured=60),
    Row("duplicates", "half of the messages come twice", "both:duplicate=0.5",
        counted=(Counted("pairing", "dropped.rgb.duplicate"),
                 Counted("pairing", "dropped.thermal.duplicate"))),
    Row("reordered", "three in ten messages overtake their neighbour", "both:reorder=0.3",
        counted=(Counted("pairing", "dropped.rgb.reordered"),
                 Counted("pairing", "dropped.thermal.reordered"))),
    Row("zero stamps", "thermal driver leaves its stamps zero", "thermal:zero_stamp", "rgb_only",
        (Expect("thermal", ERROR, "zero_stamps"),)),
    Row("clock jump", "all clocks jump by 1 h and back", "both:clock=3600",
        says=(Expect("rgb", WARN, "clock_jumped"), Expect("thermal", WARN, "clock_jumped")),
        clocks_off_s=(0.0, 3600.0)),
    Row("one clock jumps", "the thermal clock jumps by 1 h and back", "thermal:clock=3600",
        "rgb_only", (_mode("rgb_only", "thermal stamps are 3600.0 s ahead"),
                     Expect("pairing", ERROR, "clocks_differ", "thermal_offset_ms"))),
    Row("bag looped", "stamps go back by 20 s", "both:clock=-20",
        says=(Expect("pairing", WARN, "clock_jumped", "bag looped"),), clocks_off_s=(0.0, -20.0)),
    Row("rgb encoding", "RGB images change to an unknown encoding", "rgb:encoding", "thermal_only",
        (Expect("rgb", ERROR, "refused", "encoding '64FC1'"),)),
    Row("thermal encoding", "thermal images change to an unknown encoding", "thermal:encoding",
        "rgb_only", (Expect("thermal", ERROR, "refused", "encoding '64FC1'"),)),
    Row("rgb size", "RGB images become half as wide and high; so do the results", "rgb:size",
        shown=(Shown("rgb", "format", "80x60 rgb8"),), size=(60, 80)),
    Row("thermal size", "thermal images become half as wide and high", "thermal:size",
        shown=(Shown("thermal", "format", "80x60 mono8"),), size=(120, 160)),
    Row("step", "thermal images have a `step` too small for a row", "thermal:step", "rgb_only",
        (Expect("thermal", ERROR, "refused", "step 80 is too small"),)),
    Row("cut off", "RGB images lack their last row", "rgb:data", "thermal_only",
        (Expect("rgb", ERROR, "refused", "data has"),)),
)  # fmt: skip
"""Faults that the rig makes while node and rig go on, one after the other."""

NOT_ALLOWED = Row(
    "thermal lost, none", "thermal camera goes silent, `degraded_mode` is none", "thermal:stop",
    "stopped", (_mode("stopped", "no thermal image any more; degraded_mode is none"),),
    results=False,
)  # fmt: skip
# Two topics of a new driver are discovered one after the other; the camera that is first may go on
# alone for a moment.
RELIABILITY = Row(
    "reliability",
    "RGB publisher is best effort, the node requests reliable; then another driver",
    mode="thermal_only", via=("stopped", "rgb_only"), recovery_s=10.0,
    says=(Expect("rgb", ERROR, "qos_incompatible", "reliability.*qos_overrides"),),
)  # fmt: skip
DRIVERS_KILLED = Row(
    "drivers killed", "SIGKILL to both camera drivers, then they are started again",
    mode="stopped", says=(_mode("stopped", "any more"), Expect("rgb", ERROR, "stale")),
    results=False, recovery_s=10.0,
)  # fmt: skip
NO_CLOCK = Row(
    "no /clock", "`use_sim_time` is set and no publisher on /clock",
    says=(Expect("node", ERROR, "no_clock", "--clock"),), clears=True,
)  # fmt: skip
STUCK = Row(
    "worker stuck", "one inference takes 5 s",
    says=(Expect("engine", ERROR, "stuck"),), results=False, clears=True,
)  # fmt: skip
RAISING = Row(
    "engine fails", "every inference fails", mode="stopped",
    says=(_mode("stopped", "engine"), Expect("engine", ERROR, "failed", "out of memory")),
    results=False,
)  # fmt: skip
UNEXPECTED = Row(
    "engine surprises", "every inference raises something that is no engine error",
    mode="stopped",
    says=(_mode("stopped", "engine"), Expect("engine", ERROR, "failed", "ZeroDivisionError")),
    results=False,
)  # fmt: skip
SOMETIMES = Row(
    "engine fails at times", "every third inference fails",
    says=(Expect("engine", WARN, "failing", "out of memory"),),
)  # fmt: skip
RESTARTS: tuple[Row, ...] = (
    Row("SIGINT", "SIGINT to the node, then it is started again", mode="stopped", recovery_s=20.0),
    Row("SIGTERM", "SIGTERM to the node, then it is started again", mode="stopped",
        recovery_s=20.0),
    Row("SIGKILL", "SIGKILL to the node, then it is started again", recovery_s=20.0),
)  # fmt: skip

ROWS: tuple[Row, ...] = (
    THERMAL_ABSENT, RGB_ABSENT, BOTH_ABSENT, *STEADY, NOT_ALLOWED, RELIABILITY, DRIVERS_KILLED,
    NO_CLOCK, STUCK, RAISING, UNEXPECTED, SOMETIMES, *RESTARTS,
)  # fmt: skip
"""The whole matrix in the order of the table."""
