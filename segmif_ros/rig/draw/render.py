# SPDX-License-Identifier: Apache-2.0
"""Renders a scene for both cameras of a rig, with true labels and true stamps.

The same seed, time, rig and lighting give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.frames import Image8, ThermalImage
from segmif_ros.rig.cameras.cameras import LIDAR_TO_RGB, Lidar, Pose, Rig, place
from segmif_ros.rig.draw import textures
from segmif_ros.rig.draw.noise import crop, thermal_noise_bank
from segmif_ros.rig.draw.raster import ThermalCanvas
from segmif_ros.rig.draw.sky import Sky, skyline
from segmif_ros.rig.draw.stage import Moment, Stage
from segmif_ros.rig.draw.surface import GroundView, shadow_map
from segmif_ros.rig.draw.truth import Truth, TruthCamera, lidar_pose
from segmif_ros.rig.draw.visible import VisibleCamera
from segmif_ros.rig.scene.lighting import Lighting, climate_of, light_of
from segmif_ros.rig.scene.planner import random_scene
from segmif_ros.rig.scene.population import with_distractors
from segmif_ros.rig.scene.scene import Label, Scene

Centikelvin = NDArray[np.uint16]

NETD_K = 0.06
"""Deviation of the detector noise, K."""
FIXED_PATTERN_K = 0.05
"""Deviation of the column pattern that shutters leave behind, K."""
VIGNETTE_K = 0.9
"""What the corners read too low, K."""


class ThermalCamera:
    """Renders one stage for the thermal camera; arguments as for `VisibleCamera`."""

    def __init__(self, stage: Stage, pose: Pose) -> None:
        self.scene, self.climate, self.pose = stage.scene, stage.climate, pose
        k = pose.intrinsics
        self.shape = (k.height, k.width)
        self.view = GroundView(pose)
        self._scroll = textures.asphalt_coarse()
        self._tile = np.vstack([self._scroll, self._scroll])
        self._map = self.view.lookup(textures.COARSE_M, self._scroll.shape[0])
        self._backdrop(stage)
        self._detector()

    def _backdrop(self, stage: Stage) -> None:
        self._base = Sky(self.scene, self.pose).centikelvin(self.climate)
        self._labels = np.full(self.shape, Label.SKY, np.uint8)
        canvas = ThermalCanvas(self.pose, self._labels, self._base, with_labels=True)
        canvas.draw(list(skyline(self.scene, stage.light, self.climate)))
        canvas.draw(stage.ground.fixed())

    def _detector(self) -> None:
        h, w = self.shape
        rng = np.random.default_rng([47, self.scene.seed])
        columns = rng.standard_normal((1, w)) * FIXED_PATTERN_K
        pixels = rng.standard_normal((h, w)) * FIXED_PATTERN_K * 0.6
        v, u = np.mgrid[0:h, 0:w]
        r2 = ((u / w - 0.5) ** 2 + (v / h - 0.5) ** 2) / 0.5
        self._offset = np.rint((columns + pixels - VIGNETTE_K * r2**1.5) * 100).astype(np.int16)

    def render(
        self, moment: Moment, key: tuple[int, ...], *, with_labels: bool = False
    ) -> tuple[Centikelvin, NDArray[np.uint8] | None]:
        """Return apparent temperatures (HxW, 0.01 K) and, if requested, labels."""
        labels = self._labels.copy() if with_labels else self._labels
        canvas = ThermalCanvas(self.pose, labels, self._base.copy(), with_labels=with_labels)
        canvas.draw(moment.ground)
        self._surface(canvas, moment)
        canvas.draw(moment.items)
        soft = cv2.GaussianBlur(canvas.centikelvin, (5, 5), 0)
        noise = crop(thermal_noise_bank(), self.shape, key)
        scaled = cv2.addWeighted(noise, NETD_K, self._offset, 1.0, 0.0)
        shown: Centikelvin = cv2.add(soft, scaled, dtype=cv2.CV_16U)
        return shown, labels if with_labels else None

    def _surface(self, canvas: ThermalCanvas, moment: Moment) -> None:
        """Give the ground its mottled warmth and its cool shadows."""
        top = self.view.top
        if top >= self.shape[0]:
            return
        size = self._scroll.shape[0]
        start = int(moment.travelled / textures.COARSE_M * size) % size
        grain = cv2.remap(self._tile[start : start + size], self._map, None, cv2.INTER_NEAREST)
        rows = canvas.centikelvin[top:]
        # 1 step of the tile is 0.015 K, dark is cool; the tile is 128 where it changes nothing.
        rows += cv2.multiply(grain, 1.5, dtype=cv2.CV_16U) - np.uint16(192)
        if self.climate.shadow > 0:
            left = shadow_map(moment.shadows, self.pose, top)
            if left is not None:
                gain = self.climate.shadow * 100 / 160
                rows -= cv2.multiply(cv2.bitwise_not(left), 1.0, scale=gain, dtype=cv2.CV_16U)


def to_mono8(centikelvin: Centikelvin, air_kelvin: float) -> NDArray[np.uint8]:
    """Return an 8-bit picture as simple cameras make it: a fixed span around the air temperature.

    Black is 12 K below the air, white 26 K above it.
    """
    low = (air_kelvin - 12.0) * 100.0
    grey: NDArray[np.uint8] = cv2.convertScaleAbs(
        cv2.subtract(centikelvin, round(low), dtype=cv2.CV_16U), alpha=255.0 / 3800.0
    )
    return grey


ENCODINGS = ("mono16", "mono8")


@dataclass(frozen=True, slots=True, eq=False)
class RigFrame:
    """One picture of each camera and the truth about them.

    Attributes:
        rgb: HxWx3 uint8, R, G, B.
        thermal: hxw uint16 in 0.01 K, or uint8.
        labels: HxW uint8 FMB class ids in the geometry of `rgb`.
        thermal_labels: hxw uint8 in the geometry of `thermal`, or None when not requested.
        stamp_ns: when `rgb` was taken, nanoseconds.
        thermal_stamp_ns: when `thermal` was taken, nanoseconds.
    """

    rgb: Image8
    thermal: ThermalImage
    labels: Image8
    thermal_labels: Image8 | None
    stamp_ns: int
    thermal_stamp_ns: int


class Renderer:
    """Renders one scene under one lighting; keeps what does not change between frames.

    Not thread safe. About 30 to 60 ms to make, then a frame is cheap.

    Args:
        scene: the street.
        rig: the cameras.
        lighting: a `Lighting` or its name.
        encoding: thermal picture: "mono16" (0.01 K) or "mono8" (fixed span around the air).

    Raises:
        ValueError: an unknown lighting or encoding.
    """

    def __init__(
        self,
        scene: Scene,
        rig: Rig,
        lighting: Lighting | str = Lighting.DAY,
        *,
        encoding: str = "mono16",
    ) -> None:
        if encoding not in ENCODINGS:
            raise ValueError(f"thermal encoding {encoding!r}: expected one of {ENCODINGS}")
        self.scene, self.rig, self.lighting = scene, rig, _lighting(lighting)
        self._encoding = encoding
        light = light_of(scene, self.lighting)
        self.climate = climate_of(scene, light)
        self._stage = Stage(scene, light, self.climate)
        view = scene.view
        centre = (view.x, view.height, 0.0)
        self._place = (centre, view.yaw, view.pitch)
        rgb = place(rig.rgb, *self._place)
        thermal = place(rig.thermal, *self._place)
        self._visible = VisibleCamera(self._stage, rgb)
        self._thermal = ThermalCamera(self._stage, thermal)
        self._truth = TruthCamera(self._stage, rgb)
        self._lidars: dict[Lidar, TruthCamera] = {}

    def visible(self, t_s: float) -> tuple[Image8, Image8]:
        """Return the RGB picture (HxWx3 uint8) and its labels (HxW uint8) at `t_s` seconds."""
        return self._visible.render(self._stage.at(t_s), self._key(t_s, 0))

    def thermal(
        self, t_s: float, *, with_labels: bool = False
    ) -> tuple[ThermalImage, Image8 | None]:
        """Return the thermal picture at `t_s` seconds, and its labels if requested."""
        kelvin, labels = self._thermal.render(
            self._stage.at(t_s), self._key(t_s, 1), with_labels=with_labels
        )
        return self._encode(kelvin), labels

    def frame(
        self, t_s: float, *, thermal_t_s: float | None = None, thermal_labels: bool = False
    ) -> RigFrame:
        """Return one picture of each camera.

        Args:
            t_s: when the RGB picture is taken, seconds.
            thermal_t_s: when the thermal picture is taken; the same moment by default.
            thermal_labels: also make labels in the thermal geometry.
        """
        heat_t = t_s if thermal_t_s is None else thermal_t_s
        moment = self._stage.at(t_s)
        rgb, labels = self._visible.render(moment, self._key(t_s, 0))
        if heat_t != t_s:
            moment = self._stage.at(heat_t)
        kelvin, heat_labels = self._thermal.render(
            moment, self._key(heat_t, 1), with_labels=thermal_labels
        )
        return RigFrame(
            rgb=rgb,
            thermal=self._encode(kelvin),
            labels=labels,
            thermal_labels=heat_labels,
            stamp_ns=_nanoseconds(t_s),
            thermal_stamp_ns=_nanoseconds(heat_t),
        )

    def truth(self, t_s: float) -> Truth:
        """Return depth, labels and objects in the RGB camera's view at `t_s` seconds."""
        return self._truth.at(self._stage.at(t_s))

    def lidar(self, lidar: Lidar, t_s: float) -> tuple[NDArray[np.float32], Image8]:
        """Return the points (N, 3) of one turn at `t_s` seconds, in its frame, and their labels.

        The whole turn is taken at one moment.
        """
        if lidar not in self._lidars:
            self._lidars[lidar] = TruthCamera(self._stage, lidar_pose(lidar, *self._place))
        points, labels = self._lidars[lidar].at(self._stage.at(t_s)).cast(lidar.directions())
        return np.asarray(points @ LIDAR_TO_RGB.astype(np.float32)), labels

    def _encode(self, kelvin: NDArray[np.uint16]) -> ThermalImage:
        return to_mono8(kelvin, self.climate.air) if self._encoding == "mono8" else kelvin

    def _key(self, t_s: float, camera: int) -> tuple[int, ...]:
        return self.scene.seed, _nanoseconds(t_s), camera


