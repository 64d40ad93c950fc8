# SPDX-License-Identifier: Apache-2.0
"""Boundary IoU: how well the outlines of classes agree (Cheng et al., CVPR 2021).

Of every class only the pixels within a distance d of its own outline are compared, so a large area
that is right inside does not hide an outline that is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.frames import Image8

DILATION = 0.02
"""Distance as a share of the image diagonal, as in the paper; 16 pixels at 480x640."""


def boundary_distance(size: tuple[int, int], dilation: float = DILATION) -> int:
    """Return the distance in pixels for an image of (height, width), at least 1."""
    return max(1, round(dilation * math.hypot(*size)))


def boundary_band(labels: Image8, known: NDArray[np.bool_], distance: int) -> NDArray[np.bool_]:
    """Mark the pixels within `distance` (chessboard) of another class or of the image edge.

    The same as eroding every class by itself and taking what is lost, in two passes for all.

    Args:
        labels: HxW uint8 ids.
        known: HxW; where False no pixel is marked, and no outline runs along it.
        distance: pixels, at least 1.
    """
    window = np.ones((2 * distance + 1, 2 * distance + 1), np.uint8)
    low, high = np.where(known, labels, 255), np.where(known, labels, 0)
    # Beyond the image edge lie both extremes, so no pixel near it sees one class only.
    lowest = cv2.erode(low, window, borderType=cv2.BORDER_CONSTANT, borderValue=(0,) * 4)
    highest = cv2.dilate(high, window, borderType=cv2.BORDER_CONSTANT, borderValue=(255,) * 4)
    return np.asarray((lowest != highest) & known, np.bool_)


def boundary_counts(
    truth: Image8,
    predicted: Image8,
    classes: int,
    *,
    ignored: Collection[int] = (),
    dilation: float = DILATION,
) -> NDArray[np.int64]:
    """Count one image.

    Args:
        truth: HxW uint8 ids; ids from `classes` upwards are not known.
        predicted: HxW uint8 ids; ids from `classes` upwards count as id 0.
        classes: number of ids.
        ignored: ids of the truth that are not known either.
        dilation: distance as a share of the image diagonal.

    Returns:
        3 x `classes`: pixels of each class in both bands, in the truth's, in the prediction's.
    """
    counts = np.zeros(256, np.bool_)
    counts[:classes] = True
    counts[[label for label in ignored if label < classes]] = False
    known = counts[truth]
    guess = np.where(predicted < classes, predicted, 0).astype(np.uint8)
    distance = boundary_distance((truth.shape[0], truth.shape[1]), dilation)
    in_truth = boundary_band(truth, known, distance)
    in_guess = boundary_band(guess, known, distance)
    same = in_truth & in_guess & (truth == guess)
    counted = (truth[same], truth[in_truth], guess[in_guess])
    return np.stack([np.bincount(ids, minlength=classes) for ids in counted]).astype(np.int64)
