# SPDX-License-Identifier: Apache-2.0
"""Joins the images of two cameras and of the node by stamp, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.frames import Image8, ThermalImage
from segmif_ros.pairing import PairingConfig

Output = Literal["fused", "mask", "confidence"]
OUTPUTS: tuple[Output, ...] = get_args(Output)

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, eq=False)
class FrameSet:
    """One pair of camera images and the node's outputs for it.

    Attributes:
        stamp_ns: stamp of the RGB image, which all outputs carry.
        rgb: HxWx3 uint8.
        thermal: hxw uint8, uint16 or float32, as the camera sent it.
        fused: HxWx3 uint8.
        mask: HxW uint8 class ids.
        confidence: HxW uint8.
    """

    stamp_ns: int
    rgb: Image8
    thermal: ThermalImage
    fused: Image8
    mask: Image8
    confidence: Image8

    def shrunk(self, size: tuple[int, int]) -> FrameSet:
        """Return a copy that fits into (height, width); class ids are not interpolated."""
        return FrameSet(
            self.stamp_ns,
            _shrink(self.rgb, size),
            _shrink(self.thermal, size),
            _shrink(self.fused, size),
            _shrink(self.mask, size, cv2.INTER_NEAREST),
            _shrink(self.confidence, size),
        )


class SetAssembler:
    """Joins images that arrive one by one; keeps a bounded number of them."""

    def __init__(
        self, pairing: PairingConfig | None = None, *, inputs: int = 48, pending: int = 16
    ) -> None:
        """Set the limits.

        Args:
            pairing: of the node, its default if None: the offsets are added to the stamps, and a
                thermal frame outside the tolerance is not part of a set.
            inputs: camera images of each kind to keep while the node processes them.
            pending: stamps with some outputs missing.
        """
        self.pairing = pairing or PairingConfig()
        self._limit = inputs
        self._pending_limit = pending
        self._rgb: OrderedDict[int, Image8] = OrderedDict()
        self._thermal: OrderedDict[int, ThermalImage] = OrderedDict()
        self._pending: OrderedDict[int, dict[Output, Image8]] = OrderedDict()

    def add_rgb(self, stamp_ns: int, image: Image8) -> None:
        """Take a camera image."""
        _remember(self._rgb, stamp_ns, image, self._limit)

    def add_thermal(self, stamp_ns: int, image: ThermalImage) -> None:
        """Take a camera image."""
        _remember(self._thermal, stamp_ns, image, self._limit)

    def add_output(self, kind: Output, stamp_ns: int, image: Image8) -> FrameSet | None:
        """Take an image of the node; return the set if it is complete now."""
        parts = self._pending.pop(stamp_ns, {})
        parts[kind] = image
        if len(parts) < len(OUTPUTS):
            _remember(self._pending, stamp_ns, parts, self._pending_limit)
            return None
        rgb = self._rgb.get(stamp_ns)
        if rgb is None or not self._thermal:
            return None
        wanted_ns = stamp_ns + self.pairing.rgb_offset_ns - self.pairing.thermal_offset_ns
        partner = min(self._thermal, key=lambda stamp: abs(stamp - wanted_ns))
        if abs(partner - wanted_ns) > self.pairing.tolerance_ns:
            return None
        return FrameSet(stamp_ns, rgb, self._thermal[partner], **parts)


class Downsampler(Generic[Item]):
    """A sample of a stream of unknown length: evenly spaced, at most `capacity` items.

    When it is full, every second item is removed and the sampling interval doubles.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 2:
            raise ValueError(f"capacity is {capacity}; expected 2 or more")
        self._capacity = capacity
        self._items: list[Item] = []
        self._stride = 1
        self._seen = 0

    @property
    def items(self) -> tuple[Item, ...]:
        """The items kept, in order of arrival."""
        return tuple(self._items)

    @property
    def stride(self) -> int:
        """Sampling interval: one item in so many is kept."""
        return self._stride

    def wants_next(self) -> bool:
        """Return whether the next item would be kept, so that others need not be made."""
        return self._seen % self._stride == 0

    def add(self, item: Item) -> None:
        """Take or skip the next item of the stream."""
        if self.wants_next():
            if len(self._items) == self._capacity:
                self._items = self._items[::2]
                self._stride *= 2
            if self.wants_next():
                self._items.append(item)
        self._seen += 1

    def skip(self) -> None:
        """Count an item that was not made because `wants_next` said no."""
        self._seen += 1


def evenly(items: tuple[Item, ...], count: int) -> tuple[Item, ...]:
    """Return at most `count` items, evenly spaced, without the very ends where possible.

    Each pick is the middle of its share: the first and the last frame are the least typical.
    """
    if count >= len(items):
        return items
    return tuple(items[int((index + 0.5) * len(items) / count)] for index in range(count))


def _remember(store: OrderedDict[int, Any], stamp_ns: int, value: Any, limit: int) -> None:
    store[stamp_ns] = value
    store.move_to_end(stamp_ns)
    while len(store) > limit:
        store.popitem(last=False)


def _shrink(image: NDArray[Any], size: tuple[int, int], how: int = cv2.INTER_AREA) -> NDArray[Any]:
    scale = min(size[0] / image.shape[0], size[1] / image.shape[1])
    if scale >= 1.0:
        return image.copy()
    width, height = round(image.shape[1] * scale), round(image.shape[0] * scale)
    return np.asarray(cv2.resize(image, (max(1, width), max(1, height)), interpolation=how))
