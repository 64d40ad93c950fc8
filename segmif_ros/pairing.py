# SPDX-License-Identifier: Apache-2.0
"""Two stamped streams become pairs: pure stamps in, decisions and drop reasons out.

No clock, no ROS, no thread. Every frame pushed ends exactly once: in a pair, in a drop with its
reason, or it is still held. The slower stream is the reference, because every one of its frames
has a near partner in the faster one and not the other way round. A reference frame takes its
nearest partner, and waits for a better one only while that one can still come.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from statistics import median
from typing import Any, Generic, TypeVar

Payload = TypeVar("Payload")

MILLISECOND = 1_000_000
SECOND = 1_000 * MILLISECOND
LONGEST_OFFSET_MS = 86_400_000.0
"""Largest offset of a camera's stamps, a day: TAI and GPS time, and time zones."""
JUMP_NS = 1_000 * MILLISECOND
"""A stamp this far behind the one before it is a clock that was set back, not a late frame."""

_REORDERED_RUN = 5
"""So many older stamps in a row are a clock set back by less than `JUMP_NS` (a very short bag)."""
_GAPS = 15
"""Stamp gaps kept per stream; their median is the period, so lost frames do not bend it."""
_GAPS_NEEDED = 3
_LONGEST_GAP_NS = 10_000 * MILLISECOND
_SWITCH_RATIO = 1.1
"""The reference changes only for a stream at least this much slower: no flapping at equal rates."""
_GIVE_UP_SHARE = 0.15
"""A reference frame gives its nearest partner to its successor only when the successor is nearer
by this share of the period. Without the rule one lost frame shifts equal streams by a whole period
for good; without the share, jitter would cost frames when the two cameras run half a period apart.
"""


def stamp_of(header: Any) -> int:
    """Return the stamp of a std_msgs/Header in nanoseconds."""
    return int(header.stamp.sec) * SECOND + int(header.stamp.nanosec)


class Stream(Enum):
    """The two inputs."""

    RGB = "rgb"
    THERMAL = "thermal"

    @property
    def other(self) -> Stream:
        """The stream that this one is paired with."""
        return Stream.THERMAL if self is Stream.RGB else Stream.RGB


class DropReason(Enum):
    """Why a frame is in no pair."""

    SURPLUS = "surplus"
    """The faster stream has more frames than the slower one can use. Normal at unequal rates."""
    NO_PARTNER = "no_partner"
    """The other stream went past this frame and had nothing free within the tolerance."""
    TOO_OLD = "too_old"
    """`max_wait` went by and nothing within the tolerance had come."""
    OVERFLOW = "overflow"
    """More frames were waiting than `queue_size`."""
    DUPLICATE = "duplicate"
    """The stamp is the same as the one before."""
    REORDERED = "reordered"
    """The stamp is older than the one before, by less than a clock jump."""
    ZERO_STAMP = "zero_stamp"
    """The stamp is zero or negative: the driver did not set it."""
    CLOCK_JUMP = "clock_jump"
    """Stamps went back by more than a second (looped bag, clock set): the old time is dropped."""
    OTHER_SIZE = "other_size"
    """The image has another size than the calibration: usable alone, in no pair."""
    RESET = "reset"
    """`reset` was called while the frame was held."""


