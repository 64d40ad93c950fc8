# SPDX-License-Identifier: Apache-2.0
"""The pairer, with pure stamps: what it pairs, what it drops and why."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from segmif_ros.pairing import (
    MILLISECOND,
    Decisions,
    DropReason,
    Match,
    PairingConfig,
    Stream,
    StreamPairer,
)

MS = MILLISECOND
START = 1_700_000_000_000 * MS


@dataclass(frozen=True)
class Frame:
    stream: Stream
    stamp_ns: int
    arrival_ns: int


@dataclass
class Run:
    """Everything that came out of a pairer, and the check that nothing was lost."""

    pairer: StreamPairer[int]
    pairs: list[Match[int]] = field(default_factory=list)
    delays_ms: list[float] = field(default_factory=list)
    drops: Counter[tuple[Stream, DropReason]] = field(default_factory=Counter)
    pushed: Counter[Stream] = field(default_factory=Counter)

    def take(self, decisions: Decisions[int], now_ns: int) -> None:
        for pair in decisions.pairs:
            self.pairs.append(pair)
            self.delays_ms.append((now_ns - max(pair.rgb.arrival_ns, pair.thermal.arrival_ns)) / MS)
        for drop in decisions.drops:
            self.drops[drop.stream, drop.reason] += 1

    def push(self, frame: Frame) -> None:
        decisions = self.pairer.push(
            frame.stream, frame.stamp_ns, self.pushed[frame.stream], arrival_ns=frame.arrival_ns
        )
        self.pushed[frame.stream] += 1
        self.take(decisions, frame.arrival_ns)

    def feed(self, frames: Iterable[Frame]) -> Run:
        for frame in sorted(frames, key=lambda f: f.arrival_ns):
            self.push(frame)
        return self

    def reasons(self, stream: Stream) -> dict[DropReason, int]:
        return {reason: n for (s, reason), n in self.drops.items() if s is stream}

    def assert_conserved(self) -> None:
        for stream in Stream:
            dropped = sum(self.reasons(stream).values())
            assert self.pushed[stream] == len(self.pairs) + dropped + self.pairer.held(stream)
        for stream in Stream:
            used = [getattr(pair, stream.value).payload for pair in self.pairs]
            assert len(used) == len(set(used))

    def assert_monotonic(self) -> None:
        for stream in Stream:
            stamps = [getattr(pair, stream.value).stamp_ns for pair in self.pairs]
            assert all(a < b for a, b in itertools.pairwise(stamps))

    def median_dt_ms(self) -> float:
        return float(np.median([abs(pair.dt_ns) for pair in self.pairs])) / MS


def run(**settings: int) -> Run:
    return Run(StreamPairer(PairingConfig(**settings)))


def stream(
    which: Stream,
    rate_hz: float,
    seconds: float = 20.0,
    *,
    phase_ms: float = 0.0,
    delay_ms: float = 5.0,
    jitter_ms: float = 1.0,
    seed: int = 0,
    start_ns: int = START,
) -> list[Frame]:
    rng = np.random.default_rng([seed, 0 if which is Stream.RGB else 1])
    times = phase_ms + np.arange(int(seconds * rate_hz)) * 1000.0 / rate_hz
    stamps = np.sort(times + rng.normal(0.0, jitter_ms, times.size))
    return [
        Frame(which, start_ns + int(t * MS), start_ns + int((t + delay_ms) * MS)) for t in stamps
    ]


def at(which: Stream, *stamps_ms: float, delay_ms: float = 5.0) -> list[Frame]:
    return [Frame(which, START + int(t * MS), START + int((t + delay_ms) * MS)) for t in stamps_ms]


def optimum_ms(first: Sequence[Frame], second: Sequence[Frame]) -> float:
    """Median distance from each frame of the slower stream to the nearest of the other."""
    slow, fast = sorted((first, second), key=len)
    others = np.array([f.stamp_ns for f in fast], dtype=np.int64)
    return float(np.median([np.abs(others - f.stamp_ns).min() for f in slow])) / MS


RATES = [
    pytest.param(30, 9, 0.0, id="30-9"),
    pytest.param(30, 25, 0.0, id="30-25"),
    pytest.param(60, 30, 0.0, id="60-30"),
    pytest.param(30, 60, 0.0, id="30-60"),
    pytest.param(30, 30, 0.0, id="30-30"),
    pytest.param(30, 9, 60.0, id="30-9-thermal-late"),
    pytest.param(60, 30, 60.0, id="60-30-thermal-late"),
    pytest.param(30, 60, 60.0, id="30-60-thermal-late"),
    pytest.param(30, 30, 60.0, id="30-30-thermal-late"),
    pytest.param(30, 30, -60.0, id="30-30-rgb-late"),
    pytest.param(30, 60, -60.0, id="30-60-rgb-late"),
]


@pytest.mark.parametrize(("rgb_hz", "thermal_hz", "late_ms"), RATES)
@pytest.mark.parametrize("phase_ms", [0.0, 7.0, 13.0])
def test_pairs_are_as_near_as_they_can_be(rgb_hz, thermal_hz, late_ms, phase_ms):
    rgb = stream(Stream.RGB, rgb_hz, delay_ms=5.0 + max(0.0, -late_ms))
    thermal = stream(
        Stream.THERMAL, thermal_hz, phase_ms=phase_ms, delay_ms=5.0 + max(0.0, late_ms)
    )
    result = run(max_wait_ns=150 * MS, tolerance_ns=50 * MS).feed(rgb + thermal)

    assert result.median_dt_ms() <= optimum_ms(rgb, thermal) + 0.3
    assert len(result.pairs) >= 0.97 * min(len(rgb), len(thermal))
    result.assert_conserved()
    result.assert_monotonic()


def test_a_wider_tolerance_never_makes_pairs_worse():
    rgb = stream(Stream.RGB, 30)
    thermal = stream(Stream.THERMAL, 9, phase_ms=4.0)
    medians = [run(tolerance_ns=ms * MS).feed(rgb + thermal).median_dt_ms() for ms in (20, 50, 200)]
    assert max(medians) <= min(medians) + 0.1


def test_the_slower_stream_becomes_the_reference_and_equal_rates_do_not_flap():
    slow_thermal = run().feed(stream(Stream.RGB, 30) + stream(Stream.THERMAL, 9))
    assert slow_thermal.pairer.reference is Stream.THERMAL
    slow_rgb = run().feed(stream(Stream.RGB, 9) + stream(Stream.THERMAL, 30))
    assert slow_rgb.pairer.reference is Stream.RGB

    equal = run()
    seen = set()
    for frame in sorted(
        stream(Stream.RGB, 30) + stream(Stream.THERMAL, 30), key=lambda f: f.arrival_ns
    ):
        equal.push(frame)
        seen.add(equal.pairer.reference)
    assert seen == {Stream.RGB}


def test_a_rate_change_moves_the_reference():
    result = run().feed(stream(Stream.RGB, 30, 5) + stream(Stream.THERMAL, 9, 5))
    assert result.pairer.reference is Stream.THERMAL
    later = START + 6_000 * MS
    result.feed(
        stream(Stream.RGB, 5, 10, start_ns=later) + stream(Stream.THERMAL, 30, 10, start_ns=later)
    )
    assert result.pairer.reference is Stream.RGB
    result.assert_conserved()
    result.assert_monotonic()


def test_no_waiting_when_no_better_partner_can_come():
    rgb = stream(Stream.RGB, 30, jitter_ms=0.1)
    thermal = stream(Stream.THERMAL, 30, phase_ms=3.0, jitter_ms=0.1)
    result = run().feed(rgb + thermal)
    assert np.median(result.delays_ms) == 0.0
    assert max(result.delays_ms[5:]) == 0.0


def test_waits_for_a_better_partner_that_is_still_to_come():
    result = run()
    result.feed(at(Stream.THERMAL, 0, 33, 66, 100) + at(Stream.RGB, 1, 34, 67, 101))
    result.feed(at(Stream.RGB, 134))
    assert len(result.pairs) == 4
    result.feed(at(Stream.THERMAL, 133, delay_ms=40))
    assert result.pairs[-1].dt_ns == -1 * MS


def test_one_lost_frame_does_not_shift_equal_streams():
    rgb = stream(Stream.RGB, 30, jitter_ms=0.2)
    thermal = stream(Stream.THERMAL, 30, phase_ms=-2.0, jitter_ms=0.2)
    del thermal[100]
    result = run(tolerance_ns=40 * MS).feed(rgb + thermal)
    after = [abs(pair.dt_ns) / MS for pair in result.pairs[110:]]
    assert max(after) < 4.0
    assert result.reasons(Stream.RGB)[DropReason.NO_PARTNER] == 1
    result.assert_conserved()


def test_half_a_period_apart_costs_few_frames():
    rgb = stream(Stream.RGB, 30)
    thermal = stream(Stream.THERMAL, 30, phase_ms=16.67)
    result = run().feed(rgb + thermal)
    assert len(result.pairs) >= 0.95 * len(rgb)
    result.assert_conserved()


def test_random_loss_on_both_streams():
    rng = np.random.default_rng(7)
    rgb = [f for f in stream(Stream.RGB, 30, jitter_ms=0.5) if rng.random() > 0.1]
    thermal = [f for f in stream(Stream.THERMAL, 30, phase_ms=5.0) if rng.random() > 0.1]
    result = run().feed(rgb + thermal)
    both = round(0.81 * 600)
    assert len(result.pairs) >= 0.97 * both
    assert result.median_dt_ms() < 6.0
    result.assert_conserved()


def test_tolerance_is_inclusive_and_beyond_it_there_is_no_pair():
    frames = at(Stream.RGB, 0, 1000, 2000) + at(Stream.THERMAL, 20, 1021, 2020)
    result = run(tolerance_ns=20 * MS).feed(frames)
    assert [pair.dt_ns for pair in result.pairs] == [20 * MS, 20 * MS]
    assert result.reasons(Stream.RGB) == {DropReason.NO_PARTNER: 1}
    result.assert_conserved()


def test_zero_tolerance_pairs_equal_stamps():
    result = run(tolerance_ns=0).feed(at(Stream.RGB, 0, 33, 66) + at(Stream.THERMAL, 0, 33, 67))
    assert [pair.dt_ns for pair in result.pairs] == [0, 0]


def test_offsets_are_added_before_comparing_and_stamps_stay_as_they_were():
    rgb, thermal = at(Stream.RGB, 0, 100, 200), at(Stream.THERMAL, 40, 140, 240)
    assert not run(tolerance_ns=10 * MS).feed(rgb + thermal).pairs
    result = run(tolerance_ns=10 * MS, thermal_offset_ns=-40 * MS).feed(rgb + thermal)
    assert [pair.dt_ns for pair in result.pairs] == [0, 0, 0]
    assert result.pairs[0].thermal.stamp_ns == START + 40 * MS
    other_way = run(tolerance_ns=10 * MS, rgb_offset_ns=40 * MS).feed(rgb + thermal)
    assert len(other_way.pairs) == 3


def test_max_wait_by_stamps_without_ticks():
    result = run(max_wait_ns=100 * MS).feed(stream(Stream.RGB, 30, 2))
    assert not result.pairs
    assert set(result.reasons(Stream.RGB)) == {DropReason.TOO_OLD}
    assert result.pairer.held(Stream.RGB) <= 5
    result.assert_conserved()


@pytest.mark.parametrize("which", list(Stream))
def test_max_wait_by_the_callers_clock(which):
    result = run(max_wait_ns=100 * MS, tolerance_ns=30 * MS)
    result.push(Frame(which, START, arrival_ns=1_000))
    result.take(result.pairer.tick(1_000 + 100 * MS), 0)
    assert result.pairer.held(which) == 1
    result.take(result.pairer.tick(1_000 + 131 * MS), 0)
    assert result.reasons(which) == {DropReason.TOO_OLD: 1}
    result.assert_conserved()


def test_a_silent_stream_ends_the_wait_with_the_partner_there_is():
    result = run(tolerance_ns=40 * MS).feed(
        at(Stream.RGB, 0, 33, 66, 99) + at(Stream.THERMAL, 0, 33, 66)
    )
    assert len(result.pairs) == 3
    result.push(Frame(Stream.THERMAL, START + 75 * MS, START + 105 * MS))
    assert len(result.pairs) == 3, "a thermal frame nearer to 99 ms may still come"
    result.take(result.pairer.tick(START + 300 * MS), START + 300 * MS)
    assert result.pairs[-1].dt_ns == -24 * MS


def test_the_callers_clock_may_be_set_back():
    result = run(max_wait_ns=100 * MS)
    result.push(Frame(Stream.RGB, START, arrival_ns=50_000 * MS))
    result.take(result.pairer.tick(1 * MS), 0)
    assert result.pairer.held(Stream.RGB) == 1
    result.take(result.pairer.tick(140 * MS), 0)
    assert result.reasons(Stream.RGB) == {DropReason.TOO_OLD: 1}


def test_stamps_of_another_epoch_never_pair_and_stay_bounded():
    thermal = stream(Stream.THERMAL, 30, 5, start_ns=START)
    rgb = [
        Frame(f.stream, f.stamp_ns - 3_600_000 * MS, f.arrival_ns)
        for f in stream(Stream.RGB, 30, 5)
    ]
    result = run().feed(rgb + thermal)
    assert not result.pairs
    assert all(result.pairer.held(s) <= 10 for s in Stream)
    result.assert_conserved()


def test_refusals_by_stamp():
    result = run().feed(at(Stream.RGB, 0))
    result.push(Frame(Stream.RGB, 0, START))
    result.push(Frame(Stream.RGB, -5, START))
    result.push(Frame(Stream.RGB, START, START))
    result.push(Frame(Stream.RGB, START - 500 * MS, START))
    assert result.reasons(Stream.RGB) == {
        DropReason.ZERO_STAMP: 2,
        DropReason.DUPLICATE: 1,
        DropReason.REORDERED: 1,
    }
    result.feed(at(Stream.THERMAL, 1, 30))
    assert len(result.pairs) == 1
    result.assert_conserved()


def test_two_streams_of_zero_stamps_never_pair():
    result = run()
    for i in range(10):
        for which in Stream:
            result.push(Frame(which, 0, START + i * MS))
    assert not result.pairs
    assert result.drops[Stream.RGB, DropReason.ZERO_STAMP] == 10


@pytest.mark.parametrize("rates", [(30, 30), (30, 60), (30, 9), (60, 30)])
def test_a_looped_bag_pairs_as_well_in_every_round(rates):
    result = run()
    per_round = []
    for lap in range(4):
        before = len(result.pairs)
        for frame in sorted(
            stream(Stream.RGB, rates[0], 10, seed=1)
            + stream(Stream.THERMAL, rates[1], 10, phase_ms=3.0, seed=1),
            key=lambda f: f.arrival_ns,
        ):
            late = frame.arrival_ns + lap * 10_000 * MS
            result.push(Frame(frame.stream, frame.stamp_ns, late))
        per_round.append(len(result.pairs) - before)
    assert min(per_round) >= 0.98 * max(per_round) - 2
    assert min(per_round) >= 0.97 * 10 * min(rates)
    assert result.pairer.clock_jumps == 3
    result.assert_conserved()


def test_frames_of_the_old_time_after_a_jump_do_not_reset_twice():
    result = run().feed(stream(Stream.RGB, 30, 10) + stream(Stream.THERMAL, 30, 10))
    result.push(Frame(Stream.RGB, START + 1 * MS, START + 10_010 * MS))
    result.push(Frame(Stream.THERMAL, START + 10_001 * MS, START + 10_012 * MS))
    assert result.drops[Stream.THERMAL, DropReason.CLOCK_JUMP] >= 1
    before = len(result.pairs)
    result.push(Frame(Stream.THERMAL, START + 2 * MS, START + 10_015 * MS))
    assert len(result.pairs) == before + 1
    assert result.pairer.clock_jumps == 1
    result.assert_conserved()


def test_a_very_short_bag_in_a_loop_still_pairs():
    result = run()
    for lap in range(5):
        for i in range(24):
            for which, shift in ((Stream.RGB, 0), (Stream.THERMAL, 2)):
                now = START + (lap * 800 + i * 33 + shift) * MS
                result.push(Frame(which, START + (i * 33 + shift) * MS, now))
    assert len(result.pairs) >= 24 + 4 * 15
    result.assert_conserved()


def test_one_camera_set_back_and_put_right_again():
    result = run()
    result.feed(stream(Stream.RGB, 30, 5) + stream(Stream.THERMAL, 30, 5))
    middle = START + 5_000 * MS
    wrong = [
        Frame(f.stream, f.stamp_ns - 7_200_000 * MS, f.arrival_ns)
        for f in stream(Stream.THERMAL, 30, 5, start_ns=middle)
    ]
    paired = len(result.pairs)
    result.feed(stream(Stream.RGB, 30, 5, start_ns=middle) + wrong)
    assert len(result.pairs) <= paired + 1
    again = middle + 5_000 * MS
    result.feed(
        stream(Stream.RGB, 30, 5, start_ns=again) + stream(Stream.THERMAL, 30, 5, start_ns=again)
    )
    assert len(result.pairs) >= paired + 140
    assert result.pairer.clock_jumps == 1
    result.assert_conserved()


@pytest.mark.parametrize("ahead_s", [-5, 5])
def test_the_old_time_of_a_short_loop_is_known_by_the_offset(ahead_s):
    """After three seconds thermal starts again first; RGB has frames of the old time left."""
    ahead = ahead_s * 1_000 * MS
    result = run(thermal_offset_ns=-ahead)
    for at in range(0, 3_001, 100):
        for which, shift in ((Stream.RGB, 0), (Stream.THERMAL, ahead)):
            result.push(Frame(which, START + at * MS + shift, START + at * MS))
    assert len(result.pairs) == 31
    now = START + 3_050 * MS
    result.push(Frame(Stream.THERMAL, START + ahead, now))
    result.push(Frame(Stream.RGB, START + 3_100 * MS, now))
    assert result.drops[Stream.RGB, DropReason.CLOCK_JUMP] == 1
    result.push(Frame(Stream.RGB, START, now))
    assert len(result.pairs) == 32
    result.assert_conserved()


def test_a_frame_that_leaves_the_nearest_to_its_successor_takes_the_one_before():
    result = run()
    frames = ((Stream.RGB, 1000), (Stream.RGB, 1016), (Stream.THERMAL, 980), (Stream.THERMAL, 1015))
    for which, at in frames:
        result.push(Frame(which, START + at * MS, START + 1016 * MS))
    result.take(result.pairer.tick(START + 1500 * MS), START + 1500 * MS)
    found = [(pair.rgb.stamp_ns - START, pair.thermal.stamp_ns - START) for pair in result.pairs]
    assert found == [(1000 * MS, 980 * MS), (1016 * MS, 1015 * MS)]
    result.assert_conserved()


def test_a_forward_jump_of_hours_is_followed_at_once():
    hours = 5 * 3_600_000 * MS
    result = run().feed(stream(Stream.RGB, 30, 5) + stream(Stream.THERMAL, 9, 5))
    before = len(result.pairs)
    result.feed(
        stream(Stream.RGB, 30, 5, start_ns=START + hours)
        + stream(Stream.THERMAL, 9, 5, start_ns=START + hours)
    )
    assert len(result.pairs) - before >= 43
    assert result.pairer.clock_jumps == 0
    assert result.pairer.period_ns(Stream.THERMAL) == pytest.approx(111 * MS, abs=4 * MS)
    result.assert_conserved()
    result.assert_monotonic()


def test_one_stamp_from_the_future_costs_one_reset():
    rgb = stream(Stream.RGB, 30, 5)
    rgb[50] = Frame(Stream.RGB, START + 10**9 * MS, rgb[50].arrival_ns)
    result = run().feed(rgb + stream(Stream.THERMAL, 30, 5))
    assert result.pairer.clock_jumps == 1
    assert len(result.pairs) >= 140
    result.assert_conserved()


@pytest.mark.parametrize("queue_size", [1, 2, 3])
def test_memory_is_bounded(queue_size):
    result = run(queue_size=queue_size, max_wait_ns=10_000 * MS)
    for frame in stream(Stream.RGB, 60, 5):
        result.push(frame)
        assert result.pairer.held(Stream.RGB) <= queue_size
    assert set(result.reasons(Stream.RGB)) == {DropReason.OVERFLOW}
    result.assert_conserved()


def test_overflow_of_the_partner_stream():
    result = run(queue_size=3, max_wait_ns=10_000 * MS).feed(at(Stream.THERMAL, *range(0, 90, 10)))
    assert result.reasons(Stream.THERMAL) == {DropReason.OVERFLOW: 6}
    result.assert_conserved()


def test_surplus_frames_of_the_faster_stream_are_named_so():
    result = run().feed(stream(Stream.RGB, 60, 10) + stream(Stream.THERMAL, 30, 10))
    reasons = result.reasons(Stream.RGB)
    assert reasons[DropReason.SURPLUS] >= 0.95 * sum(reasons.values())
    assert sum(result.reasons(Stream.THERMAL).values()) <= 3


def test_reset_gives_back_what_is_held_and_takes_new_settings():
    result = run().feed(at(Stream.RGB, 0, 33))
    config = PairingConfig(tolerance_ns=5 * MS)
    result.take(result.pairer.reset(config), 0)
    assert result.reasons(Stream.RGB) == {DropReason.RESET: 2}
    assert result.pairer.config is config
    result.feed(at(Stream.RGB, 0, 33) + at(Stream.THERMAL, 0, 33))
    assert len(result.pairs) == 2, "the past is forgotten: the same stamps are new again"
    result.assert_conserved()


@pytest.mark.parametrize("settings", [{"tolerance_ns": -1}, {"max_wait_ns": -1}, {"queue_size": 0}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ValueError, match=rf"{next(iter(settings))} is -?\d"):
        PairingConfig(**settings)


@pytest.mark.parametrize("seed", range(40))
def test_nothing_is_lost_whatever_comes(seed):
    """Random streams with loss, bursts, jumps, repeats, disorder, ticks and resets."""
    rng = np.random.default_rng(seed)
    result = run(
        tolerance_ns=int(rng.integers(0, 60)) * MS,
        max_wait_ns=int(rng.integers(0, 200)) * MS,
        queue_size=int(rng.integers(1, 12)),
        thermal_offset_ns=int(rng.integers(-50, 50)) * MS,
    )
    clock = dict.fromkeys(Stream, START)
    period = {which: int(rng.uniform(5, 120) * MS) for which in Stream}
    now = START
    for _ in range(600):
        which = Stream.RGB if rng.random() < 0.5 else Stream.THERMAL
        kind = rng.random()
        step = int(period[which] * rng.uniform(0.7, 1.3))
        if kind < 0.02:
            step = int(rng.choice([-3_600_000, -3_000, -300, 5_000, 3_600_000])) * MS
        elif kind < 0.05:
            step = 0
        clock[which] += step
        now += int(rng.integers(0, 30)) * MS - (int(rng.integers(0, 9_000)) * MS) * (kind > 0.99)
        stamp = 0 if 0.05 < kind < 0.06 else clock[which]
        result.push(Frame(which, stamp, now))
        if kind > 0.9:
            result.take(result.pairer.tick(now), now)
        if kind > 0.995:
            result.take(result.pairer.reset(), now)
        result.assert_conserved()
        assert all(abs(p.dt_ns) <= result.pairer.config.tolerance_ns for p in result.pairs[-1:])
        assert all(result.pairer.held(s) <= result.pairer.config.queue_size for s in Stream)


@pytest.mark.parametrize(("gap_ms", "known"), [(9_900, True), (10_000, True), (10_001, False)])
def test_a_pause_is_no_period(gap_ms: int, known: bool) -> None:
    result = run().feed(at(Stream.RGB, *range(0, 6 * gap_ms, gap_ms)))
    assert result.pairer.period_ns(Stream.RGB) == (gap_ms * MS if known else None)


def test_a_partner_that_would_be_as_near_is_waited_for_and_a_worse_one_is_not() -> None:
    for rgb_ms, pairs in ((220, 0), (219, 1)):
        result = run().feed(at(Stream.THERMAL, *range(0, 211, 30)))
        result.feed(at(Stream.RGB, rgb_ms + 5))
        assert len(result.pairs) == pairs, rgb_ms
