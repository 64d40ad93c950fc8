# SPDX-License-Identifier: Apache-2.0
"""Faults as people write them: `thermal:stop@5+3`, `both:clock=3600`, `rgb:drop=0.1`.

A fault changes the messages of one camera, which come and go in order of arrival. The same fault
with the same seed does the same to the same messages.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

RGB = "rgb"
THERMAL = "thermal"


class Damage(Enum):
    """Faults of a message itself; the code that builds the message applies them."""

    ENCODING = "encoding"
    """An encoding that no image topic uses."""
    SIZE = "size"
    """Half as wide and half as high: a driver that was reconfigured."""
    STEP = "step"
    """`step` is half of what one row needs."""
    DATA = "data"
    """The last row is missing."""


@dataclass(frozen=True, slots=True)
class Event:
    """One image message from camera to topic.

    Attributes:
        camera: "rgb" or "thermal".
        frame: number of the picture in it; a frozen camera repeats one.
        stamp_ns: acquisition stamp in the header.
        arrival_ns: when the message reaches its subscribers.
        taken_ns: when the picture was really taken, whatever the stamp says.
        damage: what is wrong with the message, None for nothing.
    """

    camera: str
    frame: int
    stamp_ns: int
    arrival_ns: int
    taken_ns: int
    damage: Damage | None = None

    @classmethod
    def clean(cls, camera: str, frame: int, time_ns: int) -> Event:
        """Return the message of a picture that is stamped rightly and arrives at once."""
        return cls(camera, frame, time_ns, time_ns, time_ns)


def in_order(events: Iterable[Event]) -> list[Event]:
    """Return the events by arrival; equal arrivals by camera name and frame."""
    return sorted(events, key=lambda e: (e.arrival_ns, e.camera, e.frame))


_FORM = re.compile(
    r"(?P<camera>\w+):(?P<kind>\w+)(=(?P<value>[^@\s]+))?(@(?P<start>[^+\s]+)(\+(?P<length>\S+))?)?"
)
_CAMERAS = {RGB: (RGB,), THERMAL: (THERMAL,), "both": (RGB, THERMAL)}
_COPY_LATE_NS = 1_000_000
_ABOVE_0 = math.ulp(0.0)


@dataclass(frozen=True, slots=True)
class Case:
    """What a fault is built from.

    Attributes:
        value: the number after `=`, 0 without one.
        shown: the message at which the fault begins.
        seed: of everything random.
    """

    value: float
    shown: Event
    seed: int

    @property
    def nanoseconds(self) -> int:
        """The value as a time."""
        return round(self.value * 1e9)

    def draw(self, salt: int, count: int) -> NDArray[np.float64]:
        """Return so many numbers between 0 and 1; every camera and salt has its own."""
        return np.random.default_rng([salt, self.seed, *self.shown.camera.encode()]).random(count)


Change = Callable[[Sequence[Event], Case], list[Event]]
"""What a fault makes of the messages of its camera, in any order."""


def _each(change: Callable[[Case], dict[str, Any]]) -> Change:
    """Return the fault that sets the same fields of every message."""
    return lambda events, case: [replace(event, **change(case)) for event in events]


def _later(events: Sequence[Event], case: Case) -> list[Event]:
    return [replace(e, arrival_ns=e.arrival_ns + case.nanoseconds) for e in events]


def _clock(events: Sequence[Event], case: Case) -> list[Event]:
    return [replace(e, stamp_ns=e.stamp_ns + case.nanoseconds) for e in events]


def _drop(events: Sequence[Event], case: Case) -> list[Event]:
    lost = case.draw(1, len(events)) < case.value
    return [event for event, gone in zip(events, lost, strict=True) if not gone]


def _jitter(events: Sequence[Event], case: Case) -> list[Event]:
    """Vary the arrivals, evenly spread; the messages keep their order."""
    extra = np.rint(case.draw(2, len(events)) * case.value * 1e9).astype(np.int64)
    shifted, latest = [], -(1 << 62)
    for event, late in zip(events, extra.tolist(), strict=True):
        latest = max(latest, event.arrival_ns + late)
        shifted.append(replace(event, arrival_ns=latest))
    return shifted


def _duplicate(events: Sequence[Event], case: Case) -> list[Event]:
    twice = case.draw(3, len(events)) < case.value
    copies = [
        replace(event, arrival_ns=event.arrival_ns + _COPY_LATE_NS)
        for event, doubled in zip(events, twice, strict=True)
        if doubled
    ]
    return [*events, *copies]


def _reorder(events: Sequence[Event], case: Case) -> list[Event]:
    """Let neighbours change places; no message is swapped twice."""
    swap = case.draw(4, len(events)) < case.value
    swapped = list(events)
    index = 0
    while index + 1 < len(swapped):
        if swap[index]:
            a, b = swapped[index], swapped[index + 1]
            swapped[index] = replace(b, arrival_ns=a.arrival_ns)
            swapped[index + 1] = replace(a, arrival_ns=b.arrival_ns)
            index += 1
        index += 1
    return swapped


def _rate(events: Sequence[Event], case: Case) -> list[Event]:
    """Replace the messages, from the first stamp until the next one is due."""
    if not events:
        return []
    stamps = [event.stamp_ns for event in events]
    first, last = min(stamps), max(stamps)
    end = last + (last - first) / max(len(stamps) - 1, 1)
    # Counted from time 0, so that the frames of two adjoining spans keep their distance.
    numbers = range(math.ceil(first * case.value / 1e9), math.ceil(end * case.value / 1e9))
    times = [(number, round(number / case.value * 1e9)) for number in numbers]
    return [Event.clean(case.shown.camera, number, time) for number, time in times]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault.

    Attributes:
        value: what the number after `=` is, empty when the kind takes none.
        meaning: one line for people.
        change: what it does.
        limits: smallest and largest value.
    """

    value: str
    meaning: str
    change: Change
    limits: tuple[float, float] = (-math.inf, math.inf)


