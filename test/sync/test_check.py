# SPDX-License-Identifier: Apache-2.0
"""Clock offset and settings on pictures of the virtual rig, tilted as a hand or a road would."""

from __future__ import annotations

import functools

import cv2
import numpy as np
import pytest

from segmif_ros.rig.cameras.cameras import Rig
from segmif_ros.rig.draw.render import Renderer
from segmif_ros.rig.scene.planner import random_scene
from segmif_ros.sync.check import StreamLog, SyncReport, sync_report

MS = 1_000_000
START = 1_700_000_000_000 * MS
SECONDS = 8.0
RGB_HZ, THERMAL_HZ = 15.0, 9.0
PHASE_S = 0.013


def tilt(image: np.ndarray, t: float, amount: float) -> np.ndarray:
    """What a small turn of the rig does to a picture, the same share of it in both cameras."""
    dx = np.sin(2.3 * t) + 0.6 * np.sin(5.7 * t + 1) + 0.4 * np.sin(14.5 * t + 2)
    dy = 0.7 * np.sin(3.3 * t + 0.5) + 0.5 * np.sin(10.7 * t)
    height, width = image.shape[:2]
    move = np.array([[1, 0, amount * dx * width], [0, 1, amount * dy * height]])
    return cv2.warpAffine(image, move, (width, height), borderMode=cv2.BORDER_REFLECT)


@functools.cache
def frames(seed: int, lighting: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    renderer = Renderer(random_scene(seed), Rig.default(), lighting)
    rgb = [renderer.visible(float(t))[0] for t in np.arange(0, SECONDS, 1 / RGB_HZ)]
    thermal = [renderer.thermal(float(t))[0] for t in np.arange(PHASE_S, SECONDS, 1 / THERMAL_HZ)]
    return rgb, thermal


def report(seed: int, lighting: str, late_ms: float, amount: float) -> SyncReport:
    logs = StreamLog(), StreamLog()
    rates = ((RGB_HZ, 0.0, 0.0), (THERMAL_HZ, PHASE_S, late_ms))
    for log, images, (rate, phase, late) in zip(logs, frames(seed, lighting), rates, strict=True):
        for i, image in enumerate(images):
            t = phase + i / rate
            stamp = START + round(t * 1e9 + late * MS)
            log.add(stamp, START + round(t * 1e9) + 20 * MS, tilt(image, t, amount))
    return sync_report(*logs)


@pytest.mark.parametrize(("lighting", "late_ms"), [("day", 80.0), ("day", 0.0), ("night", -45.0)])
def test_the_offset_of_a_tilted_rig_is_found(lighting: str, late_ms: float) -> None:
    found = report(51, lighting, late_ms, 0.01)
    assert found.clocks.offset_ms == pytest.approx(late_ms, abs=10.0)
    assert found.clocks.agreement > 0.7
    # 15 Hz against 9 Hz: half of the faster period, and the offset taken out.
    assert found.settings["thermal_offset_ms"] == pytest.approx(-late_ms, abs=10.0)
    assert 34.0 <= found.settings["tolerance_ms"] <= 37.0
    assert found.paired > 0.98
    # Both cameras' images come 20 ms after their time: wrong stamps are no reason to wait longer.
    assert found.settings["max_wait_ms"] == 120.0


def test_a_rig_that_does_not_move_is_no_evidence() -> None:
    found = report(51, "night", 80.0, 0.0)
    assert found.clocks.offset_ms is None
    assert "tilt the rig" in found.clocks.reason or "repeats" in found.clocks.reason
    assert "thermal_offset_ms" not in found.settings


def test_two_drives_have_no_common_clock() -> None:
    logs = StreamLog(), StreamLog()
    for log, images, seed in zip(logs, frames(51, "day"), (1, 2), strict=True):
        rng = np.random.default_rng(seed)
        for i, image in enumerate(images):
            log.add(START + i * 100 * MS, START, tilt(image, float(rng.uniform(0, 99)), 0.01))
    assert sync_report(*logs).clocks.offset_ms is None


def test_what_is_wrong_is_named() -> None:
    rgb, thermal = StreamLog(), StreamLog()
    noise = np.random.default_rng(0).integers(0, 255, (60, 48, 64), np.uint8)
    for i in range(60):
        rgb.add(0 if i == 4 else START + i * 50 * MS, START + i * 50 * MS, noise[i])
        if not 20 <= i < 25:
            thermal.add(START + i * 50 * MS, START, noise[40 if i > 40 else i])
    thermal.refuse("encoding 'bayer_rggb8'")
    text = "\n".join(sync_report(rgb, thermal).problems)
    assert "RGB: 1 stamps are zero" in text
    assert "thermal: 5 frames missing (8.3%), longest gap 300 ms" in text
    assert "thermal: the same picture for 950 ms" in text
    assert "thermal: 1 images refused: encoding 'bayer_rggb8'" in text


def test_one_frame_a_camera_is_no_crash() -> None:
    logs = StreamLog(), StreamLog()
    for log in logs:
        log.add(START, START, np.zeros((48, 64), np.uint8))
    found = sync_report(*logs)
    assert found.clocks.offset_ms is None
    assert not found.settings
    assert found.paired == 0.0


def test_a_clock_that_is_set_on_the_way_is_named() -> None:
    logs = StreamLog(), StreamLog()
    noise = np.random.default_rng(0).integers(0, 255, (60, 48, 64), np.uint8)
    for i in range(60):
        for log in logs:
            stamp = (START if i >= 20 else MS) + i * 100 * MS
            log.add(stamp, START + i * 100 * MS, noise[i])
    found = sync_report(*logs)
    assert found.clocks.offset_ms is None
    assert "stamps jump by 1700000000 s" in found.clocks.reason
    assert found.settings["max_wait_ms"] < 200.0


@pytest.mark.parametrize("ahead_s", [37.0, -18.0, 7200.0])
def test_two_clocks_are_reported_though_nothing_pairs(ahead_s):
    rgb, thermal = StreamLog(), StreamLog()
    rng = np.random.default_rng(0)
    for number in range(80):
        now_ns = 1_760_000_000_000_000_000 + number * 100_000_000
        rgb.add(now_ns, now_ns + 5_000_000, rng.integers(0, 255, (48, 64, 3), np.uint8))
        stamp_ns = now_ns + round(ahead_s * 1e9)
        thermal.add(stamp_ns, now_ns + 30_000_000, rng.integers(0, 255, (48, 64), np.uint8))
    report = sync_report(rgb, thermal)
    assert report.settings["thermal_offset_ms"] == -1000.0 * ahead_s
    assert report.paired == 1.0
    assert "the cameras' clocks differ" in report.problems[0]


def test_a_driver_that_counts_since_boot_is_named():
    rgb, thermal = StreamLog(), StreamLog()
    rng = np.random.default_rng(0)
    for number in range(80):
        now_ns = 1_760_000_000_000_000_000 + number * 100_000_000
        rgb.add(now_ns, now_ns, rng.integers(0, 255, (48, 64, 3), np.uint8))
        thermal.add(1 + number * 100_000_000, now_ns, rng.integers(0, 255, (48, 64), np.uint8))
    report = sync_report(rgb, thermal)
    assert "thermal_offset_ms" not in report.settings
    assert "let both drivers stamp" in report.problems[0]
    assert report.clocks.offset_ms is None
