# SPDX-License-Identifier: Apache-2.0
"""Edges of both cameras must look alike whatever their brightness and sign."""

from __future__ import annotations

import numpy as np

from segmif_ros.calibration.edge_agreement import orientation_field, shrink


def disc() -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    ys, xs = np.mgrid[0:80, 0:100]
    return np.where((xs - 50) ** 2 + (ys - 40) ** 2 < 400, 200.0, 50.0).astype(np.float32)


def test_a_negative_at_another_gain_has_the_same_edges() -> None:
    field = orientation_field(disc())
    assert float(np.abs(field).max()) > 0.5
    # The floor that keeps flat areas at 0 is the only difference.
    np.testing.assert_allclose(orientation_field(9000.0 - 20.0 * disc()), field, atol=0.02)


def test_a_flat_picture_has_no_edges() -> None:
    assert not orientation_field(np.full((40, 50), 7.0, np.float32)).any()


def test_dead_pixels_are_no_edges() -> None:
    image = np.full((64, 64), 21.5, np.float32)
    image[10, 20], image[30, 30] = np.nan, np.inf
    np.testing.assert_array_equal(shrink(image, 2.0), np.full((32, 32), 21.5))
    assert np.isfinite(shrink(np.full((64, 64), np.nan), 1.0)).all()
