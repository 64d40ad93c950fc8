# SPDX-License-Identifier: Apache-2.0
"""Finds the topics of the two cameras in a bag."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence

from segmif_ros.images.pictures import swap_notes
from segmif_ros.images.raw import ENCODINGS, ImageRefused
from segmif_ros.pairing import Stream
from segmif_ros.recordings.bags import (
    COMPRESSED_IMAGE,
    IMAGE,
    IMAGES,
    BagError,
    BagReader,
    BagSummary,
    Topic,
    image_of,
)

_THERMAL_NAME = re.compile(r"thermal|infrared|lwir|(?:^|[/_])ir(?:[/_]|$)|boson|lepton", re.I)
_OTHER_NAME = re.compile(r"label|mask|depth|confidence|overlay|fused|/output/temperature$", re.I)
_THERMAL_DETAIL = re.compile(r" (mono|16UC1|8UC1|32FC1)")
_DEPTH_NAME, _DEPTH_DETAIL = re.compile("depth", re.I), re.compile(r" (mono16|16UC1|32FC1)")
_COMPRESSED = "/compressed"
POINT_CLOUD = "sensor_msgs/msg/PointCloud2"
_NEAREST = 3


def camera_topics(
    summary: BagSummary,
    rgb: str | None = None,
    thermal: str | None = None,
    *,
    others: Collection[str] = (),
) -> tuple[Topic, Topic]:
    """Return the topics of the RGB and of the thermal camera, raw or as JPEG or PNG.

    Args:
        summary: what the bag holds.
        rgb: name of the topic; chosen by names and encodings if None. Of a camera with a raw and a
            compressed topic the raw one is taken.
        thermal: as `rgb`.
        others: image topics that do not belong to a camera.

    Raises:
        BagError: a name that is not there (with the nearest ones), no images of one camera, or
            cameras that cannot be identified.
    """
    images = [topic for topic in _images(summary) if topic.name not in others]
    cameras = _one_of_each([t for t in images if not _OTHER_NAME.search(t.name)])
    warm = [topic for topic in cameras if _THERMAL_NAME.search(topic.name)]
    if not warm:
        warm = [topic for topic in cameras if _THERMAL_DETAIL.search(topic.detail)]
    if thermal is not None:
        warm = [require_topic(summary, thermal)]
    plain = [topic for topic in cameras if topic not in warm]
    if rgb is not None:
        plain = [require_topic(summary, rgb)]
        warm = [topic for topic in warm if topic.name != rgb]
    if len(cameras) == 1 and not (plain and warm):
        raise BagError(
            f"only one camera in {summary.path}: images on {cameras[0].name!r} alone; a pair needs "
            f"both, if the other one has another kind of name give --rgb-topic and "
            f"--thermal-topic. It holds {summary.listing()}"
        )
    if len(warm) != 1 or len(plain) != 1:
        raise BagError(
            f"cannot distinguish the two cameras in {summary.path}; name them with --rgb-topic and "
            f"--thermal-topic. It holds {summary.listing()}"
        )
    return plain[0], warm[0]


def swapped_topics(reader: BagReader, rgb: str, thermal: str) -> list[str]:
    """Return a remark if the first images of two topics suggest that they are swapped."""
    pictures = []
    for name in (rgb, thermal):
        message = next((m for m in reader.messages({name}) if m.type in IMAGES), None)
        try:
            view = image_of(message, Stream.THERMAL)[0] if message else None
        except ImageRefused:
            return []  # reported when it is read
        if view is None:
            return []
        pictures.append(view.to_rgb() if ENCODINGS[view.encoding].visible else view.pixels)
    return swap_notes(pictures[0], pictures[1], (rgb, thermal))


def require_topic(summary: BagSummary, name: str) -> Topic:
    """Return an image topic by its name; the raw one if both transports exist.

    Raises:
        BagError: not there, without images, or images that cannot be decoded; with the nearest
            names.
    """
    found = [topic for topic in _images(summary, usable=False) if topic.name == name]
    if not found:
        raise BagError(f"no images on {name!r} in {summary.path}; {_offer(name, summary)}")
    if not found[0].usable:
        raise BagError(
            f"images on {name!r} in {summary.path} cannot be decoded: {found[0].detail}; record "
            "raw images, or JPEG or PNG on the topic that ends in /compressed"
        )
    return found[0]


def points_topic(summary: BagSummary, name: str | None = None) -> Topic | None:
    """Return the topic of a LiDAR's clouds or, without one, of a depth camera's images.

    Args:
        summary: what the bag holds.
        name: of the topic; None searches for it, without clouds that a node has labelled.

    Raises:
        BagError: a name that is not there, or several topics to choose from.
    """
    found = [t for t in summary.topics if t.count and _is_points(t)]
    if name is not None:
        if chosen := [t for t in found if t.name == name]:
            return chosen[0]
        raise BagError(
            f"no clouds and no depth on {name!r} in {summary.path}; {_offer(name, summary)}"
        )
    found = [t for t in found if not t.name.endswith("/output/points")]
    found = [t for t in found if t.type == POINT_CLOUD] or found
    if len(found) > 1:
        names = ", ".join(topic.name for topic in found)
        raise BagError(f"{summary.path} has points on {names}; choose one with --points-topic")
    return found[0] if found else None


def _is_points(topic: Topic) -> bool:
    if topic.type == IMAGE:
        return bool(_DEPTH_NAME.search(topic.name) and _DEPTH_DETAIL.search(topic.detail))
    return topic.type == POINT_CLOUD


def camera_of(topic: str) -> str:
    """Return the name that a camera's topic has without its transport."""
    return topic.removesuffix(_COMPRESSED)


def input_transport(rgb: Topic, thermal: Topic) -> str:
    """Return the node's parameter `input_transport` that fits two topics of a bag.

    Raises:
        BagError: a compressed topic without the ending /compressed; a node cannot subscribe to it.
    """
    compressed = [topic.type == COMPRESSED_IMAGE for topic in (rgb, thermal)]
    for topic, is_compressed in zip((rgb, thermal), compressed, strict=True):
        if is_compressed and not topic.name.endswith(_COMPRESSED):
            raise BagError(
                f"compressed images on {topic.name!r}: a node subscribes only to a topic that ends "
                "in /compressed; record them under such a name"
            )
    return {
        (False, False): "raw",
        (True, True): "compressed",
        (True, False): "rgb_compressed",
        (False, True): "thermal_compressed",
    }[compressed[0], compressed[1]]


def _images(summary: BagSummary, *, usable: bool = True) -> list[Topic]:
    """Return the topics that hold images, raw ones first."""
    found = [t for t in summary.topics if t.type in IMAGES and t.count > 0]
    return sorted((t for t in found if t.usable or not usable), key=lambda t: IMAGES.index(t.type))


def _one_of_each(topics: Sequence[Topic]) -> list[Topic]:
    """Leave out /x/compressed if /x exists."""
    best: dict[str, Topic] = {}
    for topic in topics:
        best.setdefault(camera_of(topic.name), topic)
    return list(best.values())


def _offer(wanted: str, summary: BagSummary) -> str:
    names = [topic.name for topic in summary.topics]
    near = difflib.get_close_matches(wanted, names, n=_NEAREST, cutoff=0.5)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    return f"{meant}It holds {summary.listing()}"
