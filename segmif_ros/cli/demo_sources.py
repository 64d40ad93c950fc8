# SPDX-License-Identifier: Apache-2.0
"""Where the demo's camera images come from: the virtual rig, or a bag."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from segmif_ros.recordings.bags import BagReader, summarize
from segmif_ros.recordings.topics import camera_topics, input_transport, swapped_topics
from segmif_ros.rig.cameras.cameras import Rig, write_calibration
from segmif_ros.rig.draw.footage import TOUR

ON_TOUR = "tour"
LIGHTINGS = (*(lighting.value for lighting in TOUR), ON_TOUR)
"""Lightings of the rig; a tour shows all the others."""

WAIT_S = "30"
"""How long a source waits for the node to subscribe, seconds."""

_SETTLE_S = 1.0
_RIG_HZ = 30.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How a source will be run.

    Attributes:
        command: program and arguments.
        rate_hz: pairs a second.
        pairs: pairs that it will send.
        notes: remarks for the user.
    """

    command: tuple[str, ...]
    rate_hz: float
    pairs: int
    notes: tuple[str, ...] = ()


class Source(Protocol):
    """Something that publishes two camera topics when it is started."""

    title: str
    rgb_topic: str
    thermal_topic: str
    input_transport: str
    calibration: Path | None

    def plan(self, holdable_hz: float) -> Plan:
        """Choose a rate that is not above `holdable_hz` and say what will be run."""
        ...

    def facts(self) -> dict[str, Any]:
        """Return settings for the report."""
        ...

    def caption(self, time_s: float) -> str:
        """Return what is special at that time since the start, empty for nothing."""
        ...


class RigSource:
    """The virtual rig, both cameras at one rate."""

    input_transport = "raw"
    calibration: Path | None

    def __init__(
        self,
        *,
        seed: int,
        lighting: str,
        seconds: float,
        frames: int | None,
        rate_hz: float | None,
        calibration: Path,
    ) -> None:
        """Choose the street and write the rig's calibration, which the node needs at its start.

        Args:
            seed: street.
            lighting: one of the rig's lightings, or "tour" for all of them one after the other.
            seconds: how long to run.
            frames: run for so many pairs instead.
            rate_hz: use this rate instead of the one that the machine can hold.
            calibration: file to write the thermal to RGB geometry to.
        """
        self.title = f"virtual rig, seed {seed}, {lighting}"
        self.rgb_topic, self.thermal_topic = "/rig/rgb/image_raw", "/rig/thermal/image_raw"
        self.calibration = calibration
        self._seed, self._lighting = seed, lighting
        self._stops = [each.value for each in TOUR] if lighting == ON_TOUR else [lighting]
        self._seconds, self._frames, self._wanted_hz = seconds, frames, rate_hz
        self._whole_s = seconds
        write_calibration(calibration, Rig.default(), seed=seed)

    def plan(self, holdable_hz: float) -> Plan:
        """Run both cameras at the lower of 30 Hz and what the machine holds."""
        rate = self._wanted_hz or min(_RIG_HZ, holdable_hz)
        pairs = self._frames or max(2, round(rate * self._seconds))
        self._whole_s = pairs / rate
        command = (
            *(sys.executable, "-m", "segmif_ros.ros.tools.rig_node"),
            *("--seed", str(self._seed), "--lighting", self._lighting),
            *("--rate", f"{rate:.3f}", "--thermal-rate", f"{rate:.3f}", "--frames", str(pairs)),
            *("--wait-for-subscribers", WAIT_S),
        )
        return Plan(command, rate, pairs)

    def facts(self) -> dict[str, Any]:
        """Return seed and lighting."""
        return {"kind": "rig", "seed": self._seed, "lighting": self._lighting}

    def caption(self, time_s: float) -> str:
        """Return the lighting at that time: a tour stays equally long in each."""
        stop = int(time_s / self._whole_s * len(self._stops))
        return self._stops[min(stop, len(self._stops) - 1)]


