# SPDX-License-Identifier: Apache-2.0
"""What a street is drawn from: coloured and warmed polygons, and textured rectangles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

HEAT_ZERO = 30000
"""Value of a heat texture that means "as warm as the surface it is put on"; 1 step is 0.01 K."""


@dataclass(slots=True, eq=False)
class Polygons:
    """Convex polygons of one object, in painter's order.

    Attributes:
        points: (F, K, 3) street coordinates, metres; fewer corners repeat the last one.
        bgr: (F, 3) lit colour, 0-255.
        kelvin: (F,) surface temperature.
        label: class id of the whole object.
        glow: (F,) true for surfaces that shine by themselves, or None.
        cull: leave out faces that show their back (corners run clockwise as seen from outside).
    """

    points: Points
    bgr: NDArray[Any]
    kelvin: NDArray[Any]
    label: int
    glow: NDArray[np.bool_] | None = None
    cull: bool = False

    def moved(self, offset: NDArray[Any]) -> Polygons:
        """Return the same surfaces, `offset` (3,) metres away."""
        return Polygons(
            self.points + offset, self.bgr, self.kelvin, self.label, self.glow, self.cull
        )


class Texture:
    """A picture to put on a surface: premultiplied BGRA, and heat as 0.01 K around HEAT_ZERO."""

    def __init__(self, bgra: NDArray[np.uint8], heat: NDArray[np.uint16] | None = None) -> None:
        self._bgra = bgra
        self._heat = heat
        self._levels: dict[tuple[str, int, int], NDArray[Any]] = {}
        self.opaque = bool(bgra[..., 3].min() == 255)
        self.height, self.width = bgra.shape[:2]

    @classmethod
    def from_straight(
        cls, bgr: NDArray[np.uint8], alpha: NDArray[np.uint8], heat: NDArray[np.uint16] | None
    ) -> Texture:
        """Return a texture from a colour image and a separate coverage mask."""
        wide = cv2.merge([alpha, alpha, alpha])
        return cls(cv2.merge([cv2.multiply(bgr, wide, scale=1 / 255), alpha]), heat)

    def lighten(self, factor: NDArray[Any]) -> None:
        """Multiply the colours by (3,) factors, as light does."""
        planes = list(cv2.split(self._bgra))
        for index in range(3):
            planes[index] = cv2.convertScaleAbs(planes[index], alpha=float(factor[index]))
        self._bgra = cv2.merge(planes)
        self._levels.clear()

    def picture(self, shrink_x: int, shrink_y: int) -> NDArray[np.uint8]:
        """Return the BGRA plane, shrunk by 2**shrink in either direction."""
        key = ("picture", shrink_x, shrink_y)
        if key not in self._levels:
            self._levels[key] = self._shrunk(self._bgra, shrink_x, shrink_y)
        return self._levels[key]

    def heat(self, shrink_x: int, shrink_y: int) -> NDArray[np.uint16]:
        """Return the heat plane in the same way; 0 where the texture is transparent."""
        key = ("heat", shrink_x, shrink_y)
        if key not in self._levels:
            alpha = np.ascontiguousarray(self._bgra[..., 3])
            plane = self._heat
            if plane is None:
                plane = np.full(alpha.shape, HEAT_ZERO, np.uint16)
            shrunk = self._shrunk(plane, shrink_x, shrink_y)
            covered = self._shrunk(alpha, shrink_x, shrink_y) > 127
            self._levels[key] = np.where(covered, shrunk, np.uint16(0))
        return self._levels[key]

    def _shrunk(self, plane: NDArray[Any], shrink_x: int, shrink_y: int) -> NDArray[Any]:
        if not shrink_x and not shrink_y:
            return plane
        size = (max(self.width >> shrink_x, 2), max(self.height >> shrink_y, 2))
        shrunk: NDArray[Any] = cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
        return shrunk


@dataclass(slots=True, eq=False)
class Sprite:
    """A textured rectangle.

    Attributes:
        corners: (4, 3) street coordinates: top left, top right, bottom right, bottom left.
        texture: what is on it.
        kelvin: temperature at HEAT_ZERO of its heat plane.
        label: class id where the texture covers more than half of a pixel.
        glow: the texture shines by itself; it leaves labels and temperatures alone.
    """

    corners: Points
    texture: Texture
    kelvin: float
    label: int
    glow: bool = False

    def moved(self, offset: NDArray[Any]) -> Sprite:
        """Return the same sprite, `offset` (3,) metres away."""
        return Sprite(self.corners + offset, self.texture, self.kelvin, self.label, self.glow)


Item = Polygons | Sprite
