# SPDX-License-Identifier: Apache-2.0
"""The pictures of a run in order: rendered when they are due, or ahead and shown to and fro."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segmif_ros.frames import Image8, ThermalImage
from segmif_ros.rig.cameras.cameras import Lidar, Rig
from segmif_ros.rig.draw.render import Renderer
from segmif_ros.rig.draw.truth import TrueObject
from segmif_ros.rig.scene.lighting import Lighting
from segmif_ros.rig.scene.scene import Scene

TOUR = tuple(Lighting)
TOUR_STOP_S = 6.0
"""How long a tour without an end stays in each lighting."""
_HEADROOM_BYTES = 3 << 30
_DEEPEST_M = 65.0


@dataclass(frozen=True, slots=True)
class Slot:
    """Which picture of which lighting.

    Attributes:
        lighting: index into the lightings of the run.
        picture: number of the picture within it.
    """

    lighting: int
    picture: int


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What is known beside the pictures of one RGB frame.

    Attributes:
        depth_mm: HxW uint16, 0 where it is too deep.
        objects: what moves, with boxes and ids.
        points: (N, 3) float32 of one turn of the LiDAR, in its frame, metres.
        point_labels: (N,) their true class ids.
    """

    depth_mm: NDArray[np.uint16]
    objects: tuple[TrueObject, ...]
    points: NDArray[np.float32]
    point_labels: Image8


def to_and_fro(index: int, count: int) -> int:
    """Return the position at step `index` of a walk 0, 1, ... count-1, count-2, ... 1, 0, 1, ...

    Raises:
        ValueError: there is nothing to walk over.
    """
    if count < 1:
        raise ValueError(f"a walk over {count} pictures; expected at least 1")
    if count == 1:
        return 0
    step = index % (2 * count - 2)
    return step if step < count else 2 * count - 2 - step