class BagSource:
    """A bag, played in real time; where that is too fast, only every Nth pair of it.

    Attributes:
        summary: what the bag holds.
    """

    calibration: Path | None

    def __init__(
        self,
        path: Path,
        *,
        seconds: float,
        rgb_topic: str | None = None,
        thermal_topic: str | None = None,
        rate_hz: float | None = None,
        calibration: Path | None = None,
        title: str = "",
    ) -> None:
        """Look into the bag.

        Args:
            path: the bag.
            seconds: play at most so much of it.
            rgb_topic: guessed from names and encodings if None.
            thermal_topic: as rgb_topic.
            rate_hz: use this rate instead of the one that the machine can hold.
            calibration: thermal to RGB geometry, None if the pairs are registered.
            title: for the pictures, the bag's name if empty.

        Raises:
            BagError: the bag cannot be read, or its camera topics cannot be identified.
        """
        self.summary = summary = summarize(path)
        rgb, thermal = camera_topics(summary, rgb_topic, thermal_topic)
        with BagReader(path) as reader:
            self._swapped = swapped_topics(reader, rgb.name, thermal.name)
        self.path = path
        self.title = title or path.name
        self.rgb_topic, self.thermal_topic = rgb.name, thermal.name
        self.input_transport = input_transport(rgb, thermal)
        self.calibration = calibration
        self._details = {"rgb": rgb.detail, "thermal": thermal.detail}
        self._nominal_hz = min(rgb.rate_hz, thermal.rate_hz) or 1.0
        self._wanted_hz = rate_hz
        self._seconds = min(seconds, summary.duration_ns / 1e9 + 1e-3)
        self._whole_s = summary.duration_ns / 1e9

    def plan(self, holdable_hz: float) -> Plan:
        """Thin the bag out until the machine can hold the rate."""
        limit = self._wanted_hz or holdable_hz
        every = max(1, math.ceil(self._nominal_hz / limit - 1e-6))
        options = {"every": every, "duration_s": self._seconds}
        notes = [*self._swapped]
        if every > 1:
            notes.append(
                f"the bag has {self._nominal_hz:.1f} pairs per second; every "
                f"{_ordinal(every)} is played, {self._nominal_hz / every:.1f} per second"
            )
        if self._seconds < self._whole_s:
            notes.append(f"the first {self._seconds:.0f} of {self._whole_s:.0f} s are played")
        # Absolute: the name of a bag must not look like an option.
        bag = str(self.path.absolute())
        command = (
            *(sys.executable, "-m", "segmif_ros.cli.main", "bag", "play", bag),
            *("--topics", self.rgb_topic, self.thermal_topic),
            *("--restamp", "--every", str(every), "--seconds", f"{self._seconds:.3f}"),
            *("--wait-for-subscribers", WAIT_S, "--start-delay", str(_SETTLE_S)),
        )
        pairs = _count_pairs(self.path, (self.rgb_topic, self.thermal_topic), options)
        return Plan(command, self._nominal_hz / every, pairs, tuple(notes))

    def facts(self) -> dict[str, Any]:
        """Return the bag's name and topics."""
        return {
            "kind": "bag",
            "name": self.path.name,
            "rgb": f"{self.rgb_topic} {self._details['rgb']}",
            "thermal": f"{self.thermal_topic} {self._details['thermal']}",
            "nominal_hz": round(self._nominal_hz, 2),
        }

    def caption(self, time_s: float) -> str:
        """Nothing is known about a bag's scenes."""
        del time_s
        return ""


def _count_pairs(path: Path, topics: tuple[str, str], options: dict[str, Any]) -> int:
    from segmif_ros.ros.tools.player import Playback, schedule, select

    counts, playback = dict.fromkeys(topics, 0), Playback(**options)
    with BagReader(path) as reader:
        for due in schedule(reader, playback, topics, select(reader, playback, topics)):
            counts[due.topic] += 1
    return min(counts.values())


def _ordinal(number: int) -> str:
    tens, ones = divmod(number % 100, 10)
    return f"{number}{'th' if tens == 1 else {1: 'st', 2: 'nd', 3: 'rd'}.get(ones, 'th')}"
