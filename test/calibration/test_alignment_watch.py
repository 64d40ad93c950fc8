# SPDX-License-Identifier: Apache-2.0
"""A bumped camera is reported with its shift; wrong pairs, darkness and walls are not."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from edge_scenes import Image8, both_views, moved

from segmif_ros.calibration.alignment_watch import (
    CONFIRMED_AFTER,
    CONFIRMED_IN_ONE_SCENE_AFTER,
    LEAST_PAIRS,
    REFERENCE_WIDTH,
    WINDOW,
    Alignment,
    AlignmentState,
    AlignmentWatch,
)
from segmif_ros.registration import Calibration, Registration
from segmif_ros.rig.cameras.cameras import Pinhole, Rig
from segmif_ros.rig.draw.render import Renderer
from segmif_ros.rig.scene.planner import random_scene
from segmif_ros.thermal import ThermalNormaliser

UNKNOWN, ALIGNED, MOVED = AlignmentState
SMALL = (240, 320)
Pair = tuple[Image8, Image8]


def drive(count: int, dx: float = 0.0, *, start: int = 100) -> list[Pair]:
    """Pairs of as many places; `dx` in pixels of a picture 640 wide, these have half of it."""
    views = [both_views(start + number, SMALL) for number in range(count)]
    return [(rgb, moved(thermal, dx / 2, 0.0)) for rgb, thermal in views]


def stand(count: int, dx: float = 0.0, *, place: int = 90) -> list[Pair]:
    """Pairs of one place."""
    rgb, thermal = both_views(place, SMALL)
    return [(rgb, moved(thermal, dx / 2, 0.0))] * count


def feed(watch: AlignmentWatch, pairs: Iterable[Pair], warn_px: float = 4.0) -> list[Alignment]:
    return [watch.measure(rgb, thermal, warn_px=warn_px) for rgb, thermal in pairs]


def states(found: Iterable[Alignment]) -> list[AlignmentState]:
    return [each.state for each in found]


DARK = (np.zeros((*SMALL, 3), np.uint8), np.full(SMALL, 60, np.uint8))
FIRST = LEAST_PAIRS - 1 + CONFIRMED_AFTER
"""Pairs until the first conclusion."""


def half_size(rig: Rig) -> Rig:
    """The rig with half the pixels on a side."""
    small = replace(rig.thermal, intrinsics=Pinhole.from_hfov(320, 256, 68.0))
    return replace(rig.with_size(*SMALL[::-1]), thermal=small)


RIG = half_size(Rig.default())


def street(seed: int, lighting: str, rig: Rig, times: Iterable[float]) -> list[Pair]:
    """Registered pairs of the virtual rig, thermal registered as `RIG` was calibrated."""
    truth = RIG.thermal_to_rgb_homography(18.0)
    registration = Registration(Calibration(SMALL, (256, 320), truth))
    normaliser, renderer = ThermalNormaliser(), Renderer(random_scene(seed), rig, lighting)
    return [
        (
            renderer.visible(t)[0],
            registration.apply(normaliser.normalise(renderer.thermal(t)[0]), SMALL).copy(),
        )
        for t in times
    ]


def bumped(right_px: float, down_px: float) -> Rig:
    """`RIG` after a blow that moves the registered picture so far, pixels of 640 in width."""
    focal = RIG.rgb.intrinsics.fx * REFERENCE_WIDTH / SMALL[1]
    roll, pitch, yaw = RIG.thermal.rotation_rad
    turned = (roll, pitch - math.atan(down_px / focal), yaw + math.atan(right_px / focal))
    return replace(RIG, thermal=replace(RIG.thermal, rotation_rad=turned))


@pytest.mark.parametrize(
    ("seed", "lighting", "blow"), [(65, "day", (8.0, 0.0)), (61, "night", (0.0, 8.0))]
)
def test_a_bumped_camera_of_the_rig_is_reported_with_its_shift(
    seed: int, lighting: str, blow: tuple[float, float]
) -> None:
    watch, times = AlignmentWatch(), [4.0 * number for number in range(FIRST)]
    before = feed(watch, street(seed, lighting, RIG, times))
    assert states(before)[-1] is ALIGNED
    assert max(each.relative_px(each.shift) for each in before[LEAST_PAIRS:]) < 3.0
    times = [40.0 + 4.0 * number for number in range(WINDOW + CONFIRMED_AFTER - 1)]
    after = feed(watch, street(seed, lighting, bumped(*blow), times))
    assert states(after)[-1] is MOVED
    told = after[-1].last_confirmed
    assert told is not None
    zoom = REFERENCE_WIDTH / SMALL[1]
    assert math.hypot(told.dx * zoom - blow[0], told.dy * zoom - blow[1]) < 2.0
    assert after[-1].shift.agreement < 0.6


def test_a_moving_camera_is_reported_after_a_few_pairs_and_clears_when_it_is_corrected() -> None:
    watch = AlignmentWatch()
    assert states(feed(watch, drive(FIRST))) == [UNKNOWN] * (FIRST - 1) + [ALIGNED]
    after = feed(watch, drive(WINDOW + CONFIRMED_AFTER, 8.0, start=200))
    assert states(after)[:CONFIRMED_AFTER] == [ALIGNED] * CONFIRMED_AFTER
    assert states(after)[-1] is MOVED
    told = after[-1].last_confirmed
    assert told is not None
    assert (told.dx, told.dy) == pytest.approx((4.0, 0.0), abs=0.5)
    mended = feed(watch, drive(WINDOW + CONFIRMED_AFTER, start=300))
    assert states(mended)[-1] is ALIGNED
    told = mended[-1].last_confirmed
    assert told is not None
    assert told.rms_px < 0.5


def test_a_wrong_pair_changes_nothing() -> None:
    watch = AlignmentWatch()
    feed(watch, drive(FIRST))
    wrong = (both_views(500, SMALL)[0], both_views(501, SMALL)[1])
    assert set(states(feed(watch, [wrong, *drive(2, start=400), wrong]))) == {ALIGNED}
    strayed = feed(watch, [*stand(1, 12.0), *drive(3, start=420)])
    assert set(states(strayed)) == {ALIGNED}


def test_darkness_is_unknown_and_takes_back_no_warning() -> None:
    watch = AlignmentWatch()
    assert set(states(feed(watch, [DARK] * 6))) == {UNKNOWN}
    feed(watch, drive(FIRST, 8.0))
    dark = feed(watch, [DARK] * (WINDOW + CONFIRMED_AFTER))
    assert set(states(dark)) == {MOVED}
    assert dark[-1].judgement is UNKNOWN
    told = dark[-1].last_confirmed
    assert told is not None
    assert told.dx == pytest.approx(4.0, abs=0.5)


def test_what_was_aligned_is_unknown_after_a_while_in_darkness() -> None:
    watch = AlignmentWatch()
    feed(watch, drive(FIRST))
    assert states(feed(watch, [DARK] * (WINDOW + CONFIRMED_AFTER)))[-1] is UNKNOWN


def test_a_shift_that_one_scene_shows_from_the_start_takes_longer() -> None:
    """A wall near by looks like this, and so does a rig that was bumped before the start."""
    watch, needed = AlignmentWatch(), LEAST_PAIRS - 1 + CONFIRMED_IN_ONE_SCENE_AFTER
    found = states(feed(watch, stand(needed, 9.0)))
    assert found == [UNKNOWN] * (needed - 1) + [MOVED]


def test_a_rig_without_calibration_is_reported_with_its_shift() -> None:
    found = feed(AlignmentWatch(), drive(FIRST, 80.0), warn_px=1.0)[-1]
    assert found.state is MOVED
    assert found.last_confirmed is not None
    assert found.relative_px(found.last_confirmed) == pytest.approx(80.0, abs=4.0)


def test_parking_before_a_wall_is_no_blow() -> None:
    watch = AlignmentWatch()
    feed(watch, drive(FIRST))
    parked = feed(watch, stand(CONFIRMED_IN_ONE_SCENE_AFTER, 9.0))
    assert MOVED not in states(parked)
    assert states(feed(watch, drive(WINDOW + CONFIRMED_AFTER, start=300)))[-1] is ALIGNED


def test_a_sudden_shift_is_reported_soon() -> None:
    watch = AlignmentWatch()
    feed(watch, stand(FIRST))
    assert states(feed(watch, stand(WINDOW + CONFIRMED_AFTER, 9.0)))[-1] is MOVED


def test_the_limit_is_in_pixels_of_a_picture_640_wide() -> None:
    shifted = drive(FIRST, 7.0)
    found = feed(AlignmentWatch(), shifted, warn_px=8.0)[-1]
    assert found.state is ALIGNED
    assert found.shift.dx == pytest.approx(3.5, abs=0.3)
    assert found.relative_px(found.shift) == pytest.approx(7.0, abs=0.6)
    assert feed(AlignmentWatch(), shifted, warn_px=6.0)[-1].state is MOVED


def test_without_a_limit_nothing_counts_as_moved() -> None:
    assert feed(AlignmentWatch(), drive(FIRST, 30.0), warn_px=0.0)[-1].state is ALIGNED


def test_pictures_of_another_size_start_again() -> None:
    watch = AlignmentWatch()
    feed(watch, drive(FIRST))
    assert feed(watch, [both_views(700)])[-1].state is UNKNOWN
