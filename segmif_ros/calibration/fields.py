# SPDX-License-Identifier: Apache-2.0
"""What thermal and RGB pictures of one scene share: where edges are and which way they run.

Brightness does not agree between the two cameras, and neither does the sign of an edge. Its
orientation does, so edges are kept as doubled angles, in which opposite directions are one.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
"""HxWx2: strength (0-1) times cosine and sine of twice the edge's angle, local mean removed."""

_BLUR_PX = 1.0
_SURROUND_PX = 12.0
_WEAK = 60.0
"""Percentile of the gradient that counts as half an edge."""
_FLOOR = 1e-6
"""Weakest half edge as a share of the strongest gradient squared; for empty backgrounds."""


def shrink(image: NDArray[Any], factor: float) -> NDArray[np.float32]:
    """Return a grey picture reduced by `factor` (1 or more), float32, without aliasing.

    Pixels that are not numbers (dead ones of a thermal camera) take the median.
    """
    grey = image.astype(np.float32)
    good = np.isfinite(grey)
    if not good.all():
        grey[~good] = np.median(grey[good]) if good.any() else 0.0
    height, width = round(image.shape[0] / factor), round(image.shape[1] / factor)
    return np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def orientation_field(image: NDArray[np.float32]) -> Field:
    """Return the edges of a grey picture; all 0 for a flat one."""
    # Rounding on a high level (16-bit counts) must not look like edges.
    smooth = cv2.GaussianBlur(image - np.median(image), (0, 0), _BLUR_PX)
    gx = cv2.Scharr(smooth, cv2.CV_32F, 1, 0)
    gy = cv2.Scharr(smooth, cv2.CV_32F, 0, 1)
    squared = gx * gx + gy * gy
    weak = max(float(np.percentile(squared, _WEAK)), _FLOOR * float(squared.max()), 1e-12)
    field = np.dstack([gx * gx - gy * gy, 2.0 * gx * gy]) / (squared + weak)[..., None]
    # A street is full of upright edges everywhere; only their positions carry information.
    field -= cv2.GaussianBlur(field, (0, 0), _SURROUND_PX)
    return np.asarray(field, np.float32)
