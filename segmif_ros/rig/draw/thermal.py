# SPDX-License-Identifier: Apache-2.0
"""The thermal picture of a stage: temperatures, lens, detector."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.rig.cameras.cameras import Pose
from segmif_ros.rig.draw import textures
from segmif_ros.rig.draw.noise import crop, thermal_noise_bank
from segmif_ros.rig.draw.raster import ThermalCanvas
from segmif_ros.rig.draw.sky import Sky, skyline
from segmif_ros.rig.draw.stage import Moment, Stage
from segmif_ros.rig.draw.surface import GroundView, shadow_map
from segmif_ros.rig.scene.scene import Label

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