@dataclass(frozen=True, slots=True)
class PairingConfig:
    """What the pairer may do.

    Attributes:
        tolerance_ns: largest |dt| of a pair, inclusive.
        max_wait_ns: longest time that a frame of the reference stream waits for a partner.
        rgb_offset_ns: added to RGB stamps before they are compared.
        thermal_offset_ns: added to thermal stamps before they are compared. A thermal camera whose
            stamps are 40 ms late has an offset of -40 ms.
        queue_size: most frames held per stream.

    Raises:
        ValueError: a negative tolerance or wait, or a queue below 1.
    """

    tolerance_ns: int = 30 * MILLISECOND
    max_wait_ns: int = 100 * MILLISECOND
    rgb_offset_ns: int = 0
    thermal_offset_ns: int = 0
    queue_size: int = 10

    def __post_init__(self) -> None:
        """Refuse values that no stream could satisfy."""
        for name in ("tolerance_ns", "max_wait_ns"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 or more")
        if self.queue_size < 1:
            raise ValueError(f"queue_size is {self.queue_size}, expected 1 or more")

    def offset_ns(self, stream: Stream) -> int:
        """Return the offset of one stream."""
        return self.rgb_offset_ns if stream is Stream.RGB else self.thermal_offset_ns


@dataclass(frozen=True, slots=True)
class Stamped(Generic[Payload]):
    """A frame in the pairer.

    Attributes:
        stamp_ns: as the driver wrote it.
        time_ns: stamp plus the stream's offset: what is compared.
        arrival_ns: when it was pushed, on the caller's clock.
        payload: returned to the caller as it is.
    """

    stamp_ns: int
    time_ns: int
    arrival_ns: int
    payload: Payload


@dataclass(frozen=True, slots=True)
class Match(Generic[Payload]):
    """Two frames that belong together."""

    rgb: Stamped[Payload]
    thermal: Stamped[Payload]

    @property
    def dt_ns(self) -> int:
        """Thermal time minus RGB time after the offsets."""
        return self.thermal.time_ns - self.rgb.time_ns


@dataclass(frozen=True, slots=True)
class Drop:
    """One frame that ends in no pair."""

    stream: Stream
    stamp_ns: int
    reason: DropReason


@dataclass(slots=True)
class Decisions(Generic[Payload]):
    """What one call decided, oldest first.

    Attributes:
        pairs: frames that belong together.
        drops: frames that are in no pair.
        refused: why `push` turned its frame away at once, None if it did not.
    """

    pairs: list[Match[Payload]] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)
    refused: DropReason | None = None


class _Track(Generic[Payload]):
    """One stream: what is held of it, its last stamp and its period."""

    __slots__ = ("gaps", "held", "last_ns", "period_ns", "reordered", "stale")

    def __init__(self) -> None:
        self.held: deque[Stamped[Payload]] = deque()
        self.last_ns: int | None = None
        self.period_ns: int | None = None
        self.gaps: deque[int] = deque(maxlen=_GAPS)
        self.stale = False
        self.reordered = 0

    def observe(self, stamp_ns: int) -> None:
        """Update the period from the gap to the previous stamp."""
        if self.last_ns is not None and stamp_ns - self.last_ns <= _LONGEST_GAP_NS:
            self.gaps.append(stamp_ns - self.last_ns)
            if len(self.gaps) >= _GAPS_NEEDED:
                self.period_ns = int(median(self.gaps))
        self.last_ns = stamp_ns
        self.reordered = 0


