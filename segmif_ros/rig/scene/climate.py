# SPDX-License-Identifier: Apache-2.0
"""Surface temperatures of a street: what the thermal camera would measure, in Kelvin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segmif_ros.rig.scene.lighting import Light, Lighting
from segmif_ros.rig.scene.scene import Scene


@dataclass(frozen=True, slots=True)
class Climate:
    """Apparent temperatures by material, Kelvin; differences in K.

    Attributes:
        air: air, and what leaves tend to.
        road: dry asphalt in the open.
        paving: sidewalk slabs.
        marking: lane paint relative to the asphalt.
        grass: lawn.
        leaves: foliage.
        wall: walls out of the sun.
        wall_sun: what direct sun adds to a wall that faces it.
        window: panes relative to their wall.
        body: car bodies that have not been driven.
        glass: car windows.
        steel: poles and signs.
        sky_top: zenith.
        sky_low: sky at the horizon.
        skin: faces and hands.
        clothing: outer surface of clothes.
        shadow: what a hard shadow takes from the ground.
        rooms: lit or heated rooms behind a pane add this.
    """

    air: float
    road: float
    paving: float
    marking: float
    grass: float
    leaves: float
    wall: float
    wall_sun: float
    window: float
    body: float
    glass: float
    steel: float
    sky_top: float
    sky_low: float
    skin: float
    clothing: float
    shadow: float
    rooms: float


def climate_of(scene: Scene, light: Light) -> Climate:
    """Return the temperatures of `scene` under `light`.

    Asphalt keeps the heat of the day: it is the warmest ground by day and at dusk, and still warmer
    than the air at night, while lawns, car roofs and the sky cool below it.
    """
    rng = np.random.default_rng([44, scene.seed])
    air = scene.conditions.air_kelvin
    if light.lighting is Lighting.NIGHT:
        air -= 5.0
    if light.lighting is Lighting.DUSK:
        air -= 2.0
    sun = light.sunny if light.lighting in (Lighting.DAY, Lighting.GLARE) else 0.0
    stored = {Lighting.DUSK: 4.5, Lighting.NIGHT: 2.2}.get(light.lighting, 2.0)
    night = light.lighting in (Lighting.DUSK, Lighting.NIGHT)
    cloudy = scene.conditions.cloud
    radiative = (1.0 - 0.7 * cloudy) * (2.5 if night else 0.0)
    road = air + stored + sun * float(rng.uniform(3.0, 8.0))
    skin = float(np.clip(306.6 - 0.09 * (300.0 - air), 303.5, 306.8))
    return Climate(
        air=air,
        road=road,
        paving=road - 0.9 - 1.5 * sun,
        marking=-0.7 - 1.3 * sun,
        grass=air + 0.5 + 1.5 * sun - radiative,
        leaves=air + 0.2 + 0.6 * sun - 0.2 * radiative,
        wall=air + (2.6 if night else 0.8),
        wall_sun=6.5 * sun,
        window=2.4 if night else -2.2 - sun,
        body=air + 0.3 + 5.0 * sun - 1.3 * radiative,
        glass=air - 1.2 + 1.5 * sun - 1.6 * radiative,
        steel=air + 0.2 + 1.0 * sun - 0.4 * radiative,
        sky_top=air - (9.0 + 19.0 * (1.0 - cloudy)),
        sky_low=air - (2.5 + 4.0 * (1.0 - cloudy)),
        skin=skin,
        clothing=max(air + 0.66 * (skin - air), 296.5),
        shadow=3.2 * sun,
        rooms=float(rng.uniform(2.0, 5.0)) if night else 0.8,
    )
