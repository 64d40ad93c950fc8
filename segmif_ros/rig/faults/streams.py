# SPDX-License-Identifier: Apache-2.0
"""Faults of camera streams, as pure functions of a schedule: no clock, no ROS, no pictures.

A schedule is a list of `Event`s in the order in which they arrive. Every fault takes one and
returns another; the same fault with the same seed does the same to the same schedule.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

import numpy as np

RGB = "rgb"
THERMAL = "thermal"
_SALT = {"drop": 1, "jitter": 2, "duplicate": 3, "reorder": 4}


class Damage(Enum):
    """What is wrong with a message itself; whoever builds the message carries it out."""

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
    """One image message on its way.

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


class Fault(Protocol):
    """Anything that turns one schedule into another."""

    def apply(self, events: Sequence[Event]) -> list[Event]:
        """Return the faulty schedule, in order of arrival."""
        ...


def schedule(
    *, duration_s: float, rates_hz: dict[str, float], start_ns: int = 0, phase_s: float = 0.0
) -> list[Event]:
    """Return the faultless schedule of cameras that run freely.

    Args:
        duration_s: length, seconds.
        rates_hz: camera name -> frames per second.
        start_ns: stamp of the first frame.
        phase_s: how much later each further camera starts.

    Raises:
        ValueError: a rate or the duration is not above 0.
    """
    if duration_s <= 0 or any(rate <= 0 for rate in rates_hz.values()):
        raise ValueError(
            f"schedule of {duration_s} s with rates {rates_hz}: expected values above 0"
        )
    events = []
    for index, (camera, rate) in enumerate(rates_hz.items()):
        first = start_ns + round(index * phase_s * 1e9)
        for frame in range(math.ceil(duration_s * rate - 1e-9)):
            stamp = first + round(frame / rate * 1e9)
            events.append(Event.clean(camera, frame, stamp))
    return in_order(events)


def in_order(events: Iterable[Event]) -> list[Event]:
    """Return the events by arrival; equal arrivals by camera name and frame."""
    return sorted(events, key=lambda e: (e.arrival_ns, e.camera, e.frame))


def apply_all(events: Sequence[Event], faults: Iterable[Fault]) -> list[Event]:
    """Apply the faults one after the other."""
    result = list(events)
    for fault in faults:
        result = fault.apply(result)
    return result


