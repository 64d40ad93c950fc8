# SPDX-License-Identifier: Apache-2.0
"""Homographies of two cameras side by side: zoom, roll, and rotation or shift.

A rotation to the side shifts the picture and changes its perspective. The focal length and the
shift determine the perspective, so it needs no further parameter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Size = tuple[int, int]

_COARSEST_STEP_PX = 2.0
_FINEST_STEP_PX = 0.1


class Placement(NamedTuple):
    """Placement of the thermal picture.

    Attributes:
        scale: RGB pixels per thermal pixel.
        roll: radians.
        dx: of its centre from the centre of the RGB image, RGB pixels to the right.
        dy: likewise, down.
    """

    scale: float
    roll: float
    dx: float
    dy: float


@dataclass(frozen=True, slots=True)
class TurnedCamera:
    """Fixed values of the search.

    Attributes:
        rgb_size: (height, width).
        thermal_size: (height, width).
        focal_px: focal length of the RGB camera, pixels.
        turned: share of the shift caused by rotation of the camera, 0 to 1; the rest is a shift
            of the picture (a crop, a lens off its axis).
    """

    rgb_size: Size
    thermal_size: Size
    focal_px: float
    turned: float = 0.0

    def matrix(self, place: Placement) -> Matrix:
        """Return the 3x3 homography, thermal to RGB pixels."""
        c, s = place.scale * np.cos(place.roll), place.scale * np.sin(place.roll)
        zoom = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
        across = np.arctan(self.turned * place.dx / self.focal_px)
        down = np.arctan(self.turned * place.dy / self.focal_px)
        yaw = np.array(
            [[np.cos(across), 0, np.sin(across)], [0, 1, 0], [-np.sin(across), 0, np.cos(across)]]
        )
        pitch = np.array(
            [[1, 0, 0], [0, np.cos(down), np.sin(down)], [0, -np.sin(down), np.cos(down)]]
        )
        lens = np.diag([self.focal_px, self.focal_px, 1.0])
        turn = lens @ pitch @ yaw @ np.linalg.inv(lens)
        rest = np.eye(3)
        rest[:2, 2] = np.array([place.dx, place.dy]) - turn[:2, 2] / turn[2, 2]
        centred = rest @ turn @ zoom
        back = np.linalg.inv(_moved(self.thermal_size))
        return np.asarray(_moved(self.rgb_size) @ centred @ back, np.float64)

    def placement(self, matrix: Matrix) -> Placement:
        """Return the placement of a homography without perspective and shear."""
        middle = _moved(self.thermal_size)[:2, 2]
        steps = np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]], np.float64)
        shown = np.column_stack([middle + steps, np.ones(5)]) @ matrix.T
        shown = shown[:, :2] / shown[:, 2:]
        along, below = (shown[1] - shown[2]) / 2, (shown[3] - shown[4]) / 2
        shift = shown[0] - _moved(self.rgb_size)[:2, 2]
        scale = (float(np.linalg.norm(along)) + float(np.linalg.norm(below))) / 2
        return Placement(scale, float(np.arctan2(along[1], along[0])), *shift.tolist())


def climb(
    score: Callable[[Matrix], float], camera: TurnedCamera, start: Placement, pixel: float
) -> tuple[Placement, float]:
    """Find the local maximum of the score.

    Args:
        score: of a homography between full pictures.
        camera: fixed values.
        start: initial value.
        pixel: size in RGB pixels of one pixel of the pictures that are compared.

    Returns:
        The placement and its score.
    """
    # Each unit moves the rim of the picture by one pixel.
    rim = 2.0 * pixel / camera.rgb_size[1]
    units = np.diag([start.scale * rim, rim, pixel, pixel])
    best, here = np.array(start), score(camera.matrix(start))
    step = _COARSEST_STEP_PX
    while step > _FINEST_STEP_PX:
        improved = False
        for unit in units:
            for trial in (best + step * unit, best - step * unit):
                value = score(camera.matrix(Placement(*trial.tolist())))
                if value > here:
                    best, here, improved = trial, value, True
                    break
        if not improved:
            step /= 2.0
    return Placement(*best.tolist()), here


def _moved(size: Size) -> Matrix:
    """Move the origin from the centre of a picture to its upper left pixel."""
    return np.array([[1.0, 0.0, (size[1] - 1) / 2], [0.0, 1.0, (size[0] - 1) / 2], [0.0, 0.0, 1.0]])
