# SPDX-License-Identifier: Apache-2.0
"""The sky above a street and the horizon at its end: colours, clouds, the sun, and their heat.

A sky is smooth, so it is worked out at half the resolution.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.rig.cameras.cameras import Pose
from segmif_ros.rig.draw import textures
from segmif_ros.rig.draw.items import Polygons
from segmif_ros.rig.scene.lighting import Climate, Light, Lighting
from segmif_ros.rig.scene.scene import Label, Scene

Field = NDArray[np.float32]
STEP = 2


class Sky:
    """Directions of view of one camera, and the clouds in them.

    Args:
        scene: whose weather.
        pose: the camera in the street.
    """

    def __init__(self, scene: Scene, pose: Pose) -> None:
        self._size = (pose.intrinsics.width, pose.intrinsics.height)
        rays = pose.rays(STEP)
        rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
        self._rays = rays
        self._up = np.clip(rays[..., 1], 0.0, 1.0)
        # A flat layer of clouds overhead: perspective squeezes them towards the horizon.
        reach = 60.0 / (self._up + 0.08)
        x = np.mod(rays[..., 0] * reach + (scene.seed * 97) % 512, 511.0)
        y = np.mod(rays[..., 2] * reach, 511.0)
        field = cv2.remap(textures.clouds(), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        cover = (field - 1.2 + 2.6 * scene.conditions.cloud) * 0.45
        self._clouds: Field = np.clip(cover, 0.0, 1.0) * np.clip(self._up * 9.0, 0.0, 1.0)
        self._cloud = scene.conditions.cloud

    def colours(self, light: Light) -> NDArray[np.uint8]:
        """Return HxWx3 uint8 (B, G, R), also below the horizon."""
        climb = np.sqrt(self._up / 0.75).clip(0, 1)[..., None]
        low, top = (np.asarray(c, np.float32) for c in (light.sky_low, light.sky_top))
        sky = low + (top - low) * climb
        bright = np.asarray(self._cloud_colour(light), np.float32)
        thin = 0.2 if light.lighting is Lighting.SMOKE else 1.0
        sky += (bright - sky) * (0.85 * thin * self._clouds[..., None])
        if light.lighting in (Lighting.DAY, Lighting.GLARE, Lighting.DUSK):
            sky += self._sun(light)
        full: NDArray[np.uint8] = cv2.resize(
            np.clip(sky, 0, 255).astype(np.uint8), self._size, interpolation=cv2.INTER_LINEAR
        )
        return full

    def _sun(self, light: Light) -> Field:
        rays = self._rays
        x, y, z = light.sun
        near = np.clip(rays[..., 0] * x + rays[..., 1] * y + rays[..., 2] * z, 0.0, 1.0)[..., None]
        warmth = np.asarray(light.sun_colour, np.float32) / max(*light.sun_colour, 1e-3)
        glow: Field = 190.0 * max(light.sunny, 0.15) * warmth * near**24
        if light.dazzle:
            glow = glow + 255.0 * (near > 0.9994)
        return glow

    def _cloud_colour(self, light: Light) -> tuple[float, float, float]:
        b, g, r = light.sky_low
        grey = 1.0 - 0.22 * self._cloud
        return {
            Lighting.DAY: (236.0 * grey, 234.0 * grey, 232.0 * grey),
            Lighting.DUSK: (120.0, 112.0, 142.0),
            Lighting.NIGHT: (b * 1.15, g * 1.15, r * 1.15),
            Lighting.GLARE: (214.0, 226.0, 238.0),
            Lighting.SMOKE: (b, g, r),
        }[light.lighting]

    def centikelvin(self, climate: Climate) -> NDArray[np.uint16]:
        """Return HxW uint16 apparent temperatures, 0.01 K."""
        low, top = climate.sky_low, climate.sky_top
        # The path through the air gets longer towards the horizon, and warm air shines.
        kelvin = low + (top - low) * (1.0 - np.exp(-4.0 * self._up))
        kelvin += 0.4 * self._clouds * (climate.air - 8.0 - kelvin)
        full: NDArray[np.uint16] = cv2.resize(
            (kelvin * 100.0).astype(np.uint16), self._size, interpolation=cv2.INTER_LINEAR
        )
        return full


DISTANCE_M = 330.0


def skyline(scene: Scene, light: Light, climate: Climate) -> Iterator[Polygons]:
    """Yield far houses, then the trees in front of them; the same for both cameras."""
    rng = np.random.default_rng([46, scene.seed])
    shade = light.shade(np.array([[0.0, 0.2, -0.98]]))
    for label, colour, low, high, width, kelvin in (
        (Label.BUILDING, (140.0, 142.0, 146.0), 12.0, 55.0, 36.0, climate.wall),
        (Label.VEGETATION, (66.0, 100.0, 82.0), 8.0, 19.0, 30.0, climate.leaves),
    ):
        x = -340.0
        while x < 340.0:
            wide = float(rng.uniform(0.4, 1.2)) * width
            tall = float(rng.uniform(low, high)) * (1.0 if abs(x) > 25 else 0.6)
            house = label == Label.BUILDING
            z = DISTANCE_M
            shoulder, peak = (1.0, 1.0) if house else (0.62, 0.8)
            points = [(x, -2.0, z), (x, tall * shoulder, z), (x + wide * 0.5, tall, z),
                      (x + wide, tall * peak, z), (x + wide, -2.0, z)]  # fmt: skip
            shown = np.asarray(colour) * float(rng.uniform(0.7, 1.1)) * shade
            mixed = kelvin * 0.6 + climate.air * 0.4
            yield Polygons(np.array([points]), shown, np.array([mixed]), label)
            x += wide * float(rng.uniform(0.7, 1.5))
