# SPDX-License-Identifier: Apache-2.0
"""Messages of cameras on their way: no clock, no ROS, no pictures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

RGB = "rgb"
THERMAL = "thermal"


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


def in_order(events: Iterable[Event]) -> list[Event]:
    """Return the events by arrival; equal arrivals by camera name and frame."""
    return sorted(events, key=lambda e: (e.arrival_ns, e.camera, e.frame))
