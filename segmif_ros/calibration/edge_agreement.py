# SPDX-License-Identifier: Apache-2.0
"""Edges of all pairs at one resolution, and their correlation under a homography."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.calibration.turned_camera import Matrix

# Brightness and the sign of an edge differ between the two cameras, its orientation does not. Edges
# are stored as doubled angles, in which opposite directions are equal.
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
    # Streets have vertical edges everywhere; only their positions carry information.
    field -= cv2.GaussianBlur(field, (0, 0), _SURROUND_PX)
    return np.asarray(field, np.float32)


Mask = NDArray[np.float32]
"""HxW, 1 where a picture has data, else 0."""

_GROUND_WEIGHT = 0.1
"""Weight of an edge on the lowest row; above the middle of the picture it is 1."""
_WIDEST_MARGIN = 0.12
"""Empty strips along a side up to this share of the length are padding."""
_EDGE_REACH_PX = 3
"""Width of the effect of a padding edge on the field, pixels."""

_FILL_PX = 8.0


class Level:
    """All pairs at one resolution."""

    def __init__(
        self, rgb: Sequence[NDArray[Any]], thermal: Sequence[NDArray[Any]], width: int
    ) -> None:
        self.factor = max(rgb[0].shape[1] / width, 1.0)
        self.rgb = [less_below(orientation_field(shrink(image, self.factor))) for image in rgb]
        # Both at about the same resolution, at most that of the thermal camera.
        self.thermal_factor = max(thermal[0].shape[1] / width, 1.0)
        self.masks = [shrink(has_data(image), self.thermal_factor) for image in thermal]
        self.grey = [
            _filled(shrink(image, self.thermal_factor), mask)
            for image, mask in zip(thermal, self.masks, strict=True)
        ]
        self.thermal = [
            orientation_field(image) * inside(mask)[..., None]
            for image, mask in zip(self.grey, self.masks, strict=True)
        ]
        self.rgb_size = (int(self.rgb[0].shape[0]), int(self.rgb[0].shape[1]))
        self.thermal_size = (int(self.thermal[0].shape[0]), int(self.thermal[0].shape[1]))
        ys, xs = np.mgrid[0 : self.rgb_size[0], 0 : self.rgb_size[1]]
        self._grid = np.stack([xs.ravel(), ys.ravel(), np.ones(xs.size)])

    def to_level(self, matrix: Matrix) -> Matrix:
        """From full pictures to this level."""
        return np.asarray(
            np.linalg.inv(_zoom(self.factor)) @ matrix @ _zoom(self.thermal_factor), np.float64
        )

    def to_full(self, matrix: Matrix) -> Matrix:
        """From this level to full pictures."""
        return np.asarray(
            _zoom(self.factor) @ matrix @ np.linalg.inv(_zoom(self.thermal_factor)), np.float64
        )

    def checkerboard(self) -> tuple[Mask, Mask]:
        """Return two interleaved halves that both cover the whole picture."""
        ys, xs = np.mgrid[0 : self.rgb_size[0], 0 : self.rgb_size[1]]
        cell = self.rgb_size[1] / 8
        odd = ((xs // cell + ys // cell) % 2).astype(np.float32)
        return odd, 1.0 - odd

    def agreement(self, matrix: Matrix, tiles: Mask | None = None) -> float:
        """Correlation of the edges, mean over the pairs."""
        return self.score(self.to_level(matrix), tiles)

    def score(self, matrix: Matrix, tiles: Mask | None) -> float:
        """The same for a matrix of this level."""
        source = np.linalg.inv(matrix) @ self._grid
        x, y = (source[:2] / source[2]).astype(np.float32).reshape(2, *self.rgb_size)
        covered = (x >= 0) & (y >= 0) & (x <= self.thermal_size[1] - 1)
        covered &= y <= self.thermal_size[0] - 1
        weight = covered.astype(np.float32)
        share = float(weight.mean())
        if tiles is not None:
            weight *= tiles
        first, second = cv2.convertMaps(x, y, cv2.CV_16SC2)
        total = 0.0
        for seen, warm in zip(self.rgb, self.thermal, strict=True):
            warped = cv2.remap(warm, first, second, cv2.INTER_LINEAR) * weight[..., None]
            visible = seen * weight[..., None]
            power = float(np.vdot(warped, warped)) * float(np.vdot(visible, visible))
            total += float(np.vdot(warped, visible)) / (power**0.5 + 1e-6)
        # Without it, small overlaps would win by chance.
        return float(total / len(self.rgb) * share**0.5)


def has_data(image: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the mask of pixels that are not padding, as in pictures that were warped before."""
    empty = image == 0
    padding = np.zeros_like(empty)
    for axis in (0, 1):
        for side in (slice(None), slice(None, None, -1)):
            turned = (side, slice(None)) if axis == 0 else (slice(None), side)
            run = np.logical_and.accumulate(empty[turned], axis=axis)
            narrow = run.sum(axis=axis, keepdims=True) <= _WIDEST_MARGIN * image.shape[axis]
            padding |= (run & narrow)[turned]
    return np.asarray(~padding)


def inside(mask: Mask) -> Mask:
    """Return the mask without pixels affected by the edge of the padding."""
    kernel = np.ones((2 * _EDGE_REACH_PX + 1,) * 2, np.uint8)
    whole = (mask > 0.99).astype(np.uint8)
    return np.asarray(cv2.erode(whole, kernel, borderValue=1), np.float32)


def _filled(image: NDArray[np.float32], mask: Mask) -> NDArray[np.float32]:
    """Extrapolate a picture into its padding, to avoid an edge."""
    whole = (mask > 0.99).astype(np.float32)
    if whole.all():
        return image
    weight = cv2.GaussianBlur(whole, (0, 0), _FILL_PX)
    around = cv2.GaussianBlur(image * whole, (0, 0), _FILL_PX) / np.maximum(weight, 1e-6)
    return np.asarray(np.where(whole > 0.0, image, around), np.float32)


def less_below(field: Field) -> Field:
    """Reduce the weight of the ground, which is near and shifted by parallax."""
    rows = np.linspace(0.0, 1.0, len(field))
    weight = np.interp(rows, (0.55, 1.0), (1.0, _GROUND_WEIGHT)).astype(np.float32)
    return np.asarray(field * weight[:, None, None], np.float32)


def _zoom(factor: float) -> Matrix:
    """From a reduced picture to the full one, pixel centres kept."""
    offset = (factor - 1.0) / 2.0
    return np.array([[factor, 0.0, offset], [0.0, factor, offset], [0.0, 0.0, 1.0]])