def _draw(
    name: str, seed: int, camera: str, count: int
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    rng = np.random.default_rng([_SALT[name], seed, *camera.encode()])
    return rng.random(count)


def _split(events: Sequence[Event], camera: str) -> tuple[list[Event], list[Event]]:
    return (
        [event for event in events if event.camera == camera],
        [event for event in events if event.camera != camera],
    )


def _check_share(name: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} {value}: expected a probability between 0 and 1")


@dataclass(frozen=True, slots=True)
class Drop:
    """Messages that never arrive, each with `probability`."""

    camera: str
    probability: float
    seed: int = 0

    def __post_init__(self) -> None:
        _check_share("drop probability", self.probability)

    def apply(self, events: Sequence[Event]) -> list[Event]:
        """Return the schedule without the lost messages."""
        mine, others = _split(events, self.camera)
        lost = _draw("drop", self.seed, self.camera, len(mine)) < self.probability
        kept = [event for event, gone in zip(mine, lost, strict=True) if not gone]
        return in_order(kept + others)


@dataclass(frozen=True, slots=True)
class Freeze:
    """A shutter calibration (FFC): every `every_s` the picture stands still for `length_s`.

    Stamps go on, the frame number repeats. The first freeze begins `every_s` after the first stamp.
    """

    camera: str
    every_s: float
    length_s: float

    def __post_init__(self) -> None:
        if not 0.0 < self.length_s < self.every_s:
            raise ValueError(
                f"freeze of {self.length_s} s every {self.every_s} s: expected "
                "0 < length < interval"
            )

    def apply(self, events: Sequence[Event]) -> list[Event]:
        """Return the schedule with repeated frame numbers."""
        mine, others = _split(events, self.camera)
        if not mine:
            return in_order(others)
        start = min(event.stamp_ns for event in mine)
        every, length = round(self.every_s * 1e9), round(self.length_s * 1e9)
        shown: list[Event] = []
        last = mine[0]
        for event in sorted(mine, key=lambda e: e.stamp_ns):
            since = event.stamp_ns - start
            if since < every or since % every >= length:
                last = event
            shown.append(replace(event, frame=last.frame, taken_ns=last.taken_ns))
        return in_order(shown + others)


@dataclass(frozen=True, slots=True)
class Latency:
    """Messages arrive `seconds` late; stamps are right."""

    camera: str
    seconds: float

    def __post_init__(self) -> None:
        if self.seconds < 0:
            raise ValueError(f"latency {self.seconds} s: expected 0 or more")

    def apply(self, events: Sequence[Event]) -> list[Event]:
        """Return the schedule with later arrivals."""
        late = round(self.seconds * 1e9)
        return in_order(
            replace(e, arrival_ns=e.arrival_ns + late) if e.camera == self.camera else e
            for e in events
        )


@dataclass(frozen=True, slots=True)
class Jitter:
    """Arrivals vary by up to `seconds`, evenly spread; a camera's messages keep their order."""

    camera: str
    seconds: float
    seed: int = 0

    def __post_init__(self) -> None:
        if self.seconds < 0:
            raise ValueError(f"jitter {self.seconds} s: expected 0 or more")

    def apply(self, events: Sequence[Event]) -> list[Event]:
        """Return the schedule with uneven arrivals."""
        mine, others = _split(events, self.camera)
        extra = np.rint(
            _draw("jitter", self.seed, self.camera, len(mine)) * self.seconds * 1e9
        ).astype(np.int64)
        shifted = []
        latest = -(1 << 62)
        for event, late in zip(in_order(mine), extra.tolist(), strict=True):
            latest = max(latest, event.arrival_ns + late)
            shifted.append(replace(event, arrival_ns=latest))
        return in_order(shifted + others)


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """A camera whose clock is `seconds` ahead (negative: behind)."""

    camera: str
    seconds: float

    def apply(self, events: Sequence[Event]) -> list[Event]:
        """Return the schedule with shifted stamps."""
        offset = round(self.seconds * 1e9)
        return [
            replace(e, stamp_ns=e.stamp_ns + offset) if e.camera == self.camera else e
            for e in events
        ]


@dataclass(frozen=True, slots=True)
class ClockJump:
    """All clocks jump by `seconds` at `at_s` after the first arrival (a looped bag jumps back)."""

    at_s: float
    seconds: float

    def apply(self, events: Sequence[Event]) -> list[Event]:
        """Return the schedule with jumping stamps."""
        if not events:
            return []
        jump_at = min(e.arrival_ns for e in events) + round(self.at_s * 1e9)
        jump = round(self.seconds * 1e9)
        return [
            replace(e, stamp_ns=e.stamp_ns + jump) if e.arrival_ns >= jump_at else e for e in events
        ]


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Messages that arrive twice, each with `probability`; the copy comes `gap_s` later."""

    camera: str
    probability: float
    gap_s: float = 0.001
    seed: int = 0

    def __post_init__(self) -> None:
        _check_share("duplicate probability", self.probability)

    def apply(self, events: Sequence[Event]) -> list[Event]:
        """Return the schedule with copies added."""
        mine, _ = _split(events, self.camera)
        twice = _draw("duplicate", self.seed, self.camera, len(mine)) < self.probability
        gap = round(self.gap_s * 1e9)
        copies = [
            replace(event, arrival_ns=event.arrival_ns + gap)
            for event, doubled in zip(mine, twice, strict=True)
            if doubled
        ]
        return in_order([*events, *copies])


@dataclass(frozen=True, slots=True)
class Reorder:
    """Neighbouring messages of a camera that change places, each pair with `probability`."""

    camera: str
    probability: float
    seed: int = 0

    def __post_init__(self) -> None:
        _check_share("reorder probability", self.probability)

    def apply(self, events: Sequence[Event]) -> list[Event]:
        """Return the schedule with swapped arrivals; no message is swapped twice."""
        mine, others = _split(events, self.camera)
        mine = in_order(mine)
        swap = _draw("reorder", self.seed, self.camera, len(mine)) < self.probability
        index = 0
        while index + 1 < len(mine):
            if swap[index]:
                a, b = mine[index], mine[index + 1]
                mine[index] = replace(b, arrival_ns=a.arrival_ns)
                mine[index + 1] = replace(a, arrival_ns=b.arrival_ns)
                index += 1
            index += 1
        return in_order(mine + others)


@dataclass(frozen=True, slots=True)
class Still:
    """A camera that hangs: the picture stays that of `shown` while messages and stamps go on."""

    shown: Event

    def apply(self, events: Sequence[Event]) -> list[Event]:
        """Return the schedule with one frame number."""
        camera, frame, taken = self.shown.camera, self.shown.frame, self.shown.taken_ns
        return [
            replace(e, frame=frame, taken_ns=taken) if e.camera == camera else e for e in events
        ]


@dataclass(frozen=True, slots=True)
class OtherRate:
    """A camera that runs at `rate_hz` instead; frame numbers count its own pictures."""

    camera: str
    rate_hz: float

    def __post_init__(self) -> None:
        if self.rate_hz <= 0:
            raise ValueError(f"rate {self.rate_hz} Hz: expected a value above 0")

    def apply(self, events: Sequence[Event]) -> list[Event]:
        """Return the schedule with new events from the first stamp until the next one is due."""
        mine, others = _split(events, self.camera)
        if not mine:
            return in_order(others)
        stamps = [event.stamp_ns for event in mine]
        first, last = min(stamps), max(stamps)
        end = last + (last - first) / max(len(stamps) - 1, 1)
        # Counted from time 0, so that the frames of two adjoining spans keep their distance.
        numbers = range(math.ceil(first * self.rate_hz / 1e9), math.ceil(end * self.rate_hz / 1e9))
        times = [(number, round(number / self.rate_hz * 1e9)) for number in numbers]
        return in_order([*(Event.clean(self.camera, n, t) for n, t in times), *others])


@dataclass(frozen=True, slots=True)
class ZeroStamp:
    """A driver that does not fill `header.stamp`."""

    camera: str

    def apply(self, events: Sequence[Event]) -> list[Event]:
        """Return the schedule without stamps."""
        return [replace(e, stamp_ns=0) if e.camera == self.camera else e for e in events]


@dataclass(frozen=True, slots=True)
class Damaged:
    """Messages that are malformed, every one."""

    camera: str
    damage: Damage

    def apply(self, events: Sequence[Event]) -> list[Event]:
        """Return the schedule with marked messages."""
        return [replace(e, damage=self.damage) if e.camera == self.camera else e for e in events]


@dataclass(frozen=True, slots=True)
class During:
    """Another fault, for messages that would arrive from `start_ns` until before `end_ns`."""

    fault: Fault
    start_ns: int
    end_ns: int

    def apply(self, events: Sequence[Event]) -> list[Event]:
        """Return the schedule with the fault in its time."""
        inside = [e for e in events if self.start_ns <= e.arrival_ns < self.end_ns]
        outside = [e for e in events if not self.start_ns <= e.arrival_ns < self.end_ns]
        return in_order([*outside, *self.fault.apply(inside)])