class StreamPairer(Generic[Payload]):
    """Pairs an RGB and a thermal stream by their stamps.

    `push` and `tick` return what they decided; nothing is called back. Pairs come out in the order
    of time, each frame at most once. Not thread safe: one thread owns a pairer.

    >>> from segmif_ros import Stream, StreamPairer
    >>> pairer, ms = StreamPairer(), 1_000_000
    >>> for stamp, stream in [(5, Stream.RGB), (8, Stream.THERMAL), (38, Stream.RGB)]:
    ...     made = pairer.push(stream, stamp * ms, f"{stream.value} {stamp}", arrival_ns=stamp * ms)
    ...     for match in made.pairs:
    ...         print(match.rgb.payload, "+", match.thermal.payload, f"dt {match.dt_ns / ms:g} ms")
    rgb 5 + thermal 8 dt 3 ms
    """

    def __init__(self, config: PairingConfig | None = None) -> None:
        self._config = config or PairingConfig()
        self._tracks: dict[Stream, _Track[Payload]] = {stream: _Track() for stream in Stream}
        self._reference = Stream.RGB
        self._now_ns: int | None = None
        self.clock_jumps = 0

    @property
    def config(self) -> PairingConfig:
        """The settings in force."""
        return self._config

    @property
    def reference(self) -> Stream:
        """The stream that is taken as the slower one."""
        return self._reference

    def held(self, stream: Stream) -> int:
        """Return how many frames of a stream wait for a decision."""
        return len(self._tracks[stream].held)

    def period_ns(self, stream: Stream) -> int | None:
        """Return the median stamp gap of a stream, None before it is known."""
        return self._tracks[stream].period_ns

    def push(
        self, stream: Stream, stamp_ns: int, payload: Payload, *, arrival_ns: int
    ) -> Decisions[Payload]:
        """Take one frame.

        Args:
            stream: where it comes from.
            stamp_ns: acquisition time written by the driver, nanoseconds.
            payload: comes back in the pair.
            arrival_ns: now, on the clock that `tick` uses too. It need not be the stamps' clock.
        """
        out: Decisions[Payload] = Decisions()
        self._advance(arrival_ns)
        time_ns = stamp_ns + self._config.offset_ns(stream)
        out.refused = self._refusal(stream, stamp_ns, time_ns, out)
        if out.refused is not None:
            out.drops.append(Drop(stream, stamp_ns, out.refused))
            return out
        track = self._tracks[stream]
        track.observe(stamp_ns)
        track.held.append(Stamped(stamp_ns, time_ns, arrival_ns, payload))
        self._choose_reference()
        self._decide(out)
        if len(track.held) > self._config.queue_size:
            self._make_room(stream, out)
        return out

    def tick(self, now_ns: int) -> Decisions[Payload]:
        """Decide what has waited long enough by the caller's clock.

        Needed when a stream goes silent: without new stamps only this can end the waiting.
        """
        out: Decisions[Payload] = Decisions()
        self._advance(now_ns)
        self._decide(out)
        return out

    def reset(self, config: PairingConfig | None = None) -> Decisions[Payload]:
        """Drop held frames and all state, for example to apply new settings."""
        out: Decisions[Payload] = Decisions()
        self._clear(DropReason.RESET, out)
        self._tracks = {stream: _Track() for stream in Stream}
        self._now_ns = None
        self._config = config or self._config
        return out

    def _advance(self, now_ns: int) -> None:
        """Follow the caller's clock; when it is set back, nothing held is older than now."""
        if self._now_ns is not None and now_ns < self._now_ns:
            for track in self._tracks.values():
                track.held = deque(
                    Stamped(f.stamp_ns, f.time_ns, min(f.arrival_ns, now_ns), f.payload)
                    for f in track.held
                )
        self._now_ns = now_ns

    def _refusal(
        self, stream: Stream, stamp_ns: int, time_ns: int, out: Decisions[Payload]
    ) -> DropReason | None:
        track, partner = self._tracks[stream], self._tracks[stream.other]
        if stamp_ns <= 0:
            return DropReason.ZERO_STAMP
        if track.stale:
            # The other stream was set back and this one is not yet: its frames are of the old time.
            newest = partner.last_ns
            if newest is not None and (
                time_ns - (newest + self._config.offset_ns(stream.other)) > JUMP_NS
            ):
                return DropReason.CLOCK_JUMP
            track.stale = False
            track.last_ns = None
        if track.last_ns is None or stamp_ns > track.last_ns:
            return None
        if stamp_ns == track.last_ns:
            return DropReason.DUPLICATE
        track.reordered += 1
        if track.last_ns - stamp_ns <= JUMP_NS and track.reordered < _REORDERED_RUN:
            return DropReason.REORDERED
        self.clock_jumps += 1
        self._clear(DropReason.CLOCK_JUMP, out)
        track.last_ns = None
        partner.stale = True
        return None

    def _clear(self, reason: DropReason, out: Decisions[Payload]) -> None:
        for stream, track in self._tracks.items():
            out.drops += [Drop(stream, frame.stamp_ns, reason) for frame in track.held]
            track.held.clear()

    def _choose_reference(self) -> None:
        mine = self._tracks[self._reference].period_ns
        other = self._tracks[self._reference.other].period_ns
        if mine is not None and other is not None and other > mine * _SWITCH_RATIO:
            self._reference = self._reference.other

    def _newest_ns(self) -> int:
        times = [track.held[-1].time_ns for track in self._tracks.values() if track.held]
        return max(times)

    def _waited(self, frame: Stamped[Payload], limit_ns: int) -> bool:
        by_clock = self._now_ns is not None and self._now_ns - frame.arrival_ns > limit_ns
        return by_clock or self._newest_ns() - frame.time_ns > limit_ns

    def _decide(self, out: Decisions[Payload]) -> None:
        """Decide reference frames, oldest first, until one has to wait."""
        reference = self._tracks[self._reference].held
        while reference and self._decide_oldest(out, forced=False):
            pass
        self._retire_partners(out)

    def _decide_oldest(self, out: Decisions[Payload], *, forced: bool) -> bool:
        """Pair or drop the oldest reference frame; False when it should wait.

        Args:
            out: receives the decision.
            forced: there is no room to wait.
        """
        frame = self._tracks[self._reference].held[0]
        timed_out = self._waited(frame, self._config.max_wait_ns)
        index, complete = self._nearest(frame.time_ns)
        if not (complete or timed_out or forced):
            return False
        partners = self._tracks[self._reference.other].held
        if index is not None and partners[index].time_ns > frame.time_ns:
            successor = self._successor_ns()
            if successor is not None and self._gives_up(frame.time_ns, partners[index], successor):
                known = len(self._tracks[self._reference].held) > 1
                if not (known or timed_out or forced):
                    return False
                if known:
                    index = index - 1 if index else None
        if index is not None and self._matches(frame, partners[index]):
            self._emit(index, out)
            return True
        reason = DropReason.NO_PARTNER
        if not complete:
            reason = DropReason.OVERFLOW if forced else DropReason.TOO_OLD
        self._tracks[self._reference].held.popleft()
        out.drops.append(Drop(self._reference, frame.stamp_ns, reason))
        return True

    def _nearest(self, time_ns: int) -> tuple[int | None, bool]:
        """Return the index of the nearest partner, and whether no better one can come."""
        track = self._tracks[self._reference.other]
        if not track.held:
            return None, False
        index = min(range(len(track.held)), key=lambda i: abs(track.held[i].time_ns - time_ns))
        newest = track.held[-1].time_ns
        if newest >= time_ns:
            return index, True
        expected_worse = (
            track.period_ns is not None and newest + track.period_ns - time_ns > time_ns - newest
        )
        return index, expected_worse

    def _successor_ns(self) -> int | None:
        """Return the time of the next reference frame: the held one, or where it is expected."""
        track = self._tracks[self._reference]
        if len(track.held) > 1:
            return track.held[1].time_ns
        return None if track.period_ns is None else track.held[0].time_ns + track.period_ns

    def _gives_up(self, time_ns: int, partner: Stamped[Payload], successor_ns: int) -> bool:
        margin = int(_GIVE_UP_SHARE * (successor_ns - time_ns))
        return abs(partner.time_ns - successor_ns) + margin < partner.time_ns - time_ns

    def _matches(self, frame: Stamped[Payload], partner: Stamped[Payload]) -> bool:
        return abs(frame.time_ns - partner.time_ns) <= self._config.tolerance_ns

    def _emit(self, index: int, out: Decisions[Payload]) -> None:
        """Pair the oldest reference frame with partner `index`; what it passes over is surplus."""
        frame = self._tracks[self._reference].held.popleft()
        partners = self._tracks[self._reference.other].held
        for _ in range(index):
            self._drop_partner(DropReason.SURPLUS, out)
        partner = partners.popleft()
        rgb, thermal = (frame, partner) if self._reference is Stream.RGB else (partner, frame)
        out.pairs.append(Match(rgb, thermal))

    def _retire_partners(self, out: Decisions[Payload]) -> None:
        """Drop partner frames that no reference frame can be paired with."""
        reference = self._tracks[self._reference].held
        partners = self._tracks[self._reference.other].held
        while len(partners) > 1 and reference and partners[1].time_ns <= reference[0].time_ns:
            self._drop_partner(DropReason.SURPLUS, out)
        limit = self._config.max_wait_ns + self._config.tolerance_ns
        while partners and self._waited(partners[0], limit):
            self._drop_partner(DropReason.TOO_OLD, out)

    def _drop_partner(self, reason: DropReason, out: Decisions[Payload]) -> None:
        stream = self._reference.other
        frame = self._tracks[stream].held.popleft()
        out.drops.append(Drop(stream, frame.stamp_ns, reason))

    def _make_room(self, stream: Stream, out: Decisions[Payload]) -> None:
        """Reduce a stream with one frame too many to `queue_size`."""
        if stream is self._reference:
            self._decide_oldest(out, forced=True)
            self._decide(out)
        else:
            self._drop_partner(DropReason.OVERFLOW, out)
