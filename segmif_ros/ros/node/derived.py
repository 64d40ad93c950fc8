# SPDX-License-Identifier: Apache-2.0
"""What is made of a result beside its images: objects with ids, temperatures, labelled points.

Everything here runs on the worker thread, and only for a topic with a subscriber.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from importlib import import_module
from typing import Any

from std_msgs.msg import String

from segmif_ros.bundle import Manifest
from segmif_ros.frames import Pair, Result
from segmif_ros.objects.labeller import PointLabeller, Seen
from segmif_ros.objects.points import LabelPicture
from segmif_ros.objects.regions import (
    DetectedObject,
    detections_message,
    find_objects,
    objects_json,
    thermal_values,
)
from segmif_ros.objects.tracker import Tracker
from segmif_ros.registration import Registration
from segmif_ros.ros.images import to_message
from segmif_ros.ros.node.point_input import cloud_message


class Derived:
    """Makes the messages of `qos.DERIVED_TOPICS`."""

    def __init__(self, manifest: Manifest, registration: Registration) -> None:
        """Begin with no tracked objects.

        Args:
            manifest: of the model whose masks come.
            registration: warps thermal values into the RGB image.
        """
        self._classes = manifest.classes
        self._registration = registration
        self._tracker = Tracker()

    def publish(
        self,
        result: Result,
        pair: Pair,
        wanted: Collection[str],
        send: Callable[[str, Any], None],
        points: PointLabeller | None,
    ) -> list[DetectedObject]:
        """Make and send what is wanted of one result, and return its objects where they are.

        Args:
            result: masks and images.
            pair: what it was made of, with header and settings.
            wanted: names of outputs; those of others are passed by. The overlay needs objects.
            send: takes an output's name and its message.
            points: the clouds that wait for a mask, and what labels them.
        """
        values, unit = thermal_values(result, pair, self._registration, pair.settings.thermal)
        found: list[DetectedObject] = []
        if not {"objects", "detections", "overlay"}.isdisjoint(wanted):
            found = find_objects(result.mask, result.confidence, self._classes, values)
            found = self._tracker.update(found, pair.stamp_ns)
            if "objects" in wanted:
                text = objects_json(found, pair.stamp_ns, pair.frame_id, unit)
                send("objects", String(data=text))
            if "detections" in wanted:
                send("detections", detections_message(found, pair.header, _class_of))
        if "temperature" in wanted and values is not None:
            send("temperature", to_message(values, "32FC1", pair.header))
        if "points" in wanted and points is not None:
            picture = LabelPicture(result.mask, result.confidence, result.rgb, values)
            seen = Seen(picture, pair.stamp_ns, pair.header, pair.camera_info)
            for cloud in points.labelled(seen, pair.settings.points_tolerance_ns):
                send("points", cloud_message(cloud))
        return found


def _class_of(name: str) -> Any:
    """Return the class of a message type such as "vision_msgs/msg/Detection2D"."""
    package, _, kind = name.split("/")
    return getattr(import_module(f"{package}.msg"), kind)
