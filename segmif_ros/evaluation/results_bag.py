# SPDX-License-Identifier: Apache-2.0
"""Writes results and camera images as a bag for `ros2 bag play`, RViz and Foxglove.

The bag is written in a hidden folder and renamed when complete.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rosbags.typesys import get_types_from_msg

from segmif_ros import render
from segmif_ros.bundle import LabelClass, Manifest, labels_json
from segmif_ros.evaluation.kept_pictures import PairImages
from segmif_ros.evaluation.scores import EvaluatedPair
from segmif_ros.frames import Buffers
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
    BagWriter,
    check_output,
    header_of,
    image_message,
    new_bag,
    string_message,
)
from segmif_ros.registration.calibration import Mounting

NAMES = ("objects", "detections", "temperature", "points")
"""Written outputs, with the names of the node's outputs."""

Named = tuple[str, tuple[str, Any]]
"""Name of an output, and a message for `BagWriter.write_message`."""
_DETECTIONS = "vision_msgs/msg/Detection2DArray"
_WAITING = 1000


class DrivePoints:
    """Clouds or depth images of a bag, labelled by the node's code, read in parallel.

    Attributes:
        counts: labelled and refused clouds.
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
                labelled, with a line in `notes`.
            mounting: transforms of the sensors.
            tolerance_ns: largest time between a cloud and its mask.
            rgb_topic: the RGB camera; its camera_info gives the lens if `mounting` has none.

        Raises:
            BagError: the named topic is not there.
        """
        # The reader of the cameras reports damage of the bag.
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
        """Yield the clouds after the last pair that its mask labels."""
        if self._last is not None:
            self._take_up_to(self._last.stamp_ns + self._tolerance_ns)
            yield from self._labeller.labelled(None, self._tolerance_ns)

    def notes(self) -> list[str]:
        """Return remarks for the user."""
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
                # Invalid bytes cause arbitrary errors of the generated reader.
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
        """Begin with no tracked objects.

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
        """Yield the derived outputs of a pair.

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
        """Yield the remaining outputs after the last pair."""
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


OUTPUT = "/segmif/output/"
"""Topics have the names of a node with its default name."""

LABELS = f"{OUTPUT}labels"
_ALPHA = 0.5
PICTURES = ("fused", "mask", "confidence", "overlay")
"""Images that are written."""


class ResultBag:
    """A bag of results that is being written; use as a context manager.

    Leaving it by an exception removes what was written.
    """

    def __init__(
        self, out: Path, manifest: Manifest, *, inputs: bool = True, replace: bool = False
    ) -> None:
        """Prepare.

        Args:
            out: folder that the bag will be; its parent is made if missing.
            manifest: of the model.
            inputs: write the camera images too.
            replace: replace a bag of an earlier attempt.

        Raises:
            BagError: `out` exists.
        """
        check_output(out, replace=replace, advice="give --write-bag another name")
        self.out = out
        self._inputs = inputs
        self._palette = render.palette(manifest.classes)
        self._labels = labels_json(manifest)
        self._buffers = Buffers()
        self._stack = ExitStack()
        self._bag: BagWriter | None = None

    def __enter__(self) -> ResultBag:
        """Begin; no bag is written without results."""
        return self

    def __exit__(self, *failure: Any) -> None:
        """Complete the bag and rename it, or remove it."""
        self._stack.__exit__(*failure)

    def write(
        self,
        images: PairImages,
        stamp_ns: int,
        frame_id: str,
        messages: Sequence[BagMessage],
        derived: Iterable[Named] = (),
        marks: Iterable[render.Mark] = (),
    ) -> None:
        """Append the results of one pair, filed under the recording time of its later image.

        Args:
            images: of the pair.
            stamp_ns: of the RGB image; all results carry it.
            frame_id: of the RGB image.
            messages: both serialised camera images of the bag.
            derived: further outputs of the pair.
            marks: boxes in the overlay.

        Raises:
            BagError: it cannot be written, for example because the disk is full.
        """
        time_ns = max(message.time_ns for message in messages)
        if self._bag is None:
            self._bag = self._stack.enter_context(new_bag(self.out))
            self._bag.write_message(LABELS, time_ns, string_message(self._labels), latched=True)
        if self._inputs:
            for message in sorted(messages, key=lambda m: m.time_ns):
                if message.topic not in self._bag.topics:
                    self._bag.add_topic(message.topic, message.type)
                self._bag.write(message.topic, message.time_ns, message.cdr)
        over = render.overlay(images.fused, images.mask, self._palette, _ALPHA, self._buffers)
        render.draw_marks(over, marks, self._palette)
        pictures = {**images._asdict(), "overlay": over}
        for name in PICTURES:
            image = image_message(pictures[name], stamp_ns, frame_id)
            self._bag.write_message(f"{OUTPUT}{name}", time_ns, image)
        self.write_derived(time_ns, derived)

    def write_derived(self, time_ns: int, derived: Iterable[Named]) -> None:
        """Append outputs other than images, with this recording time.

        Raises:
            BagError: as `write`.
        """
        if self._bag is not None:
            for name, message in derived:
                self._bag.write_message(f"{OUTPUT}{name}", time_ns, message)
