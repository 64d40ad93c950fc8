# SPDX-License-Identifier: Apache-2.0
"""Faults as people write them: `thermal:stop@5+3`, `both:clock=3600`, `rgb:drop=0.1`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from segmif_ros.rig.faults.streams import (
    RGB,
    THERMAL,
    ClockOffset,
    Damage,
    Damaged,
    Drop,
    Duplicate,
    Event,
    Fault,
    Jitter,
    Latency,
    OtherRate,
    Reorder,
    Still,
    ZeroStamp,
)

_FORM = re.compile(
    r"(?P<camera>\w+):(?P<kind>\w+)(=(?P<value>[^@\s]+))?(@(?P<start>[^+\s]+)(\+(?P<length>\S+))?)?"
)
_CAMERAS = {RGB: (RGB,), THERMAL: (THERMAL,), "both": (RGB, THERMAL)}


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault.

    Attributes:
        value: what the number after `=` is, empty when the kind takes none.
        meaning: one line for people.
        make: builds the fault.
    """

    value: str
    meaning: str
    make: Callable[[_Case], Fault]


@dataclass(frozen=True, slots=True)
class _Case:
    """What a fault is built from; `shown` is the message at which it begins."""

    value: float
    shown: Event
    seed: int

    @property
    def camera(self) -> str:
        return self.shown.camera


def _damage(damage: Damage) -> Callable[[_Case], Fault]:
    return lambda case: Damaged(case.camera, damage)


KINDS: dict[str, Kind] = {
    "stop": Kind("", "sends nothing", lambda c: Drop(c.camera, 1.0)),
    "freeze": Kind("", "repeats one picture with new stamps", lambda c: Still(c.shown)),
    "drop": Kind("share", "loses so many of its messages",
                 lambda c: Drop(c.camera, c.value, c.seed)),
    "late": Kind("seconds", "messages arrive so late", lambda c: Latency(c.camera, c.value)),
    "jitter": Kind("seconds", "messages arrive up to so late",
                   lambda c: Jitter(c.camera, c.value, c.seed)),
    "clock": Kind("seconds", "stamps are so far ahead; negative: behind",
                  lambda c: ClockOffset(c.camera, c.value)),
    "rate": Kind("Hz", "runs at this rate", lambda c: OtherRate(c.camera, c.value)),
    "duplicate": Kind("share", "sends so many of its messages twice",
                      lambda c: Duplicate(c.camera, c.value, seed=c.seed)),
    "reorder": Kind("share", "so many neighbours change places",
                    lambda c: Reorder(c.camera, c.value, c.seed)),
    "zero_stamp": Kind("", "stamps are zero", lambda c: ZeroStamp(c.camera)),
    "encoding": Kind("", "names an encoding that nobody knows", _damage(Damage.ENCODING)),
    "size": Kind("", "sends pictures half as wide and high", _damage(Damage.SIZE)),
    "step": Kind("", "`step` is half of what a row needs", _damage(Damage.STEP)),
    "data": Kind("", "the last row is missing", _damage(Damage.DATA)),
}  # fmt: skip
"""Name -> kind."""


@dataclass(frozen=True, slots=True)
class FaultRequest:
    """One fault of one camera and when it is there.

    Attributes:
        camera: "rgb" or "thermal".
        kind: key of `KINDS`.
        value: see `Kind.value`; 0 when the kind takes none.
        start_s: seconds after the faults came into force.
        length_s: seconds, infinite for as long as they are in force.
    """

    camera: str
    kind: str
    value: float = 0.0
    start_s: float = 0.0
    length_s: float = math.inf

    def fault(self, shown: Event, *, seed: int) -> Fault:
        """Return the fault itself.

        Args:
            shown: the message at which it begins.
            seed: of everything random.

        Raises:
            ValueError: the value is outside its range.
        """
        return KINDS[self.kind].make(_Case(self.value, shown, seed))


def parse_fault(text: str) -> list[FaultRequest]:
    """Read `CAMERA:KIND[=VALUE][@START[+LENGTH]]`; times are in seconds.

    Returns:
        One request, or two for the camera "both".

    Raises:
        ValueError: it is not of this form; the message says what is.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(
            f"fault {text!r}: expected CAMERA:KIND[=VALUE][@START[+LENGTH]], for example "
            "thermal:stop@5+3 or rgb:drop=0.1"
        )
    camera, name = found["camera"], found["kind"]
    if camera not in _CAMERAS:
        raise ValueError(f"fault {text!r}: camera {camera!r}, expected one of {tuple(_CAMERAS)}")
    if name not in KINDS:
        raise ValueError(f"fault {text!r}: kind {name!r}, expected one of {tuple(KINDS)}")
    kind = KINDS[name]
    if bool(kind.value) != (found["value"] is not None):
        wanted = f"={kind.value.upper()}" if kind.value else "no value"
        raise ValueError(f"fault {text!r}: {name} ({kind.meaning}) takes {wanted}")
    value = _number(text, found["value"], least=-math.inf)
    start = _number(text, found["start"], least=0.0)
    length = math.inf if found["length"] is None else _number(text, found["length"], least=0.0)
    requests = [FaultRequest(each, name, value, start, length) for each in _CAMERAS[camera]]
    for request in requests:
        request.fault(Event.clean(request.camera, 0, 0), seed=0)
    return requests


def parse_faults(text: str) -> list[FaultRequest]:
    """Read any number of faults with spaces between them.

    Raises:
        ValueError: one of them is malformed.
    """
    return [request for word in text.split() for request in parse_fault(word)]


def _number(text: str, number: str | None, *, least: float) -> float:
    if number is None:
        return 0.0
    try:
        value = float(number)
    except ValueError:
        raise ValueError(f"fault {text!r}: {number!r} is no number") from None
    if not math.isfinite(value) or value < least:
        raise ValueError(f"fault {text!r}: {number!r} is out of range, expected {least:g} or more")
    return value
