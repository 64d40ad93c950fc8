# SPDX-License-Identifier: Apache-2.0
"""What one measuring run does."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.dds.source_images import Size
from segmif_ros.registration.lens import LONGEST_SIDE

SEGMIF = "segmif"
"""The subject of a run that is this project's node."""
PEERS = ("message-filters", "message-filters-ndarray")
"""The ordinary way: filling messages as cv_bridge does, or by assigning an array to `data`."""

OUTPUTS = ("fused", "mask", "confidence", "overlay")
PEER_OUTPUTS = OUTPUTS[:2]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run: who is measured, with what, how fast and for how long.

    Attributes:
        subject: `SEGMIF`, or the name of a peer.
        model: shipped name or folder of a bundle; empty for a network that computes nothing.
        runtime: engine name as the node's parameter `engine` takes it.
        threads: CPU threads of the engine, 0 = all cores.
        delay_ms: what the engine `null` waits for.
        rgb_size: (width, height) of the rgb8 images.
        thermal_size: (width, height) of the mono16 images.
        rate_hz: pairs a second of each rig.
        seconds: length of the measured part.
        warm_up_s: what is sent before that.
        outputs: image outputs that the consumer subscribes to; empty: there is no consumer.
        rigs: how many pairs of cameras, each with a node of its own.
        lazy: the node's parameter of that name.
    """

    subject: str = SEGMIF
    model: str = ""
    runtime: str = "null"
    threads: int = 0
    delay_ms: float = 0.0
    rgb_size: Size = (640, 480)
    thermal_size: Size = (640, 512)
    rate_hz: float = 30.0
    seconds: float = 10.0
    warm_up_s: float = 1.0
    outputs: tuple[str, ...] = ("fused", "mask")
    rigs: int = 1
    lazy: bool = False

    def __post_init__(self) -> None:
        if self.subject != SEGMIF and self.subject not in PEERS:
            raise ValueError(f"subject is {self.subject!r}, expected {SEGMIF!r} or one of {PEERS}")
        unknown = set(self.outputs) - set(PEER_OUTPUTS if self.subject in PEERS else OUTPUTS)
        if unknown:
            raise ValueError(f"{self.subject} has no output {', '.join(sorted(unknown))}")
        for name, low, high in (
            ("rate_hz", 0.1, 1000.0),
            ("seconds", 0.1, 86_400.0),
            ("warm_up_s", 0.1, 600.0),
            ("rigs", 1, 16),
            ("delay_ms", 0.0, 60_000.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}, expected {low:g} to {high:g}")
        sides = (*self.rgb_size, *self.thermal_size)
        if not 16 <= min(sides) <= max(sides) <= LONGEST_SIDE:
            raise ValueError(
                f"image sizes {self.rgb_size} and {self.thermal_size}, expected 16 to "
                f"{LONGEST_SIDE} pixels a side"
            )

    @property
    def pairs(self) -> int:
        """Pairs of each rig in the measured part."""
        return max(round(self.seconds * self.rate_hz), 2)

    @property
    def warm_up_pairs(self) -> int:
        """Pairs of each rig before that."""
        return max(round(self.warm_up_s * self.rate_hz), 2)

    @property
    def asleep(self) -> bool:
        """Whether the node does not even listen to the cameras."""
        return self.lazy and not self.outputs

    @property
    def title(self) -> str:
        """One line for people."""
        rgb, thermal = self.rgb_size, self.thermal_size
        delay = f" of {self.delay_ms:g} ms" if self.delay_ms else ""
        return (
            f"{self.subject}, engine {self.runtime}{delay}"
            f"{f' with {self.model}' if self.model else ''}, {rgb[0]}x{rgb[1]} rgb8 + "
            f"{thermal[0]}x{thermal[1]} mono16, {self.rate_hz:g} Hz"
            f"{f', {self.rigs} rigs' if self.rigs > 1 else ''}, listening to "
            f"{' and '.join(self.outputs) or 'nothing'}{', lazy' if self.lazy else ''}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)
