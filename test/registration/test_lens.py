# SPDX-License-Identifier: Apache-2.0
"""The lens models are OpenCV's, both ways, and stop where they turn back."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from segmif_ros.registration import Intrinsics, RegistrationError

K = np.array([[420.0, 0.0, 322.5], [0.0, 419.0, 236.0], [0.0, 0.0, 1.0]])
SIZE = (480, 640)
LENSES: dict[str, tuple[str, tuple[float, ...]]] = {
    "none": ("plumb_bob", ()),
    "four": ("plumb_bob", (-0.2, 0.05, 0.002, -0.001)),
    "barrel": ("plumb_bob", (-0.31, 0.12, 0.001, -0.0007, -0.02)),
    "pincushion": ("plumb_bob", (0.21, 0.08, -0.003, 0.002, 0.01)),
    "rational": ("rational_polynomial", (4.1, 2.0, 0.0004, -0.0003, 0.1, 4.4, 3.3, 0.6)),
    "fisheye": ("equidistant", (-0.02, 0.004, -0.002, 0.0005)),
}


def camera(lens: str, matrix: NDArray[np.float64] = K) -> Intrinsics:
    return Intrinsics(SIZE, matrix, *LENSES[lens])


def all_pixels(step: int = 1) -> NDArray[np.float64]:
    ys, xs = np.mgrid[0 : SIZE[0] : step, 0 : SIZE[1] : step].astype(float)
    return np.column_stack([xs.ravel(), ys.ravel()])


def opencv_pixels(lens: str, normalised: NDArray[np.float64]) -> Any:
    model, d = LENSES[lens]
    points = np.column_stack([normalised, np.ones(len(normalised))])[:, None]
    project = cv2.fisheye.projectPoints if model == "equidistant" else cv2.projectPoints
    found, _ = project(points, np.zeros(3), np.zeros(3), K, np.array(d) if d else None)
    return found.reshape(-1, 2)


@pytest.mark.parametrize("lens", LENSES)
def test_every_pixel_goes_there_and_back(lens: str) -> None:
    pixels = all_pixels(3)
    normalised, reached = camera(lens).to_normalised(pixels)
    assert reached.all()
    # OpenCV projects the ray we found back to the pixel: this is its inverse, over all the image.
    np.testing.assert_allclose(opencv_pixels(lens, normalised), pixels, atol=1e-4)
    back, reached = camera(lens).to_pixels(normalised)
    assert reached.all()
    np.testing.assert_allclose(back, pixels, atol=1e-4)


@pytest.mark.parametrize("lens", LENSES)
def test_points_are_projected_as_opencv_does(lens: str) -> None:
    points = np.random.default_rng(0).uniform(-0.7, 0.7, (500, 2))
    points[0] = 0.0
    pixels, reached = camera(lens).to_pixels(points)
    assert reached.all()
    np.testing.assert_allclose(pixels, opencv_pixels(lens, points), atol=1e-6)


def test_skew_is_kept() -> None:
    skewed = K.copy()
    skewed[0, 1] = 3.0
    straight, _ = camera("barrel").to_pixels(np.array([[0.1, 0.2]]))
    leaning, _ = camera("barrel", skewed).to_pixels(np.array([[0.1, 0.2]]))
    y = (straight[0, 1] - K[1, 2]) / K[1, 1]
    np.testing.assert_allclose(leaning - straight, [[3.0 * y, 0.0]], atol=1e-9)
    back, _ = camera("barrel", skewed).to_normalised(leaning)
    np.testing.assert_allclose(back, [[0.1, 0.2]], atol=1e-6)


def test_what_lies_beyond_the_turning_point_is_not_seen_twice() -> None:
    """r * (1 - 0.3 r^2) grows up to r = 1.054 and then comes back into the image."""
    lens = Intrinsics(SIZE, K, "plumb_bob", (-0.3, 0.0, 0.0, 0.0, 0.0))
    points = np.array([[1.0, 0.0], [1.05, 0.0], [1.06, 0.0], [1.8, 0.0]])
    folded = opencv_like = points[3, 0] * (1 - 0.3 * points[3, 0] ** 2)
    assert 0 <= K[0, 0] * opencv_like + K[0, 2] < SIZE[1], folded  # OpenCV alone would show it
    _, reached = lens.to_pixels(points)
    assert reached.tolist() == [True, True, False, False]


def test_pixels_that_no_ray_reaches_are_reported() -> None:
    """The same lens on a larger sensor: nothing is imaged beyond 0.703 focal lengths."""
    lens = Intrinsics(SIZE, K, "plumb_bob", (-0.3, 0.0, 0.0, 0.0, 0.0))
    limit = 420.0 * 0.7027
    pixels = np.array([[322.5 + limit - 1, 236.0], [322.5 + limit + 1, 236.0]])
    normalised, reached = lens.to_normalised(pixels)
    assert reached.tolist() == [True, False]
    assert (normalised[1] == 0.0).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"matrix": np.zeros((3, 3))}, r"k\[0\] is 0: the camera is not calibrated"),
        ({"matrix": np.diag([400.0, -400.0, 1.0])}, "fx and fy above 0"),
        ({"matrix": np.diag([400.0, 400.0, 2.0])}, r"\[0, 0, 1\]"),
        ({"matrix": np.eye(3)[:2]}, "3x3"),
        ({"matrix": np.diag([np.nan, 400.0, 1.0])}, "nan"),
        ({"size": (0, 640)}, r"\(0, 640\), expected above 0"),
        ({"model": "thin_prism"}, "'thin_prism', expected plumb_bob, rational_polynomial, equid"),
        ({"coefficients": (0.1, 0.2, 0.3)}, "expected 5 finite numbers for plumb_bob"),
        ({"coefficients": (0.1, float("inf"), 0.0, 0.0, 0.0)}, "inf"),
        ({"model": "equidistant"}, r"d is \[\], expected 4"),
        ({"model": "rational_polynomial", "coefficients": (0.1,) * 5}, "expected 8"),
    ],
)
def test_what_is_no_camera_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(RegistrationError, match=words):
        Intrinsics(**{"size": SIZE, "matrix": K, **change})