class Footage:
    """Pictures of both cameras by their number.

    Args:
        scene: the street.
        rig: the cameras with their rates.
        lightings: one, or several that follow each other.
        frames: RGB frames of the whole run, None for an endless one.
        ahead: pairs to render in `prepare`; 0 renders each picture on access.
        encoding: thermal "mono16" or "mono8".
        thermal_phase_s: how much later the thermal camera takes its pictures.
        lidar: also measure with a LiDAR and a depth camera, at every RGB frame.

    Raises:
        ValueError: no lighting, a negative number of pairs, more than fits into memory, or a
            thermal encoding that does not exist.
    """

    def __init__(
        self,
        scene: Scene,
        rig: Rig,
        lightings: Sequence[Lighting],
        *,
        frames: int | None = None,
        ahead: int = 0,
        encoding: str = "mono16",
        thermal_phase_s: float = 0.0,
        lidar: Lidar | None = None,
    ) -> None:
        if not lightings:
            raise ValueError("no lighting given; expected at least one")
        if ahead < 0:
            raise ValueError(f"{ahead} pairs to render ahead; expected 0 or more")
        k, h = rig.rgb.intrinsics, rig.thermal.intrinsics
        pair_bytes = k.width * k.height * (4 if lidar is None else 6) + h.width * h.height * 2
        if ahead * pair_bytes > _HEADROOM_BYTES:
            raise ValueError(
                f"{ahead} pairs rendered ahead need {ahead * pair_bytes / 2**30:.1f} GiB; "
                f"use at most {_HEADROOM_BYTES // pair_bytes}"
            )
        self._scene, self._rig = scene, rig
        self._lightings = tuple(lightings)
        self._encoding, self._phase_s = encoding, thermal_phase_s
        self._stop_s = TOUR_STOP_S
        if frames is not None:
            self._stop_s = frames / rig.rgb.rate_hz / len(self._lightings)
        self._renderers: dict[int, Renderer] = {}
        self._ahead = ahead
        per_stop = -(-ahead // len(self._lightings))
        self._kept_s = min(per_stop / rig.rgb.rate_hz, self._stop_s)
        self._visible: dict[Slot, tuple[Image8, Image8]] = {}
        self._thermal: dict[Slot, ThermalImage] = {}
        self._lidar = lidar
        self._measured: dict[Slot, Measured] = {}
        self._renderer(0)

    def prepare(self, progress: Callable[[int, int], bool]) -> bool:
        """Render ahead as configured; pictures that a short run does not need are left out.

        Args:
            progress: called with pictures done and pictures in all; false stops.

        Returns:
            False when it was stopped.
        """
        if not self._ahead:
            # The first picture of a process builds the library of surfaces; a camera is not late.
            self._render_visible(Slot(0, 0))
            self._render_thermal(Slot(0, 0))
            return True
        jobs = [
            (Slot(stop, picture), camera)
            for stop in range(len(self._lightings))
            for camera, rate in (("rgb", self._rig.rgb.rate_hz), ("thermal", self._thermal_hz))
            for picture in range(self._kept(rate))
        ]
        for done, (slot, camera) in enumerate(jobs):
            if not progress(done, len(jobs)):
                return False
            if camera == "rgb":
                self._visible[slot] = self._render_visible(slot)
                if self._lidar is not None:
                    self._measured[slot] = self._measure(slot, self._lidar)
            else:
                self._thermal[slot] = self._render_thermal(slot)
            if done + 1 < len(jobs) and jobs[done + 1][0].lighting != slot.lighting:
                self._renderers.clear()
        self._renderers.clear()
        return progress(len(jobs), len(jobs))

    def visible(self, number: int) -> tuple[Image8, Image8]:
        """Return RGB frame `number` (HxWx3 uint8) and its labels (HxW uint8)."""
        slot = self._slot(number, self._rig.rgb.rate_hz)
        if self._visible:
            return self._visible[slot]
        return self._render_visible(slot)

    def thermal(self, number: int) -> ThermalImage:
        """Return thermal frame `number`, hxw uint16 or uint8."""
        slot = self._slot(number, self._thermal_hz)
        if self._thermal:
            return self._thermal[slot]
        return self._render_thermal(slot)

    def measured(self, number: int) -> Measured | None:
        """Return what depth camera and LiDAR measure at RGB frame `number`, None without them."""
        if self._lidar is None:
            return None
        slot = self._slot(number, self._rig.rgb.rate_hz)
        return self._measured[slot] if self._measured else self._measure(slot, self._lidar)

    def lighting(self, number: int) -> Lighting:
        """Return the lighting of RGB frame `number`."""
        return self._lightings[self._slot(number, self._rig.rgb.rate_hz).lighting]

    @property
    def _thermal_hz(self) -> float:
        return self._rig.thermal.rate_hz

    def _kept(self, rate_hz: float) -> int:
        return max(round(self._kept_s * rate_hz), 1)

    def _slot(self, number: int, rate_hz: float) -> Slot:
        # Half a frame of tolerance: the first picture of a stop must not count as its last.
        passed = (number + 0.5) / rate_hz
        stops = int(passed / self._stop_s)
        first = round(stops * self._stop_s * rate_hz)
        lighting = stops % len(self._lightings)
        if not self._ahead:
            return Slot(lighting, number)
        return Slot(lighting, to_and_fro(max(number - first, 0), self._kept(rate_hz)))

    def _renderer(self, stop: int) -> Renderer:
        if stop not in self._renderers:
            self._renderers[stop] = Renderer(
                self._scene, self._rig, self._lightings[stop], encoding=self._encoding
            )
        return self._renderers[stop]

    def _start_s(self, stop: int) -> float:
        """A tour shows a different stretch of the street at every stop."""
        return stop * self._stop_s if self._ahead else 0.0

    def _render_visible(self, slot: Slot) -> tuple[Image8, Image8]:
        return self._renderer(slot.lighting).visible(self._time_s(slot))

    def _measure(self, slot: Slot, lidar: Lidar) -> Measured:
        renderer, t = self._renderer(slot.lighting), self._time_s(slot)
        truth = renderer.truth(t)
        depth = np.where(truth.depth_m < _DEEPEST_M, truth.depth_m * 1e3, 0.0).astype(np.uint16)
        return Measured(depth, tuple(truth.objects()), *renderer.lidar(lidar, t))

    def _time_s(self, slot: Slot) -> float:
        return self._start_s(slot.lighting) + slot.picture / self._rig.rgb.rate_hz

    def _render_thermal(self, slot: Slot) -> ThermalImage:
        t = self._start_s(slot.lighting) + slot.picture / self._thermal_hz + self._phase_s
        thermal, _ = self._renderer(slot.lighting).thermal(t)
        return thermal
