# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from benchmarks.dds.source_images import read_source_images, scaled_rig, write_source_images
from segmif_ros.rig.cameras.cameras import Rig


def test_pairs_have_the_requested_sizes_and_differ(tmp_path: Path) -> None:
    write_source_images(tmp_path / "a.npz", (320, 256), (160, 128), pairs=3)
    rgb, thermal = read_source_images(tmp_path / "a.npz")
    assert rgb.shape == (3, 256, 320, 3)
    assert rgb.dtype == np.uint8
    assert thermal.shape == (3, 128, 160)
    assert thermal.dtype == np.uint16
    assert not np.array_equal(rgb[0], rgb[2])
    assert thermal.std() > 10.0, "a flat thermal image would cost less than a real one"


def test_the_scaled_rig_maps_the_scaled_pixels() -> None:
    """Where a pixel's corner lands may not depend on how finely the pictures are sampled."""
    plain = Rig.default()
    scaled = scaled_rig((1280, 1024), (320, 256))
    point = np.array([[[300.0, 200.0]]])
    there = cv2.perspectiveTransform(point, plain.thermal_to_rgb_homography())
    small = (point + 0.5) * [320 / 640, 256 / 512] - 0.5
    large = cv2.perspectiveTransform(small, scaled.thermal_to_rgb_homography())
    np.testing.assert_allclose((large + 0.5) / [1280 / 640, 1024 / 480] - 0.5, there, atol=1e-6)
