# SPDX-License-Identifier: Apache-2.0
"""The fault matrix: what is done to the node, and what it must say and do."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARN, ERROR = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Expect:
    """A diagnostic status that must appear.

    Attributes:
        concern: name of the status.
        level: 0 OK, 1 WARN, 2 ERROR.
        state: value of its key `state`, empty for any.
        text: regular expression found in its message.
    """

    concern: str
    level: int
    state: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        name: for `pytest -k`.
        fault: what happens, in words.
        inject: faults of the rig; empty when the test does it by other means.
        mode: mode while it lasts; "fused" means that nothing changes.
        expect: what the diagnostics must say meanwhile, None for nothing special.
        recovery_s: longest time from the end of the fault to the next fused output.
        clocks_off_s: how far stamps may be from the truth meanwhile.
        known: why the row fails today; empty when it must pass.
    """

    name: str
    fault: str
    inject: str
    mode: str
    expect: Expect | None
    recovery_s: float = 3.0
    clocks_off_s: tuple[float, ...] = (0.0,)
    known: str = ""

    def modes(self, *, from_start: bool = False) -> list[str]:
        """Return the modes that must be seen, in order; at a start the first one is waiting."""
        modes = ["stopped", "waiting"] if from_start else ["fused"]
        for mode in (self.mode, "fused"):
            if mode != modes[-1]:
                modes.append(mode)
        return modes if from_start else modes[1:]


THERMAL_ABSENT = Row(
    "thermal absent", "thermal camera is absent from the start", "thermal:stop", "rgb_only",
    Expect("mode", WARN, "", "no thermal image yet"),
)  # fmt: skip

STEADY: tuple[Row, ...] = (
    Row("thermal lost", "thermal camera goes silent", "thermal:stop", "rgb_only",
        Expect("mode", WARN, "", "no thermal image any more")),
    Row("rgb lost", "RGB camera goes silent", "rgb:stop", "thermal_only",
        Expect("mode", WARN, "", "no rgb image any more")),
    Row("both lost", "both cameras go silent", "both:stop", "stopped",
        Expect("mode", ERROR, "", "no rgb image any more; no thermal image any more")),
    Row("late 80 ms", "thermal images arrive 80 ms late, stamps are right", "thermal:late=0.08",
        "fused", None),
    Row("9/30 Hz", "thermal camera at 9 Hz", "thermal:rate=9", "fused", None),
    Row("30/60 Hz", "thermal camera at 60 Hz", "thermal:rate=60", "fused", None),
    Row("25/30 Hz", "thermal camera at 25 Hz", "thermal:rate=25", "fused", None),
    Row("3x rate", "RGB camera at three times its rate", "rgb:rate=90", "fused", None),
    Row("10 % loss", "one message in ten is lost", "both:drop=0.1", "fused", None),
)  # fmt: skip
"""Faults that the rig makes while node and rig go on, one after the other."""
