# SPDX-License-Identifier: Apache-2.0
"""Light and warmth of a street: where light comes from, its colour, surface temperatures (K)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmif_ros.rig.scene.scene import Colour, Scene

Array = NDArray[np.float64]


class Lighting(str, Enum):
    """The five lightings of the rig."""

    DAY = "day"
    DUSK = "dusk"
    NIGHT = "night"
    GLARE = "glare"
    SMOKE = "smoke"


@dataclass(frozen=True, slots=True)
class Light:
    """How a street is lit. Colours are blue, green, red.

    Attributes:
        lighting: the lighting it belongs to.
        sun: unit vector towards the sun in street coordinates.
        sun_colour: direct light on a surface that faces the sun, 1 = full.
        ambient: light from the sky, 1 = full.
        level: overall brightness that lamps and headlights add to, 1 = daylight.
        sky_top: colour of the zenith, 0-255.
        sky_low: colour of the sky at the horizon, 0-255.
        haze: colour that far things fade to, 0-255.
        extinction: haze density, 1/m.
        lamps: street lamps, headlights and rooms are lit.
        lit_rooms: share of windows with light.
        noise: deviation of the sensor noise, 0-255.
        dazzle: strength of the low sun in the lens, 0-1.
        smoke: density of drifting smoke, 1/m.
        exposure: gain of the RGB camera.
        black: what it takes off afterwards, 0-255.
    """

    lighting: Lighting
    sun: tuple[float, float, float]
    sun_colour: Colour
    ambient: Colour
    level: Colour
    sky_top: Colour
    sky_low: Colour
    haze: Colour
    extinction: float
    lamps: bool
    lit_rooms: float
    noise: float
    dazzle: float = 0.0
    smoke: float = 0.0
    exposure: float = 1.12
    black: float = 4.0

    def shade(self, normals: NDArray[Any]) -> Array:
        """Return (N, 3) light factors for surfaces with unit `normals` (N, 3)."""
        toward = sum(normals[:, i] * self.sun[i] for i in range(3))
        facing = np.maximum(toward, 0.0)[:, None]
        sky = 0.74 + 0.26 * normals[:, 1:2]
        lit: Array = sky * np.asarray(self.ambient) + facing * np.asarray(self.sun_colour)
        return lit

    @property
    def sunny(self) -> float:
        """How hard the shadows are, 0-1."""
        return float(np.clip(max(self.sun_colour) / 0.6, 0.0, 1.0))


def _sun(azimuth: float, elevation: float) -> tuple[float, float, float]:
    flat = math.cos(elevation)
    return flat * math.sin(azimuth), math.sin(elevation), flat * math.cos(azimuth)


def _mix(a: Colour, b: Colour, share: float) -> Colour:
    x, y, z = (p + (q - p) * share for p, q in zip(a, b, strict=True))
    return x, y, z


def _scaled(colour: Colour, factor: float) -> Colour:
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def light_of(scene: Scene, lighting: Lighting) -> Light:
    """Return the visible light of `scene` under `lighting`."""
    rng = np.random.default_rng([43, scene.seed])
    makers = {
        Lighting.DAY: _day,
        Lighting.DUSK: _dusk,
        Lighting.NIGHT: _night,
        Lighting.GLARE: _glare,
        Lighting.SMOKE: _smoke,
    }
    return makers[lighting](scene, rng)


def _day(scene: Scene, rng: np.random.Generator) -> Light:
    sky = scene.conditions
    cloud = sky.cloud
    direct = _scaled((0.46, 0.52, 0.56), max(1.0 - 1.25 * cloud, 0.0))
    haze = _mix((226, 212, 196), (206, 204, 202), cloud)
    return Light(
        lighting=Lighting.DAY,
        sun=_sun(sky.sun_azimuth, sky.sun_elevation),
        sun_colour=direct,
        ambient=_mix((0.66, 0.60, 0.57), (0.86, 0.85, 0.84), cloud),
        level=(1.0, 1.0, 1.0),
        sky_top=_mix((214, 150, 84), (196, 190, 186), cloud),
        sky_low=_mix((238, 222, 200), (222, 220, 218), cloud),
        haze=haze,
        extinction=float(rng.uniform(0.0012, 0.006)),
        lamps=False,
        lit_rooms=0.0,
        noise=2.2,
    )


def _dusk(scene: Scene, rng: np.random.Generator) -> Light:
    warm = float(rng.uniform(0, 1))
    low = _mix((150, 150, 168), (96, 150, 232), warm)
    level = float(rng.uniform(0.26, 0.46))
    return Light(
        lighting=Lighting.DUSK,
        sun=_sun(scene.conditions.sun_azimuth, 0.1),
        sun_colour=(0.02, 0.06, 0.12),
        ambient=(1.0, 0.93, 0.88),
        level=_scaled((1.12, 1.0, 0.94), level),
        sky_top=(112, 74, 52),
        sky_low=low,
        haze=_mix(low, (110, 90, 84), 0.45),
        extinction=float(rng.uniform(0.002, 0.006)),
        lamps=True,
        lit_rooms=float(rng.uniform(0.2, 0.45)),
        noise=5.0,
    )


def _night(scene: Scene, rng: np.random.Generator) -> Light:
    level = float(rng.uniform(0.05, 0.12)) + (0.0 if scene.view.driving else 0.06)
    glow = float(rng.uniform(0.5, 1.3))
    return Light(
        lighting=Lighting.NIGHT,
        sun=_sun(scene.conditions.sun_azimuth, 0.9),
        sun_colour=(0.12, 0.10, 0.08),
        ambient=(0.95, 0.9, 0.86),
        level=_scaled((1.1, 1.0, 0.95), level),
        sky_top=_scaled((16, 11, 9), glow),
        sky_low=_scaled((34, 30, 34), glow),
        haze=_scaled((26, 23, 25), glow),
        extinction=float(rng.uniform(0.001, 0.005)),
        lamps=True,
        lit_rooms=float(rng.uniform(0.12, 0.35)),
        noise=8.5,
    )


def _glare(scene: Scene, rng: np.random.Generator) -> Light:
    """A low sun close to the line of sight, everything else against the light."""
    azimuth = scene.view.yaw + float(rng.normal(0, 0.16))
    return Light(
        lighting=Lighting.GLARE,
        sun=_sun(azimuth, float(rng.uniform(0.08, 0.24))),
        sun_colour=(0.38, 0.54, 0.66),
        ambient=(0.50, 0.46, 0.46),
        level=(1.0, 1.0, 1.0),
        sky_top=(206, 164, 120),
        sky_low=(196, 222, 244),
        haze=(188, 214, 236),
        extinction=float(rng.uniform(0.006, 0.012)),
        lamps=False,
        lit_rooms=0.0,
        noise=3.0,
        dazzle=float(rng.uniform(0.75, 1.0)),
    )


def _smoke(scene: Scene, rng: np.random.Generator) -> Light:
    grey = float(rng.uniform(150, 205))
    return Light(
        lighting=Lighting.SMOKE,
        sun=_sun(scene.conditions.sun_azimuth, scene.conditions.sun_elevation),
        sun_colour=(0.06, 0.06, 0.07),
        ambient=(0.80, 0.80, 0.80),
        level=(1.0, 1.0, 1.0),
        sky_top=(grey, grey, grey),
        sky_low=(grey, grey, grey),
        haze=(grey * 1.01, grey, grey * 0.985),
        extinction=0.004,
        lamps=False,
        lit_rooms=0.0,
        noise=3.0,
        smoke=float(rng.uniform(0.2, 0.36)),
    )


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
