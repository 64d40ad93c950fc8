# SPDX-License-Identifier: Apache-2.0
"""Where the published description and the published scripts part ways: four choices, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

VisibleInput = Literal["luma", "red"]
GuidanceSource = Literal["saliency", "supplied"]


@dataclass(frozen=True, slots=True)
class Switches:
    """Behaviour of the cascade; every bundle records it in its manifest.

    Attributes:
        visible_input: what the fusion network sees of the visible image: "luma", as in training, or
            "red", the first colour channel, as in the released test scripts.
        guidance: what the encoder sees before fusion: "saliency", the mix of thermal and luma
            defined in `network.guidance`, or "supplied", a third image given with every pair.
        min_max_stretch: stretch every fused image to the full range. Off by default: on video the
            brightness then jumps with the brightest pixel. The released scripts do it.
        eight_bit_hand_over: truncate the fused image to 8 bits before segmentation sees it, as the
            released scripts do when they go through a file.
    """

    visible_input: VisibleInput = "luma"
    guidance: GuidanceSource = "saliency"
    min_max_stretch: bool = False
    eight_bit_hand_over: bool = False

    def __post_init__(self) -> None:
        for name, value, known in (
            ("visible_input", self.visible_input, get_args(VisibleInput)),
            ("guidance", self.guidance, get_args(GuidanceSource)),
        ):
            if value not in known:
                raise ValueError(f"{name} is {value!r}, expected one of {known}")

    def to_manifest(self) -> Mapping[str, Any]:
        """Return the mapping that goes into a bundle's manifest.

        `attention` is no choice but a fact that engines need: the cascade's attention logits are
        sums over all pixels, which bf16 is too coarse for.
        """
        return {**asdict(self), "attention": "sum"}
