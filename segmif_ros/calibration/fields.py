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


def shrink(image: NDArray[Any], factor: float) -> NDArray[np.float32]:
    """Return a grey picture reduced by `factor` (1 or more), float32, without aliasing."""
    grey = image.astype(np.float32)
    height, width = round(image.shape[0] / factor), round(image.shape[1] / factor)
    return np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def orientation_field(image: NDArray[np.float32]) -> Field:
    """Return the edges of a grey picture; all 0 for a flat one."""
    smooth = cv2.GaussianBlur(image, (0, 0), _BLUR_PX)
    gx = cv2.Scharr(smooth, cv2.CV_32F, 1, 0)
    gy = cv2.Scharr(smooth, cv2.CV_32F, 0, 1)
    squared = gx * gx + gy * gy
    weak = max(float(np.percentile(squared, _WEAK)), 1e-6)
    field = np.dstack([gx * gx - gy * gy, 2.0 * gx * gy]) / (squared + weak)[..., None]
    # A street is full of upright edges everywhere; only where they stand tells anything.
    field -= cv2.GaussianBlur(field, (0, 0), _SURROUND_PX)
    return np.asarray(field, np.float32)
