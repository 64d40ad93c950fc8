# SPDX-License-Identifier: Apache-2.0
"""What holds for any stamps, any order and any grouping.

HYPOTHESIS_PROFILE=long looks for longer.
"""

from __future__ import annotations

import json
from collections import Counter
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("hypothesis", reason="pip install 'segmif_ros[test]'")

from hypothesis import given
from hypothesis import strategies as st

from segmif_ros.bundle import LabelClass
from segmif_ros.evaluation.scores import Histogram
from segmif_ros.metrics.boxes import Box, BoxScores
from segmif_ros.metrics.segmentation import SegmentationScores
from segmif_ros.metrics.tally import ExactMean
from segmif_ros.pairing import JUMP_NS, MILLISECOND, PairingConfig, Stream, StreamPairer
from segmif_ros.parameters import ModePolicy
from segmif_ros.ros.node.modes import ALONE, MAY_GO_ON, Mode, ModeTracker, Problem, StampGate
from segmif_ros.ros.node.statistics import Rate, Samples

MS = MILLISECOND
STEPS = st.integers(-80, 80) | st.sampled_from([0, 33, 34, 1001, -1001, 3_600_000, -20_000])
STREAMS = st.sampled_from(list(Stream))


@given(
    events=st.lists(st.tuples(STREAMS, STEPS, st.integers(-5, 60), st.integers(0, 9)), max_size=80),
    config=st.builds(
        PairingConfig,
        tolerance_ns=st.integers(0, 60).map(lambda ms: ms * MS),
        max_wait_ns=st.integers(0, 150).map(lambda ms: ms * MS),
        rgb_offset_ns=st.integers(-50, 50).map(lambda ms: ms * MS),
        thermal_offset_ns=st.integers(-50, 50).map(lambda ms: ms * MS),
        queue_size=st.integers(1, 6),
    ),
)
def test_the_pairer_loses_doubles_and_mixes_no_frame(
    events: list[tuple[Stream, int, int, int]], config: PairingConfig
) -> None:
    pairer: StreamPairer[tuple[Stream, int]] = StreamPairer(config)
    stamps = dict.fromkeys(Stream, 1_700_000_000_000)
    now_ms, pushed, ended = 0, Counter[Any](), Counter[Any]()
    paired: set[tuple[Stream, int]] = set()
    for serial, (stream, step, wait, what) in enumerate(events):
        now_ms += wait
        if what == 0:
            made = pairer.tick(now_ms * MS)
        elif what == 1:
            made = pairer.reset()
        else:
            stamps[stream] += step
            stamp_ns = 0 if what == 2 else stamps[stream] * MS
            pushed[stream, stamp_ns] += 1
            made = pairer.push(stream, stamp_ns, (stream, serial), arrival_ns=now_ms * MS)
        for match in made.pairs:
            assert match.rgb.payload[0] is Stream.RGB
            assert match.thermal.payload[0] is Stream.THERMAL
            assert abs(match.dt_ns) <= config.tolerance_ns
            for own, frame in ((Stream.RGB, match.rgb), (Stream.THERMAL, match.thermal)):
                assert frame.payload not in paired
                paired.add(frame.payload)
                ended[own, frame.stamp_ns] += 1
        ended.update((drop.stream, drop.stamp_ns) for drop in made.drops)
        held = {stream: pairer.held(stream) for stream in Stream}
        assert max(held.values()) <= config.queue_size
        for each in Stream:
            begun = sum(n for (s, _), n in pushed.items() if s is each)
            assert begun == sum(n for (s, _), n in ended.items() if s is each) + held[each]
    ended.update((drop.stream, drop.stamp_ns) for drop in pairer.reset().drops)
    assert ended == pushed


@given(
    events=st.lists(
        st.tuples(st.integers(1, 400), st.integers(0, 3), st.integers(0, 3), st.booleans()),
        max_size=80,
    ),
    policy=st.builds(
        ModePolicy, st.sampled_from(sorted(MAY_GO_ON)), st.integers(100, 2000).map(lambda m: m * MS)
    ),
)
def test_the_mode_is_always_one_that_cameras_and_policy_allow(
    events: list[tuple[int, int, int, bool]], policy: ModePolicy
) -> None:
    now_ns = 0
    modes = ModeTracker(now_ns)
    usable: set[Stream] = set()
    for wait_ms, rgb, thermal, pair in events:
        now_ns += wait_ms * MS
        for stream, what in ((Stream.RGB, rgb), (Stream.THERMAL, thermal)):
            if what == 1:
                modes.image(stream, now_ns)
                usable.add(stream)
            elif what > 1:
                problem = Problem.FROZEN if what == 2 else Problem.UNUSABLE
                modes.trouble(stream, problem, now_ns)
                usable -= {stream} if what == 2 else set()
        if pair and rgb == thermal == 1:
            modes.pair(now_ns)
        before = modes.status
        assert modes.decide(policy, now_ns) == (modes.status != before)
        mode = modes.status.mode
        for stream, alone in ALONE.items():
            if mode is alone:
                assert stream in MAY_GO_ON[policy.degraded_mode]
                assert stream in usable
        if mode is Mode.FUSED and before.mode is not Mode.FUSED:
            assert usable == set(Stream)
        if not usable:
            assert mode in (Mode.WAITING, Mode.STOPPED)
        assert modes.status.reason


