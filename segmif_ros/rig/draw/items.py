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
        glow: (F,) true for luminous surfaces, or None.
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
    """A picture to put on a surface: colours with a fourth plane, and heat around HEAT_ZERO.

    Use `pierced` or `solid` to make one.

    Attributes:
        opaque: it has no holes. Its fourth plane then is 255 where light falls on it, and 0 where
            it is luminous; else it is the coverage that the colours are multiplied with.
        width: pixels.
        height: pixels.
    """

    def __init__(
        self, planes: NDArray[np.uint8], heat: NDArray[np.uint16] | None, *, opaque: bool
    ) -> None:
        self._planes, self._heat, self.opaque = planes, heat, opaque
        self._levels: dict[tuple[str, int, int], NDArray[Any]] = {}
        self.height, self.width = planes.shape[:2]

    @classmethod
    def pierced(
        cls, bgr: NDArray[np.uint8], alpha: NDArray[np.uint8], heat: NDArray[np.uint16] | None
    ) -> Texture:
        """Return a texture that covers what `alpha` (HxW, 255 = all) says."""
        wide = cv2.merge([alpha, alpha, alpha])
        colours = cv2.multiply(bgr, wide, scale=1 / 255)
        return cls(cv2.merge([*cv2.split(colours), alpha]), heat, opaque=False)

    @classmethod
    def solid(
        cls, bgr: NDArray[np.uint8], lit: NDArray[np.uint8], heat: NDArray[np.uint16] | None
    ) -> Texture:
        """Return a texture without holes; `lit` (HxW) is 0 where it is luminous, else 255."""
        return cls(cv2.merge([*cv2.split(bgr), lit]), heat, opaque=True)

    def picture(self, shrink_x: int, shrink_y: int) -> NDArray[np.uint8]:
        """Return colours and fourth plane, HxWx4, shrunk by 2**shrink in either direction."""
        key = ("picture", shrink_x, shrink_y)
        if key not in self._levels:
            self._levels[key] = self._shrunk(self._planes, shrink_x, shrink_y)
        return self._levels[key]

    def heat(self, shrink_x: int, shrink_y: int) -> NDArray[np.uint16]:
        """Return the heat plane in the same way; 0 where the texture is transparent."""
        key = ("heat", shrink_x, shrink_y)
        if key not in self._levels:
            plane = self._heat
            if plane is None:
                plane = np.full((self.height, self.width), HEAT_ZERO, np.uint16)
            heat = self._shrunk(plane, shrink_x, shrink_y)
            if not self.opaque:
                covered = self.picture(shrink_x, shrink_y)[..., 3] > 127
                heat = np.where(covered, heat, np.uint16(0))
            self._levels[key] = heat
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
    """

    corners: Points
    texture: Texture
    kelvin: float
    label: int

    def moved(self, offset: NDArray[Any]) -> Sprite:
        """Return the same sprite, `offset` (3,) metres away."""
        return Sprite(self.corners + offset, self.texture, self.kelvin, self.label)


Item = Polygons | Sprite
