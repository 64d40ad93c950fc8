# SPDX-License-Identifier: Apache-2.0
"""Recorded pairs in any order: through the engine on access, or with the results in the bag."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Protocol

from segmif_ros.bundle import LabelClass, parse_labels
from segmif_ros.engines.base import EngineError
from segmif_ros.frames import Image8, Pair, Result, ThermalImage
from segmif_ros.pairing import Stream
from segmif_ros.perceiver import Perceiver
from segmif_ros.recordings.bags import BagError, BagSummary
from segmif_ros.recordings.clips import ClipError
from segmif_ros.recordings.pairs import BagPairs
from segmif_ros.registration import Registration, RegistrationError
from segmif_ros.thermal import ThermalError, ThermalNormaliser, ThermalSettings
from segmif_ros.view.frames import Heat, ImageSource, ViewError, ViewImages


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


class PerceivedSource(ImageSource):
    """An `ImageSource` that runs pairs through the engine.

    The thermal rendering follows the scene from frame to frame as in the node. After a jump it
    starts again, as in a node that is started there.
    """

    def __init__(
        self, pairs: PairReader, perceiver: Perceiver, classes: Sequence[LabelClass]
    ) -> None:
        """Take over `pairs` and `perceiver`; `close` frees both."""
        self.title = pairs.title
        self.classes = tuple(classes)
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

    def close(self) -> None:
        """Free the engine and the files."""
        self._perceiver.close()
        self._pairs.close()


RESULTS = ("fused", "mask", "confidence")


def result_topics(summary: BagSummary) -> dict[str, str]:
    """Return topic -> name of the results in a bag: /any/node/output/fused and so on.

    Empty unless all three are there, from one node.
    """
    names = {topic.name for topic in summary.topics if topic.count}
    for name in sorted(names):
        node, found, _ = name.partition("/output/fused")
        topics = {f"{node}/output/{result}": result for result in RESULTS}
        if found and topics.keys() <= names:
            return topics
    return {}


class RecordedResults(ImageSource):
    """An `ImageSource` of the pairs whose results lie in the bag."""

    def __init__(
        self,
        pairs: BagPairs,
        topics: dict[str, str],
        classes: Sequence[LabelClass],
        registration: Registration | None = None,
        thermal: ThermalSettings | None = None,
    ) -> None:
        """Find the results of each pair; takes over `pairs`.

        Args:
            pairs: the camera images.
            topics: from `result_topics`.
            classes: used when the bag has none on .../output/labels.
            registration: thermal -> RGB geometry for the thermal pane, none if None.
            thermal: scale and offset of the temperatures, counts if None.

        Raises:
            BagError: no pair has all its results.
        """
        self.title = f"{pairs.title} (recorded results)"
        self._pairs = pairs
        found = pairs.places(topics)
        self._places = {name: found[topic] for topic, name in topics.items()}
        fused = next(topic for topic, name in topics.items() if name == "fused")
        labels = f"{fused.removesuffix('fused')}labels"
        told = pairs.first_text(labels)
        self.classes = tuple(classes)
        if told is not None:
            try:
                _, self.classes = parse_labels(told)
            except ValueError as err:
                raise BagError(
                    f"{pairs.title}, {fused.removesuffix('fused')}labels: {err}"
                ) from err
        self._registration = registration or Registration()
        self._thermal = thermal or ThermalSettings()
        self._lock = Lock()
        self._whole = [
            index
            for index in range(len(pairs))
            if all(pairs.stamp_ns(index) in self._places[name] for name in RESULTS)
        ]
        if not self._whole:
            raise BagError(
                f"{pairs.title}: no pair has its results on {', '.join(topics)} with the RGB "
                "stamp; give --model to compute them again"
            )

    def __len__(self) -> int:
        """Return the number of pairs with results."""
        return len(self._whole)

    def images(self, index: int) -> ViewImages:
        """Read one pair and its results.

        Raises:
            ViewError: one of the images cannot be used.
        """
        number = self._whole[index]
        with self._lock:
            try:
                pair = self._pairs.read(number)
                fused = self._result("fused", number, Stream.RGB)
                mask, confidence = (
                    self._result(name, number, Stream.THERMAL) for name in ("mask", "confidence")
                )
                rgb, counts = pair.arrays()
                # Recorded frames are shown one by one, so each has limits of its own.
                thermal = ThermalNormaliser().normalise(counts, pair.thermal_stamp_ns)
                thermal = self._registration.apply(thermal, mask.shape[:2])
            except (BagError, ThermalError, RegistrationError) as err:
                raise ViewError(str(err)) from err
        caption = self._pairs.caption(number)
        start_s = self._pairs.time_s(self._whole[0])
        return ViewImages(
            self._pairs.time_s(number) - start_s,
            caption,
            rgb,
            thermal.copy(),
            fused,
            mask,
            confidence,
            heat=Heat.of(counts, self._thermal, self._registration),
        )

    def close(self) -> None:
        """Close the bag."""
        self._pairs.close()

    def _result(self, name: str, number: int, stream: Stream) -> Image8:
        view = self._pairs.image(self._places[name][self._pairs.stamp_ns(number)], stream)
        return view.to_rgb() if stream is Stream.RGB else view.to_thermal()