@given(st.lists(st.integers(0, 5_000), max_size=60))
def test_no_stamp_comes_out_twice_until_the_clock_was_set_back(stamps_ms: list[int]) -> None:
    gate, out = StampGate(), list[int]()
    for stamp_ns in (ms * MS for ms in stamps_ms):
        if gate.passes(stamp_ns):
            assert not out or stamp_ns > out[-1] or stamp_ns < out[-1] - JUMP_NS
            out.append(stamp_ns)
        else:
            assert out[-1] - JUMP_NS <= stamp_ns <= out[-1]


FLOATS = st.floats(-1e6, 1e6)


@given(values=st.lists(FLOATS, max_size=40), capacity=st.integers(1, 12), since=st.integers(0, 40))
def test_samples_are_the_newest_and_their_percentiles(
    values: list[float], capacity: int, since: int
) -> None:
    samples = Samples(capacity)
    for value in values:
        samples.add(value)
    kept = values[-capacity:]
    assert samples.count == len(values)
    assert samples.newest(capacity) == kept
    late = values[since:][-capacity:]
    found = samples.percentiles(since)
    assert (found is None) == (not late)
    if found is not None:
        assert np.allclose(found, np.percentile(late, (50, 95, 99)))


@given(gaps_ms=st.lists(st.integers(0, 700), min_size=3, max_size=40), late_ms=st.integers(0, 9000))
def test_a_rate_lies_between_none_and_the_fastest_gap(gaps_ms: list[int], late_ms: int) -> None:
    rate, now_ns = Rate(), 0
    for gap in gaps_ms:
        now_ns += gap * MS
        rate.add(now_ns)
    hz = rate.hz(now_ns + late_ms * MS)
    fastest = min(gaps_ms[1:])
    assert hz >= 0.0
    assert not fastest or hz <= 1000 / fastest + 1e-9
    assert late_ms <= 5000 or hz == 0.0


@given(values=st.lists(FLOATS, min_size=1, max_size=40), data=st.data())
def test_an_exact_mean_does_not_depend_on_order_or_grouping(
    values: list[float], data: st.DataObject
) -> None:
    whole = ExactMean()
    for value in values:
        whole.add(value)
    groups = [ExactMean() for _ in range(4)]
    for value in data.draw(st.permutations(values)):
        data.draw(st.sampled_from(groups)).add(value)
    merged = ExactMean()
    for group in data.draw(st.permutations(groups)):
        merged.merge(ExactMean(*json.loads(json.dumps(group.state()))))
    assert merged.state() == whole.state()
    true = float(sum(map(Fraction, values)) / len(values))
    assert whole.value == pytest.approx(true, abs=2**-40, rel=1e-12)


CLASSES = tuple(LabelClass(i, f"class {i}", (i, i, i)) for i in range(4))
PROTOCOL: Any = SimpleNamespace(name="all", counted=(0, 1, 2, 3), ignored=())


def _segmentation() -> SegmentationScores:
    return SegmentationScores(CLASSES, PROTOCOL)


def _count(scores: tuple[Any, ...], frame: tuple[int, str]) -> None:
    seed, split = frame
    segmentation, boxes, times = scores
    pick = np.random.default_rng(seed)
    truth, mask = pick.integers(0, 4, (2, 12, 16), np.uint8)
    segmentation.add(truth, mask, split=split)
    boxes.add([Box(1, 2, 3, 9, 10)], mask, (1, 2), split=split)
    times.add(float(pick.uniform(0, 90)))


FRAMES = st.tuples(st.integers(0, 99), st.sampled_from(["", "day", "night"]))


@given(frames=st.lists(FRAMES, max_size=8), data=st.data())
def test_reports_of_parts_add_up_to_the_report_of_the_whole(
    frames: list[tuple[int, str]], data: st.DataObject
) -> None:
    def empty() -> tuple[Any, ...]:
        return _segmentation(), BoxScores(), Histogram()

    whole, parts, merged = empty(), [empty() for _ in range(3)], empty()
    for frame in frames:
        _count(whole, frame)
        _count(data.draw(st.sampled_from(parts)), frame)
    for segmentation, boxes, times in data.draw(st.permutations(parts)):
        text = json.dumps([segmentation.state(), boxes.state(), times.state()])
        of_masks, of_boxes, of_times = json.loads(text)
        merged[0].merge(SegmentationScores.from_state(of_masks, CLASSES, PROTOCOL))
        merged[1].merge(BoxScores.from_state(of_boxes))
        merged[2].merge(Histogram.from_state(of_times))
    for one, other in zip(whole, merged, strict=True):
        assert _sorted(one.state()) == _sorted(other.state())


def _sorted(value: Any) -> Any:
    """Counts in any order."""
    if isinstance(value, dict) and isinstance(value.get("counts"), list):
        return {**value, "counts": sorted(value["counts"], key=str)}
    return value
