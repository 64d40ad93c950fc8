# SPDX-License-Identifier: Apache-2.0
"""Draws thermal edges over the RGB image, before and after a calibration."""

from __future__ import annotations

import cv2
import numpy as np

from segmif_ros.frames import Image8
from segmif_ros.registration import Geometry, Registration

_EDGE_SHARE = 92.0
"""Percentile of the gradient above which a pixel counts as an edge."""
_EDGE_COLOUR = (255, 64, 0)
_TITLE_ROWS = 34
"""Darkened, so that the title can be read."""


def before_after(rgb: Image8, thermal: Image8, calibration: Geometry) -> Image8:
    """Return both pictures side by side.

    Args:
        rgb: HxWx3 uint8, R, G, B.
        thermal: hxw uint8.
        calibration: made for these sizes.

    Returns:
        Hx2Wx3 uint8: left the thermal edges only scaled, right with the calibration.

    Raises:
        RegistrationError: the sizes are not those of the calibration.
    """
    size = (int(rgb.shape[0]), int(rgb.shape[1]))
    panes = []
    for title, registration in (
        ("before: only scaled", Registration()),
        ("after: calibrated", Registration(calibration)),
    ):
        warped = registration.apply(thermal, size)
        valid = registration.valid_area((thermal.shape[0], thermal.shape[1]), size)
        pane = _with_edges(rgb, warped, valid)
        pane[:_TITLE_ROWS] //= 3
        cv2.putText(pane, title, (10, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 1)
        panes.append(pane)
    return np.hstack(panes)


def _with_edges(rgb: Image8, thermal: Image8, valid: Image8) -> Image8:
    smooth = cv2.GaussianBlur(thermal, (0, 0), 1.2)
    strength = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    # The border of the thermal image is not an edge of the scene.
    strength[cv2.erode(valid, np.ones((5, 5), np.uint8), borderValue=255) == 0] = 0.0
    edges = strength > max(float(np.percentile(strength, _EDGE_SHARE)), 1.0)
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    pane = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)
    pane[edges] = _EDGE_COLOUR
    return pane
