# SPDX-License-Identifier: Apache-2.0
"""What the fused luma of the `joint` recipe is trained towards.

The paper regresses onto "Mask2", whose making was never published. A global saliency mix (see
`segmif_ros.guidance`) greys out daylight pictures, so this recipe builds its target locally: each
band of a Laplacian pyramid (Burt and Adelson, 1983) is taken from the image with more activity at
that place and scale, and the base follows the visible image unless thermal has clearly more local
contrast, as in smoke or darkness.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.frames import Image8

LEVELS = 5
SHARPNESS = 5.0
"""Exponent of the activity ratio: 1 mixes the bands, infinity chooses."""
VISIBLE_PRIOR = 12.0
"""Grey levels of local contrast that thermal must exceed before the base turns to it."""
_LIFT = 8.0
"""Sigma of the brightness correction, pixels: slow enough to leave every edge alone."""
_WINDOW = 2.5
"""Sigma of the contrast window, in pixels of the 1/8 image."""

Plane = NDArray[np.float32]


def fusion_target(luma: Plane, thermal: Image8 | Plane) -> Plane:
    """Return the target for one registered pair.

    Args:
        luma: HxW float32 in [0, 255].
        thermal: HxW in [0, 255].

    Returns:
        HxW float32 in [0, 255].
    """
    visible_pyramid = _gaussian_pyramid(np.asarray(luma, np.float32))
    thermal_pyramid = _gaussian_pyramid(np.asarray(thermal, np.float32))
    visible_contrast = _local_contrast(visible_pyramid[3])
    thermal_contrast = _local_contrast(thermal_pyramid[3])
    energy = np.square(thermal_contrast)
    share = energy / (energy + np.square(visible_contrast) + VISIBLE_PRIOR**2)
    base_v, base_t = visible_pyramid[-1], thermal_pyramid[-1]
    share = cv2.resize(share, base_v.shape[::-1], interpolation=cv2.INTER_AREA)
    fused = share * base_t + (1.0 - share) * base_v
    for level in range(LEVELS - 1, -1, -1):
        size = visible_pyramid[level].shape[::-1]
        band_v = visible_pyramid[level] - cv2.pyrUp(visible_pyramid[level + 1], dstsize=size)
        band_t = thermal_pyramid[level] - cv2.pyrUp(thermal_pyramid[level + 1], dstsize=size)
        # The offsets keep sensor noise of a flat thermal image from winning over a flat sky.
        activity_v = (cv2.GaussianBlur(np.abs(band_v), (0, 0), 1.5) + 0.5) ** SHARPNESS
        activity_t = (cv2.GaussianBlur(np.abs(band_t), (0, 0), 1.5) + 0.1) ** SHARPNESS
        weight = activity_t / (activity_t + activity_v)
        fused = cv2.pyrUp(fused, dstsize=size) + weight * band_t + (1.0 - weight) * band_v
    # What is bright in either image stays bright, except where the base was handed to thermal.
    brighter = np.maximum(visible_pyramid[0], thermal_pyramid[0]) - fused
    lift = cv2.GaussianBlur(np.maximum(brighter, 0.0), (0, 0), _LIFT)
    keep = 1.0 - cv2.resize(share, fused.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.clip(fused + keep * lift, 0.0, 255.0).astype(np.float32)


def _gaussian_pyramid(image: Plane) -> list[Plane]:
    levels = [image]
    for _ in range(LEVELS):
        levels.append(cv2.pyrDown(levels[-1]))
    return levels


def _local_contrast(image: Plane) -> Plane:
    mean = cv2.GaussianBlur(image, (0, 0), _WINDOW)
    variance = cv2.GaussianBlur(image * image, (0, 0), _WINDOW) - mean * mean
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)), np.float32)
