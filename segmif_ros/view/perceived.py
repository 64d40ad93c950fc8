# SPDX-License-Identifier: Apache-2.0
"""Recorded pairs through the engine, in any order, computed on access."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Protocol

from segmif_ros.bundle import LabelClass
from segmif_ros.engines.base import EngineError
from segmif_ros.frames import Image8, Pair, Result, ThermalImage
from segmif_ros.perceiver import Perceiver
from segmif_ros.recordings.bags import BagError
from segmif_ros.recordings.clips import ClipError
from segmif_ros.registration import RegistrationError
from segmif_ros.thermal import ThermalError, ThermalNormaliser
from segmif_ros.view.frames import Heat, ViewError, ViewFrame, ViewImages, encoded


class PairReader(Protocol):
    """Pairs of camera frames that can be read in any order."""

    title: str

    def __len__(self) -> int:
        """Return the number of pairs."""
        ...

    def time_s(self, index: int) -> float:
        """Return the seconds of a pair since the first one."""
        ...

    def caption(self, index: int) -> str:
        """Return one line about a pair."""
        ...

    def read(self, index: int) -> Pair:
        """Return a pair.

        Raises:
            BagError, ClipError: it cannot be read.
        """
        ...

    def close(self) -> None:
        """Close files."""
        ...


class PerceivedSource:
    """An `ImageSource` that runs pairs through the engine.

    The thermal rendering follows the scene from frame to frame as in the node. After a jump it
    starts anew, as in a node that is started there.
    """

    def __init__(
        self, pairs: PairReader, perceiver: Perceiver, classes: Sequence[LabelClass]
    ) -> None:
        """Take over `pairs` and `perceiver`; `close` frees both."""
        self.title = pairs.title
        self.classes: Sequence[LabelClass] = tuple(classes)
        self._pairs, self._perceiver = pairs, perceiver
        self._last: int | None = None
        self._lock = Lock()

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self._pairs)

    def images(self, index: int) -> ViewImages:
        """Read and perceive one pair.

        Raises:
            ViewError: the pair cannot be read or does not fit the set-up.
        """
        with self._lock:
            if self._last is None or index != self._last + 1:
                self._perceiver.normaliser = ThermalNormaliser(self._perceiver.normaliser.settings)
            self._last = index
            try:
                pair = self._pairs.read(index)
                found = self._perceiver.perceive(pair)
            except (BagError, ClipError, EngineError, RegistrationError, ThermalError) as err:
                raise ViewError(str(err)) from err
            assert found.rgb is not None
            # The perceiver writes over its results with the next pair.
            return ViewImages(
                self._pairs.time_s(index),
                self._pairs.caption(index),
                found.rgb,
                found.thermal.copy(),
                found.fused.copy(),
                found.mask.copy(),
                found.confidence.copy(),
                self._raw(found),
                self._heat(found.raw_thermal),
            )

    def _raw(self, found: Result) -> Image8 | None:
        """Return thermal as the camera delivered it, in which points are picked."""
        raw = found.raw_thermal
        registered = self._perceiver.registration.calibration is None
        if raw is None or (registered and raw.shape == found.thermal.shape):
            return None
        return ThermalNormaliser(self._perceiver.normaliser.settings).normalise(raw).copy()

    def _heat(self, raw: ThermalImage | None) -> Heat | None:
        perceiver = self._perceiver
        settings, registration = perceiver.normaliser.settings, perceiver.registration
        return None if raw is None else Heat.of(raw, settings, registration)

    def frame(self, index: int) -> ViewFrame:
        """Return one pair and what the engine made of it, encoded.

        Raises:
            ViewError: as `images`.
        """
        return encoded(self.images(index))

    def close(self) -> None:
        """Free the engine and the files."""
        self._perceiver.close()
        self._pairs.close()
