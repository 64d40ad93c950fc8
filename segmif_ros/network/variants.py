# SPDX-License-Identifier: Apache-2.0
"""The table of network variants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from segmif_ros.network.compact import CompactPlan, CompactSegMiF
from segmif_ros.network.mix_transformer import EncoderShape
from segmif_ros.network.segmif import SegMiF

B0 = EncoderShape(dims=(32, 64, 160, 256))
B1 = EncoderShape()
B2 = EncoderShape(depths=(3, 4, 6, 3))
B3 = EncoderShape(depths=(3, 4, 18, 3))
B4 = EncoderShape(depths=(3, 8, 27, 3))
B5 = EncoderShape(depths=(3, 6, 40, 3))
NANO = CompactPlan(
    EncoderShape(
        dims=(32, 64, 160, 256), heads=(0, 2, 5, 8), reductions=(1, 2, 1, 1), depths=(2, 2, 2, 2)
    ),
    pixels=True,
)


@dataclass(frozen=True, slots=True)
class Variant:
    """One row: description, and constructor for a number of classes."""

    summary: str
    build: Callable[[int], nn.Module]


VARIANTS: dict[str, Variant] = {
    "paper-b3": Variant("the published network, MiT-B3", lambda k: SegMiF(B3, k)),
    "b0": Variant("the published cascade on MiT-B0", lambda k: SegMiF(B0, k)),
    "b1": Variant("the published cascade on MiT-B1", lambda k: SegMiF(B1, k)),
    "b2": Variant("the published cascade on MiT-B2", lambda k: SegMiF(B2, k)),
    "b4": Variant("the published cascade on MiT-B4", lambda k: SegMiF(B4, k)),
    "b5": Variant("the published cascade on MiT-B5", lambda k: SegMiF(B5, k)),
    "nano": Variant("made for 2 CPU cores", lambda k: CompactSegMiF(NANO, k)),
}


def build(variant: str, classes: int) -> nn.Module:
    """Build a network with fresh weights.

    Raises:
        ValueError: unknown variant; the message lists the known ones.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant {variant!r} is unknown, expected one of {sorted(VARIANTS)}")
    return VARIANTS[variant].build(classes)
