# SPDX-License-Identifier: Apache-2.0
"""Targets of the fused luma.

The paper regresses onto "Mask2", whose generator was not published; `network.guidance` is the
closest published method, and recipe `paper` uses it. Such a global saliency mix greys out
daylight pictures, so the `joint` recipes build their target locally: each band of a Laplacian
pyramid (Burt and Adelson, 1983) is taken from the image with more activity at that place and scale,
the visible one first where it is well exposed; then the brightness is lifted towards the brighter
of the two images, but not where that would take contrast away. Hot objects are
then bright in the dark without dark halos, and a dark coat before a bright sky stays dark.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from segmif_ros.frames import Image8
from segmif_ros.network.guidance import guidance

LEVELS = 4
SHARPNESS = 5.0
"""Exponent of the activity ratio: 1 mixes the bands, infinity chooses."""
_LIFT = 4.0
"""Sigma of the brightness correction, pixels: large enough to preserve edges."""
_AROUND = 12.0
"""Sigma of the neighbourhood that contrast is measured in, pixels."""
_EXPOSED = (0.8, 2.0, 160.0)
"""How much the activity of the visible image counts in the dark and when lit, and the grey level
from which it is lit."""

Plane = NDArray[np.float32]


def fusion_target(luma: Plane, thermal: Image8 | Plane, brighter: float = 0.0) -> Plane:
    """Return the target for one registered pair.

    Args:
        luma: HxW float32 in [0, 255].
        thermal: HxW in [0, 255].
        brighter: share of the way to the brighter of the two images, in [0, 1], where contrast
            allows it.

    Returns:
        HxW float32 in [0, 255].
    """
    visible_pyramid = _gaussian_pyramid(np.asarray(luma, np.float32))
    thermal_pyramid = _gaussian_pyramid(np.asarray(thermal, np.float32))
    fused = visible_pyramid[-1]
    for level in range(LEVELS - 1, -1, -1):
        size = visible_pyramid[level].shape[::-1]
        band_v = visible_pyramid[level] - cv2.pyrUp(visible_pyramid[level + 1], dstsize=size)
        band_t = thermal_pyramid[level] - cv2.pyrUp(thermal_pyramid[level + 1], dstsize=size)
        # The offsets keep sensor noise of a flat thermal image from winning over a flat sky.
        dark, lit, level_lit = _EXPOSED
        exposure = np.clip(cv2.GaussianBlur(visible_pyramid[level], (0, 0), 2.0) / level_lit, 0, 1)
        seen = cv2.GaussianBlur(np.abs(band_v), (0, 0), 1.5) + 0.5
        activity_v = ((dark + (lit - dark) * exposure) * seen) ** SHARPNESS
        activity_t = (cv2.GaussianBlur(np.abs(band_t), (0, 0), 1.5) + 0.1) ** SHARPNESS
        weight = activity_t / (activity_t + activity_v)
        fused = cv2.pyrUp(fused, dstsize=size) + weight * band_t + (1.0 - weight) * band_v
    # Always up to the visible image, else hot objects get a dark halo; beyond it limited.
    fused = fused + _lift(visible_pyramid[0] - fused)
    fused = _with_contrast(fused, _lift(thermal_pyramid[0] - fused))
    if brighter:
        top = np.maximum(visible_pyramid[0], thermal_pyramid[0])
        fused = _with_contrast(fused, brighter * (top - fused))
    return np.clip(fused, 0.0, 255.0).astype(np.float32)


def saliency_target(luma: Plane, thermal: Image8 | Plane) -> Plane:
    """Return the saliency mix that also guides the encoder; arguments as in `fusion_target`."""
    visible, hot = (
        torch.from_numpy(np.clip(np.round(plane), 0.0, 255.0).astype(np.float32) / 255.0)[
            None, None
        ]
        for plane in (luma, thermal)
    )
    return 255.0 * guidance(hot, visible)[0, 0].numpy()


def _with_contrast(fused: Plane, change: Plane) -> Plane:
    """Add a change, reduced where it would lower the contrast."""
    kept = np.clip(_contrast(fused + change) / _contrast(fused), 0.0, 1.0) ** 3
    return np.asarray(fused + change * cv2.GaussianBlur(kept, (0, 0), _AROUND / 2.0), np.float32)


def _lift(missing: Plane) -> Plane:
    return np.asarray(cv2.GaussianBlur(np.maximum(missing, 0.0), (0, 0), _LIFT), np.float32)


def _contrast(image: Plane) -> Plane:
    """Standard deviation around every pixel, with an offset that makes ratios of noise harmless."""
    mean, square = (cv2.GaussianBlur(plane, (0, 0), _AROUND) for plane in (image, image * image))
    return np.asarray(np.sqrt(np.maximum(square - mean * mean, 0.0)) + 2.0, np.float32)


def _gaussian_pyramid(image: Plane) -> list[Plane]:
    levels = [image]
    for _ in range(LEVELS):
        levels.append(cv2.pyrDown(levels[-1]))
    return levels