_share = partial(Kind, "share", limits=(0.0, 1.0))
_seconds = partial(Kind, "seconds", limits=(0.0, math.inf))


def _damaged(meaning: str, damage: Damage) -> Kind:
    return Kind("", meaning, _each(lambda _: {"damage": damage}))


KINDS: dict[str, Kind] = {
    "stop": Kind("", "sends nothing", lambda *_: []),
    "freeze": Kind("", "repeats one picture with new stamps",
                   _each(lambda c: {"frame": c.shown.frame, "taken_ns": c.shown.taken_ns})),
    "drop": _share("loses so many of its messages", _drop),
    "late": _seconds("messages arrive so late", _later),
    "jitter": _seconds("messages arrive up to so late", _jitter),
    "clock": Kind("seconds", "stamps are so far ahead; negative: behind", _clock),
    "rate": Kind("Hz", "runs at this rate", _rate, (_ABOVE_0, math.inf)),
    "duplicate": _share("sends so many of its messages twice", _duplicate),
    "reorder": _share("so many neighbours change places", _reorder),
    "zero_stamp": Kind("", "stamps are zero", _each(lambda _: {"stamp_ns": 0})),
    "encoding": _damaged("names an unknown encoding", Damage.ENCODING),
    "size": _damaged("sends pictures half as wide and high", Damage.SIZE),
    "step": _damaged("`step` is half of what a row needs", Damage.STEP),
    "data": _damaged("the last row is missing", Damage.DATA),
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

    def apply(self, events: Sequence[Event], shown: Event, *, seed: int = 0) -> list[Event]:
        """Return the messages of all cameras with the fault, in order of arrival.

        Args:
            events: messages in order of arrival, within the time of the fault.
            shown: the message of its camera at which it begins.
            seed: of everything random.
        """
        mine = [event for event in events if event.camera == self.camera]
        others = [event for event in events if event.camera != self.camera]
        changed = KINDS[self.kind].change(mine, Case(self.value, shown, seed))
        return in_order([*others, *changed])


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
    value = _number(text, found["value"], kind.limits) if kind.value else 0.0
    start = _number(text, found["start"] or "0", (0.0, math.inf))
    length = math.inf
    if found["length"] is not None:
        length = _number(text, found["length"], (0.0, math.inf))
    return [FaultRequest(each, name, value, start, length) for each in _CAMERAS[camera]]


def parse_faults(text: str) -> list[FaultRequest]:
    """Read any number of faults with spaces between them.

    Raises:
        ValueError: one of them is malformed.
    """
    return [request for word in text.split() for request in parse_fault(word)]


def _number(text: str, number: str, limits: tuple[float, float]) -> float:
    try:
        value = float(number)
    except ValueError:
        raise ValueError(f"fault {text!r}: {number!r} is no number") from None
    least, most = limits
    if not math.isfinite(value) or not least <= value <= most:
        wanted = f"{least:g} or more" if most == math.inf else f"between {least:g} and {most:g}"
        wanted = "above 0" if least == _ABOVE_0 else wanted
        raise ValueError(f"fault {text!r}: {number!r} is out of range, expected {wanted}")
    return value