def _nanoseconds(t_s: float) -> int:
    return round(t_s * 1e9)


def _lighting(name: Lighting | str) -> Lighting:
    try:
        return Lighting(name)
    except ValueError:
        names = ", ".join(lighting.value for lighting in Lighting)
        raise ValueError(f"lighting {name!r}: expected one of {names}") from None


_LIGHTINGS = (Lighting.DAY, Lighting.DUSK, Lighting.NIGHT, Lighting.GLARE, Lighting.SMOKE)
_SHARES = (0.3, 0.15, 0.3, 0.1, 0.15)


def training_frame(seed: int, *, distractors: bool = False) -> RigFrame:
    """Render one registered pair (640x480, both cameras in one place) with its true labels.

    Args:
        seed: decides scene, moment and lighting.
        distractors: put in what is mistaken for people and cars.
    """
    lighting, moment = _conditions(seed)
    scene = random_scene(seed)
    scene = with_distractors(scene) if distractors else scene
    return Renderer(scene, Rig.aligned(), lighting).frame(moment)


def training_lighting(seed: int) -> Lighting:
    """Return how the frame of a seed is lit, without rendering it."""
    return _conditions(seed)[0]


def _conditions(seed: int) -> tuple[Lighting, float]:
    rng = np.random.default_rng(seed)
    lighting = _LIGHTINGS[int(rng.choice(len(_LIGHTINGS), p=_SHARES))]
    return lighting, float(rng.uniform(0.0, 8.0))
