# SPDX-License-Identifier: Apache-2.0
"""What must hold for every output under any fault: not torn, mixed, repeated or out of order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from segmif_ros.rig.timecode import WRAP_MS

PAIR_MS = 31
"""`tolerance_ms` of the node, and a millisecond because codes are whole ones."""
JUMP_NS = 1_000_000_000


class Picture(NamedTuple):
    """One output image that shows a camera's picture as it is.

    Attributes:
        topic: "fused" (shows RGB) or "confidence" (shows thermal).
        stamp_ns: its stamp.
        seen_ns: steady time of its arrival.
        bars: milliseconds written on its top and bottom edge, None where it is black.
        size: height, width.
    """

    topic: str
    stamp_ns: int
    seen_ns: int
    bars: tuple[int | None, int | None]
    size: tuple[int, int]


def start_ms(picture: Picture) -> int:
    """Return when the rig of a picture started, on the clock of its stamps, modulo `WRAP_MS`."""
    code = picture.bars[0]
    assert code is not None, picture
    return (picture.stamp_ns // 1_000_000 - code) % WRAP_MS


def complaints(
    pictures: Iterable[Picture],
    rig_start_ms: int,
    *,
    clocks_off_s: Iterable[float] = (0.0,),
    clocks_go_back: bool = False,
) -> list[str]:
    """Return what is wrong with the outputs of one node, in words.

    A picture that stays the same from one output to the next is a frozen camera and may be old.

    Args:
        pictures: in order of arrival, of any topics.
        rig_start_ms: see `start_ms`.
        clocks_off_s: how far the stamps may be from the truth.
        clocks_go_back: whether the stamps were set back meanwhile.
    """
    found = []
    before: dict[str, Picture] = {}
    stamps: set[tuple[str, int]] = set()
    for picture in pictures:
        last = before.get(picture.topic)
        where = f"{picture.topic} {picture.stamp_ns}"
        if (picture.topic, picture.stamp_ns) in stamps:
            found.append(f"{where}: this stamp came before")
        elif (
            last is not None
            and picture.stamp_ns < last.stamp_ns
            and not (clocks_go_back and last.stamp_ns - picture.stamp_ns > JUMP_NS)
        ):
            found.append(f"{where}: older than {last.stamp_ns}, which came before it")
        stamps.add((picture.topic, picture.stamp_ns))
        top, bottom = picture.bars
        if top != bottom:
            found.append(f"{where}: torn, {top} ms on top and {bottom} ms at the bottom")
        elif top is not None and not (last is not None and last.bars == picture.bars):
            most = 1 if picture.topic == "fused" else PAIR_MS
            lags = [_lag_ms(picture, rig_start_ms, off) for off in clocks_off_s]
            if min(abs(lag) for lag in lags) > most:
                found.append(f"{where}: its picture was taken {lags} ms before its stamp")
        before[picture.topic] = picture
    return found


def _lag_ms(picture: Picture, rig_start_ms: int, clocks_off_s: float) -> int:
    code = picture.bars[0]
    assert code is not None
    truth = picture.stamp_ns // 1_000_000 - round(clocks_off_s * 1000)
    lag = (truth - rig_start_ms - code) % WRAP_MS
    return lag - WRAP_MS if lag > WRAP_MS // 2 else lag
