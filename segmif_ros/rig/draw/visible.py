# SPDX-License-Identifier: Apache-2.0
"""The RGB picture of a stage: colours, true labels, air, lights, lens and sensor."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.rig.cameras.cameras import Pose
from segmif_ros.rig.draw import textures
from segmif_ros.rig.draw.ground import disc
from segmif_ros.rig.draw.noise import crop, visible_noise_bank
from segmif_ros.rig.draw.raster import GLOW_DEPTH, NEAR_M, SKY_DEPTH, VisibleCanvas, depth_of_codes
from segmif_ros.rig.draw.sky import Sky, skyline
from segmif_ros.rig.draw.stage import Moment, Stage
from segmif_ros.rig.draw.surface import FULL, GroundView, Scroller, shadow_map
from segmif_ros.rig.scene.scene import Colour, Label

Image = NDArray[np.uint8]

LOW = 8
"""Light of lamps is worked out at 1/LOW of the resolution."""
_SELF_LIT = np.zeros(256, np.uint8)
"""Depth codes whose pixels need no light: what glows, and the sky."""
_SELF_LIT[[GLOW_DEPTH, SKY_DEPTH]] = 255
_LAMP: Colour = (70, 118, 150)
_BEAM: Colour = (96, 104, 106)


class VisibleCamera:
    """Renders one stage for the RGB camera.

    Args:
        stage: the street.
        pose: the camera in the street.
    """

    def __init__(self, stage: Stage, pose: Pose) -> None:
        self.scene, self.light, self.pose = stage.scene, stage.light, pose
        k = pose.intrinsics
        self.shape = (k.height, k.width)
        self.view = GroundView(pose)
        self._scrollers()
        self._backdrop(stage)
        self._air()
        self._vignette = self._lens()
        self._beam = self._beam_map() if self.light.lamps and self.scene.view.driving else None

    # --- prepared once

    def _scrollers(self) -> None:
        def strength(until: float, most: float) -> Image:
            return np.asarray(np.clip(self.view.fade(until) * 255 * most, 0, 255), np.uint8)

        v = self.view
        wear = 0.5 + 0.6 * self.scene.street.wear
        self._fine = Scroller(textures.asphalt_fine(), textures.FINE_M, v, strength(16, 0.62))
        self._coarse = Scroller(
            textures.asphalt_coarse(), textures.COARSE_M, v, strength(70, min(wear, 1.0))
        )
        self._paving = Scroller(textures.paving(), textures.FINE_M, v, strength(30, 0.85))
        self._grass = Scroller(textures.grass(), textures.FINE_M, v, strength(60, 0.9))

    def _backdrop(self, stage: Stage) -> None:
        sky = Sky(self.scene, self.pose).colours(self.light)
        depth = np.full(self.shape, SKY_DEPTH, np.uint8)
        bgrd = cv2.merge([*cv2.split(sky), depth])
        labels = np.full(self.shape, Label.SKY, np.uint8)
        canvas = VisibleCanvas(self.pose, bgrd, labels)
        canvas.draw(list(skyline(self.scene, self.light, stage.climate)))
        canvas.draw(stage.ground.fixed())
        self._bgrd, self._labels = bgrd, labels

    def _air(self) -> None:
        metres = depth_of_codes()
        light = self.light
        clear = np.exp(-light.extinction * np.minimum(metres, 420.0))
        # The sky already is what haze looks like from below.
        clear[255] = 1.0
        clear[GLOW_DEPTH] = 1.0
        self._clear = (clear * 255).round().astype(np.uint8)
        veil = (1 - clear)[:, None] * np.asarray(light.haze)
        self._veil = veil.round().clip(0, 255).astype(np.uint8)
        # What daylight is left takes its share: lamps must not add up to more than a sunny day.
        self._lamp_share = 1.0 - float(np.mean(light.level))
        peak = 190.0 * self._lamp_share
        self._headlight = np.clip(peak / (1.0 + (metres / 17.0) ** 2), 0, 255).astype(np.uint8)
        self._thick = np.clip(np.minimum(metres, 420.0) * light.smoke * 30.0, 0, 255).astype(
            np.uint8
        )
        self._through = np.clip(255 * np.exp(-np.arange(256) / 30.0), 0, 255).astype(np.uint8)

    def _lens(self) -> Image:
        h, w = self.shape
        v, u = np.mgrid[0:h, 0:w]
        r2 = ((u / w - 0.5) ** 2 + (v / h - 0.5) ** 2) / 0.5
        plane = np.clip(255 * (1.0 - 0.20 * r2), 0, 255).astype(np.uint8)
        lens: Image = cv2.merge([plane, plane, plane])
        return lens

    def _beam_map(self) -> Image:
        """Where the rig's own headlights shine: a low beam, brighter to the right."""
        h, w = self.shape
        k = self.pose.intrinsics
        v, u = np.mgrid[0:h, 0:w]
        horizon = k.cy - math.tan(self.scene.view.pitch) * k.fy
        down = (v - horizon) / k.fy
        across = (u - k.cx) / k.fx + math.tan(self.scene.view.yaw)
        cut = 1.0 / (1.0 + np.exp(-(down + 0.012 + 0.03 * np.clip(across, -0.2, 0.4)) * 130))
        spread = np.exp(-((across - 0.03) ** 2) / (2 * 0.28**2))
        near = np.exp(-((np.maximum(down, 0) / 0.42) ** 2))
        beam: Image = np.clip(255 * spread * (0.07 + 0.93 * cut) * near, 0, 255).astype(np.uint8)
        return beam

    # --- every frame

    def render(self, moment: Moment, key: tuple[int, ...]) -> tuple[Image, Image]:
        """Return the picture (HxWx3 RGB) and the true labels (HxW).

        Args:
            moment: what to draw.
            key: seeds the sensor noise of this frame.
        """
        canvas = VisibleCanvas(self.pose, self._bgrd.copy(), self._labels.copy())
        canvas.draw(moment.ground)
        self._surface(canvas, moment)
        canvas.draw(moment.items)
        depth = cv2.extractChannel(canvas.bgrd, 3)
        bgr: Image = cv2.cvtColor(canvas.bgrd, cv2.COLOR_BGRA2BGR)
        glow = None
        if self.light.lamps:
            glow = cv2.copyTo(bgr, cv2.compare(depth, GLOW_DEPTH, cv2.CMP_EQ))
            lit = cv2.multiply(bgr, self._light_map(moment, depth), scale=1 / FULL)
            bgr = cv2.copyTo(bgr, cv2.LUT(depth, _SELF_LIT), lit)
        bgr = self._through_air(bgr, depth, moment.t)
        if glow is not None:
            bgr = cv2.add(bgr, self._bloom(glow, moment))
        if self.light.dazzle:
            bgr = self._dazzle(bgr, depth)
        return self._sensor(bgr, key), canvas.labels

    def _surface(self, canvas: VisibleCanvas, moment: Moment) -> None:
        """Give the ground its texture, its shadows and its depth."""
        top = self.view.top
        if top >= self.shape[0]:
            return
        gone = moment.travelled
        grain = cv2.addWeighted(self._fine.at(gone), 1.0, self._coarse.at(gone), 1.0, -FULL)
        labels = canvas.labels[top:]
        for scroller, label in (
            (self._paving, Label.SIDEWALK),
            (self._grass, Label.VEGETATION),
        ):
            mask = cv2.compare(labels, int(label), cv2.CMP_EQ)
            if cv2.countNonZero(mask):
                cv2.copyTo(scroller.at(gone), mask, grain)
        shade = shadow_map(moment.shadows, self.pose, top)
        if shade is not None:
            grain = cv2.multiply(grain, shade, scale=1 / 255)
        rows = canvas.bgrd[top:]
        wide = cv2.merge([grain, grain, grain, np.full_like(grain, FULL)])
        cv2.multiply(rows, wide, dst=rows, scale=1 / FULL)
        cv2.insertChannel(self.view.depth, rows, 3)

    def _light_map(self, moment: Moment, depth: Image) -> Image:
        """Return HxWx3 light factors, FULL = 1: sky, street lamps, headlights."""
        h, w = self.shape
        low = np.empty((h // LOW, w // LOW, 3), np.uint8)
        low[:] = np.clip(np.asarray(self.light.level) * FULL, 0, 255).astype(np.uint8)
        for areas, colour in self._pools(moment):
            layer = np.zeros_like(low)
            for shape in areas:
                cv2.fillConvexPoly(layer, shape, colour, cv2.LINE_AA, 4)
            low = cv2.add(low, layer)
        low = cv2.blur(cv2.blur(low, (9, 5)), (5, 3))
        light: Image = cv2.resize(low, (w, h), interpolation=cv2.INTER_LINEAR)
        if self._beam is not None:
            beam = cv2.multiply(self._beam, cv2.LUT(depth, self._headlight), scale=1 / 255)
            light = cv2.add(light, cv2.merge([beam, beam, beam]))
        return light

    def _pools(self, moment: Moment) -> list[tuple[list[NDArray[np.int32]], Colour]]:
        """Return the areas lit by lamps and headlights, in low resolution."""
        pools: list[tuple[list[NDArray[np.int32]], Colour]] = []
        b, g, r = (value * self._lamp_share for value in _BEAM)
        beam: Colour = (b, g, r)
        for x, tall, z in moment.lamps:
            for reach, part in ((1.5, 0.45), (0.85, 0.55)):
                shape = self._low(disc(x, z, tall * reach * 0.75, tall * reach))
                if shape is None:
                    continue
                cone = self._low(np.array([
                    (x - tall * reach * 0.7, 0.0, z), (x + tall * reach * 0.7, 0.0, z), (x, tall, z)
                ]))  # fmt: skip
                b, g, r = _LAMP
                share = part * self._lamp_share
                colour: Colour = (b * share, g * share, r * share)
                pools.append(([s for s in (shape, cone) if s is not None], colour))
        for x, z, heading in moment.headlights:
            s, c = math.sin(heading), math.cos(heading)
            spot = self._low(disc(x + 7.5 * s, z + 7.5 * c, 2.0 + 4 * abs(s), 2.0 + 4.5 * abs(c)))
            if spot is not None:
                pools.append(([spot], beam))
        return pools

    def _low(self, points: NDArray[np.float64]) -> NDArray[np.int32] | None:
        p = self.pose.to_camera(points)
        if p[:, 2].max() < NEAR_M:
            return None
        z = np.maximum(p[:, 2], 1.2)
        pixels = np.stack(self.pose.intrinsics.pixels(p, z), 1) / LOW
        return np.asarray(np.rint(np.clip(pixels, -4000, 4000) * 16).astype(np.int32))

    def _through_air(self, bgr: Image, depth: Image, t: float) -> Image:
        clear = cv2.LUT(depth, self._clear)
        veil = cv2.merge([cv2.LUT(depth, np.ascontiguousarray(self._veil[:, c])) for c in range(3)])
        bgr = cv2.add(cv2.multiply(bgr, cv2.merge([clear, clear, clear]), scale=1 / 255), veil)
        if self.light.smoke:
            bgr = self._through_smoke(bgr, depth, t)
        return bgr

    def _through_smoke(self, bgr: Image, depth: Image, t: float) -> Image:
        h, w = self.shape
        field = textures.smoke()
        drift = np.array(
            [[0.30, 0, (11 * t + self.scene.seed * 37) % 512], [0, 0.34, 100 - 4 * t]], np.float32
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        slow, fast = (
            cv2.warpAffine(field, d, (w // 4, h // 4), flags=flags, borderMode=cv2.BORDER_WRAP)
            for d in (drift, drift * np.float32(2.3))
        )
        billow = slow + 0.45 * fast
        density = cv2.resize(np.clip(150 + 52 * billow, 40, 255).astype(np.uint8), (w, h))
        tone = cv2.resize(np.clip(128 + 9 * fast + 7 * slow, 0, 255).astype(np.uint8), (w, h))
        through = cv2.LUT(
            cv2.multiply(cv2.LUT(depth, self._thick), density, scale=1 / FULL), self._through
        )
        rest = cv2.bitwise_not(through)
        veil = cv2.multiply(rest, tone, scale=1 / FULL)
        smoke = cv2.merge([
            cv2.convertScaleAbs(veil, alpha=float(c) / 255) for c in self.light.haze
        ])  # fmt: skip
        hidden: Image = cv2.multiply(bgr, cv2.merge([through] * 3), scale=1 / 255)
        cv2.add(hidden, smoke, dst=hidden)
        return hidden

    def _bloom(self, glow: Image, moment: Moment) -> Image:
        """Return the halos of luminous surfaces."""
        h, w = self.shape
        small = cv2.resize(glow, (w // 4, h // 4), interpolation=cv2.INTER_AREA)
        for x, z, heading in moment.headlights:
            if math.cos(heading) > -0.5:
                continue
            p = self.pose.to_camera(np.array([[x - 0.6, 0.68, z - 2.3], [x + 0.6, 0.68, z - 2.3]]))
            for point in p:
                if point[2] > 2.0:
                    u, v = self.pose.intrinsics.pixels(point, point[2])
                    at = (int(u / 4), int(v / 4))
                    if 0 <= at[0] < w // 4 and 0 <= at[1] < h // 4 and small[at[1], at[0]].any():
                        cv2.circle(small, at, max(int(24 / point[2]), 1), (235, 246, 255), -1)
        near = cv2.GaussianBlur(small, (0, 0), 1.6)
        wide = cv2.GaussianBlur(cv2.resize(small, (w // 8, h // 8)), (0, 0), 6.0)
        total = cv2.addWeighted(near, 1.1, cv2.resize(wide, (w // 4, h // 4)), 1.9, 0)
        halos: Image = cv2.resize(total, (w, h), interpolation=cv2.INTER_LINEAR)
        return halos

    def _dazzle(self, bgr: Image, depth: Image) -> Image:
        """Add the low sun: a flare around it, a veil over the picture, ghosts in the lens."""
        h, w = self.shape
        sun = self.pose.rotation @ np.asarray(self.light.sun)
        if sun[2] < 0.05:
            return bgr
        at = np.array(self.pose.intrinsics.pixels(sun, sun[2]))
        x, y = int(at[0]), int(at[1])
        free = 1.0
        if 4 <= x < w - 4 and 4 <= y < h - 4:
            window = depth[y - 4 : y + 5, x - 4 : x + 5]
            free = 0.35 + 0.65 * float((window == 255).mean())
        power = self.light.dazzle * free
        v, u = np.mgrid[0 : h // LOW, 0 : w // LOW].astype(np.float32)
        r = np.hypot(u * LOW - at[0], v * LOW - at[1]) / w
        flare = 210 * np.exp(-((r / 0.10) ** 2)) + 150 * np.exp(-r / 0.16) + 46
        angle = np.arctan2(v * LOW - at[1], u * LOW - at[0])
        flare += 34 * np.exp(-r / 0.22) * np.maximum(np.cos(angle * 6 + 0.4), 0) ** 6
        tint = np.array([0.80, 0.93, 1.0], np.float32)
        light = flare[..., None] * tint
        centre = np.array([w / 2, h / 2])
        for share, size, colour in (
            (0.5, 0.03, (30, 40, 10)), (1.35, 0.05, (34, 12, 22)), (1.7, 0.022, (10, 30, 44)),
        ):  # fmt: skip
            ghost = at + (centre - at) * share
            g = np.hypot(u * LOW - ghost[0], v * LOW - ghost[1]) / w
            light += (g < size)[..., None] * np.asarray(colour, np.float32)
        add = np.clip(light * power, 0, 255).astype(np.uint8)
        full = cv2.resize(cv2.blur(add, (3, 3)), (w, h), interpolation=cv2.INTER_LINEAR)
        dazzled: Image = cv2.add(cv2.convertScaleAbs(bgr, alpha=1.0 - 0.25 * power), full)
        return dazzled

    def _sensor(self, bgr: Image, key: tuple[int, ...]) -> Image:
        """Apply lens and sensor, and return RGB."""
        bgr = cv2.GaussianBlur(bgr, (3, 3), 0.55)
        bgr = cv2.multiply(bgr, self._vignette, scale=1 / 255)
        gain = self.light.noise / 24.0
        noise = crop(visible_noise_bank(), self.shape, key)
        noisy = cv2.addWeighted(
            bgr, self.light.exposure, noise, gain, -128.0 * gain - self.light.black
        )
        rgb: Image = cv2.cvtColor(noisy, cv2.COLOR_BGR2RGB)
        return rgb
