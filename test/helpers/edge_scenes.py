# SPDX-License-Identifier: Apache-2.0
"""Pictures of one scene as two cameras see it: the same outlines, unrelated brightness."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image8 = NDArray[np.uint8]


def both_views(seed: int, size: tuple[int, int] = (480, 640)) -> tuple[Image8, Image8]:
    """RGB HxWx3 and thermal HxW of a scene of forty tilted boxes, with noise."""
    rng = np.random.default_rng(seed)
    height, width = size
    rgb, thermal = np.full((height, width, 3), 100, np.uint8), np.full(size, 120, np.uint8)
    for _ in range(40):
        centre = (float(rng.uniform(0, width)), float(rng.uniform(0, height)))
        extent = tuple(float(each) for each in rng.uniform(0.04, 0.3, 2) * width)
        box = cv2.boxPoints((centre, extent, float(rng.uniform(0, 90)))).round().astype(np.int32)
        cv2.fillConvexPoly(rgb, box, [int(each) for each in rng.integers(0, 256, 3)])
        cv2.fillConvexPoly(thermal, box, [int(rng.integers(0, 256))])
    noisy = [image + rng.normal(0, 4, image.shape) for image in (rgb, thermal)]
    rgb, thermal = (np.clip(image, 0, 255).astype(np.uint8) for image in noisy)
    return rgb, thermal


def moved(image: Image8, dx: float, dy: float, roll_deg: float = 0.0) -> Image8:
    """The picture turned clockwise about its middle, then shifted to the right and down."""
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -roll_deg, 1.0)
    turn[:, 2] += (dx, dy)
    shown = cv2.warpAffine(image, turn, (width, height), borderMode=cv2.BORDER_REFLECT)
    return np.asarray(shown, np.uint8)
