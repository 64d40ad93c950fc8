# SPDX-License-Identifier: Apache-2.0
"""What must hold for every output under any fault: not torn, mixed, repeated or out of order."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import product
from typing import NamedTuple

from segmif_ros.rig.draw.pattern import WRAP_MS

LARGEST_LAG_MS = {"fused": 1, "confidence": 31}
"""The stamp is that of the RGB picture; the thermal one may be `tolerance_ms` away. And a
millisecond, because codes are whole ones."""
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
    rig_starts_ms: Collection[int],
    *,
    clocks_off_s: Collection[float] = (0.0,),
    clocks_go_back: bool = False,
    frozen_ms: tuple[int, int] | None = None,
) -> list[str]:
    """Return what is wrong with the outputs of one node, in words.

    Args:
        pictures: in order of arrival, of any topics.
        rig_starts_ms: see `start_ms`; several, if the rig was started again.
        clocks_off_s: how far the stamps may be from the truth.
        clocks_go_back: whether the stamps were set back meanwhile.
        frozen_ms: first and last time, on the clock of the stamps, at which a camera may have taken
            the picture that it repeats; a picture of that time may be old.
    """
    by_topic: dict[str, list[Picture]] = {}
    for picture in pictures:
        by_topic.setdefault(picture.topic, []).append(picture)
    found = []
    for topic, shown in by_topic.items():
        stamps: set[int] = set()
        for index, picture in enumerate(shown):
            before = shown[index - 1] if index else None
            where = f"{topic} {picture.stamp_ns}"
            if picture.stamp_ns in stamps:
                found.append(f"{where}: this stamp came before")
            elif before is not None and _goes_back(before, picture, clocks_go_back):
                found.append(f"{where}: older than {before.stamp_ns}, which came before it")
            stamps.add(picture.stamp_ns)
            top, bottom = picture.bars
            frozen = frozen_ms is not None and any(
                (start + (top or 0) - frozen_ms[0]) % WRAP_MS <= frozen_ms[1] - frozen_ms[0]
                for start in rig_starts_ms
            )
            if top != bottom:
                found.append(f"{where}: torn, {top} ms on top and {bottom} ms at the bottom")
            elif top is not None and not frozen:
                starts = product(rig_starts_ms, clocks_off_s)
                lags = [_lag_ms(picture, start, off) for start, off in starts]
                if min(abs(lag) for lag in lags) > LARGEST_LAG_MS[topic]:
                    found.append(f"{where}: its picture was taken {lags} ms before its stamp")
    return found


def _goes_back(before: Picture, picture: Picture, allowed: bool) -> bool:
    step_ns = before.stamp_ns - picture.stamp_ns
    return step_ns > 0 and not (allowed and step_ns > JUMP_NS)


def _lag_ms(picture: Picture, rig_start_ms: int, clocks_off_s: float) -> int:
    code = picture.bars[0]
    assert code is not None
    truth = picture.stamp_ns // 1_000_000 - round(clocks_off_s * 1000)
    lag = (truth - rig_start_ms - code) % WRAP_MS
    return lag - WRAP_MS if lag > WRAP_MS // 2 else lag
