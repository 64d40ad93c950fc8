# SPDX-License-Identifier: Apache-2.0
"""What the node publishes beside its images, made of a drive: objects, temperatures, points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rosbags.typesys import get_types_from_msg

from segmif_ros.bundle import LabelClass
from segmif_ros.evaluation.scores import EvaluatedPair
from segmif_ros.objects.clouds import LabelledCloud
from segmif_ros.objects.labeller import PointLabeller, Seen
from segmif_ros.objects.points import LabelPicture
from segmif_ros.objects.regions import (
    VISION_MSGS,
    DetectedObject,
    detections_message,
    find_objects,
    objects_json,
)
from segmif_ros.objects.tracker import Tracker
from segmif_ros.recordings.bags import (
    BagError,
    BagMessage,
    BagReader,
    header_stamp_ns,
    message_types,
)
from segmif_ros.recordings.topics import POINT_CLOUD, points_topic
from segmif_ros.recordings.writer import (
    CAMERA_INFO,
    header_of,
    image_message,
    string_message,
)
from segmif_ros.registration.calibration import Mounting

NAMES = ("objects", "detections", "temperature", "points")
"""Outputs that are made, under the names of the node's."""

Named = tuple[str, tuple[str, Any]]
"""Name of an output, and a message as `BagWriter.write_message` takes it."""
_DETECTIONS = "vision_msgs/msg/Detection2DArray"
_WAITING = 1000


class DrivePoints:
    """Clouds or depth images of a bag, labelled by the code of the node; read beside the cameras.

    Attributes:
        counts: what came of them.
    """

    def __init__(
        self,
        bag: Path,
        topic: str | None,
        mounting: Mounting,
        tolerance_ns: int,
        rgb_topic: str,
    ) -> None:
        """Open the bag once more.

        Args:
            bag: its path.
            topic: of the clouds or depth images; None takes the only one. Of several none is
                labelled, and `notes` says so.
            mounting: where the sensors sit.
            tolerance_ns: largest time between a cloud and its mask.
            rgb_topic: the RGB camera, whose camera_info tells its lens if `mounting` does not.

        Raises:
            BagError: the named topic is not there.
        """
        # The reader of the cameras reports what is wrong with the bag.
        self._reader = BagReader(bag, lambda _: None)
        self._told: list[str] = []
        self._labeller = PointLabeller(mounting, lambda _: None, waiting=_WAITING)
        self.counts = self._labeller.counts
        self._tolerance_ns = tolerance_ns
        try:
            self._messages = self._reader.messages(self._chosen(topic))
            self._info = self._first_info(rgb_topic)
        except BaseException:
            self._reader.close()
            raise
        self._next: BagMessage | None = None
        self._last: Seen | None = None

    def labelled(self, pair: EvaluatedPair, header: Any) -> Iterator[LabelledCloud]:
        """Yield the clouds whose mask is decided by this pair."""
        images = pair.images
        picture = LabelPicture(images.mask, images.confidence, images.visible, pair.heat)
        seen = Seen(picture, pair.stamp_ns, header, self._info)
        self._take_up_to(pair.stamp_ns)
        yield from self._labeller.labelled(seen, self._tolerance_ns)
        self._last = seen

    def rest(self) -> Iterator[LabelledCloud]:
        """Yield the clouds behind the last pair that its mask labels."""
        if self._last is not None:
            self._take_up_to(self._last.stamp_ns + self._tolerance_ns)
            yield from self._labeller.labelled(None, self._tolerance_ns)

    def notes(self) -> list[str]:
        """Return what a person should know."""
        counts, told = self.counts, list(self._told)
        if counts.refused:
            told.append(f"{counts.refused} clouds refused, the last one: {counts.last_refusal}")
        if counts.unmatched:
            told.append(
                f"{counts.unmatched} clouds have no mask within {self._tolerance_ns / 1e6:g} ms"
            )
        return told

    def close(self) -> None:
        """Close the bag."""
        self._reader.close()

    def _chosen(self, topic: str | None) -> list[str]:
        try:
            found = points_topic(self._reader.summary(), topic)
        except BagError as err:
            if topic is not None:
                raise
            self._told.append(f"no points are labelled: {err}")
            found = None
        return [found.name] if found else []

    def _take_up_to(self, stamp_ns: int) -> None:
        while True:
            if self._next is None:
                self._next = next(self._messages, None)
            if self._next is None:
                return
            try:
                if header_stamp_ns(self._next.cdr) > stamp_ns:
                    return
                message = message_types().deserialize_cdr(self._next.cdr, self._next.type)
            except Exception as err:
                # Bytes that are no message make the generated reader raise anything.
                self.counts.refused += 1
                self.counts.last_refusal = f"a message cannot be read: {err!r}"
            else:
                self._labeller.take(message)
            self._next = None

    def _first_info(self, rgb_topic: str) -> Any:
        for name in (f"{rgb_topic.rpartition('/')[0]}/camera_info", f"{rgb_topic}/camera_info"):
            for message in self._reader.messages([name]):
                if message.type == CAMERA_INFO:
                    return message_types().deserialize_cdr(message.cdr, message.type)
        return None


class DerivedMessages:
    """Objects with ids, detections, temperatures and labelled points of the pairs of one drive."""

    def __init__(self, classes: Sequence[LabelClass], points: DrivePoints | None = None) -> None:
        """Begin without a past.

        Args:
            classes: of the model.
            points: clouds of the bag, None without.
        """
        self._classes, self._points = classes, points
        self._tracker = Tracker()
        store = message_types()
        if _DETECTIONS not in store.types:
            for name, text in VISION_MSGS.items():
                store.register(get_types_from_msg(text, f"vision_msgs/msg/{name}"))

    def objects(self, pair: EvaluatedPair) -> list[DetectedObject]:
        """Return the objects of the next pair, with ids."""
        images = pair.images
        found = find_objects(images.mask, images.confidence, self._classes, pair.heat)
        return self._tracker.update(found, pair.stamp_ns)

    def of(
        self, pair: EvaluatedPair, found: Sequence[DetectedObject], frame_id: str, unit: str
    ) -> Iterator[Named]:
        """Yield what is made of a pair.

        Args:
            pair: with `heat`.
            found: its objects.
            frame_id: of the RGB image.
            unit: of `heat`, "C" or "counts".
        """
        header = header_of(pair.stamp_ns, frame_id)
        text = objects_json(found, pair.stamp_ns, frame_id, unit)
        yield "objects", string_message(text)
        types = message_types().types
        yield "detections", (_DETECTIONS, detections_message(found, header, types.__getitem__))
        if pair.heat is not None:
            yield "temperature", image_message(pair.heat, pair.stamp_ns, frame_id)
        if self._points is not None:
            for cloud in self._points.labelled(pair, header):
                yield "points", cloud_message(cloud)

    def rest(self) -> Iterator[Named]:
        """Yield what no further pair decides."""
        if self._points is not None:
            for cloud in self._points.rest():
                yield "points", cloud_message(cloud)


def cloud_message(cloud: LabelledCloud) -> tuple[str, Any]:
    """Return a labelled cloud as `BagWriter.write_message` takes it."""
    types = message_types().types
    field = types["sensor_msgs/msg/PointField"]
    fields = [field(f.name, f.offset, f.datatype, f.count) for f in cloud.fields]
    content = types[POINT_CLOUD](**cloud.layout(), fields=fields, data=cloud.points.reshape(-1))
    return POINT_CLOUD, content
