# SPDX-License-Identifier: Apache-2.0
"""What closes the end of a street: houses and trees on the horizon, faded by the air."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from segmif_ros.rig.draw.items import Polygons
from segmif_ros.rig.scene.climate import Climate
from segmif_ros.rig.scene.labels import Label
from segmif_ros.rig.scene.lighting import Light
from segmif_ros.rig.scene.scene import Scene

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
